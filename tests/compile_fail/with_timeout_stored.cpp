// must fail: give it to with_timeout\(\) in the expression that makes it
// An operation refers to its arguments: a stored one could outlive them.
#include <runnel/sync.hpp>
#include <runnel/time.hpp>

runnel::task<> use(runnel::event& ready) {
#ifdef CONTROL
    (void)co_await runnel::with_timeout(std::chrono::seconds(1), ready.wait());
#else
    auto wait = ready.wait();
    (void)co_await runnel::with_timeout(std::chrono::seconds(1), wait);
#endif
}
