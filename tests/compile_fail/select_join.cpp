// must fail: a scope's join\(\) is no case of a select
// join() returns when all children have ended, and not before.
#include <runnel/scope.hpp>
#include <runnel/select.hpp>

runnel::task<> use(runnel::scope& children) {
#ifdef CONTROL
    (void)co_await children.join();
#else
    (void)co_await runnel::select(children.join(), runnel::sleep_for(std::chrono::seconds(1)));
#endif
}
