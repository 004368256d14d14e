// must fail: put the limit around the scoped\(\)
// join() returns when all children have ended: a limit of it would be a lie.
#include <runnel/scope.hpp>

runnel::task<> waits(runnel::scope& children) {
#ifdef CONTROL
    (void)co_await children.join();
#else
    (void)co_await runnel::with_timeout(std::chrono::seconds(1), children.join());
#endif
}
