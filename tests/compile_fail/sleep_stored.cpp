// must fail: await it in the expression that makes it
// An operation is awaited once, where it is made.
#include <runnel/time.hpp>

runnel::task<> use() {
#ifdef CONTROL
    (void)co_await runnel::sleep_for(std::chrono::seconds(1));
#else
    auto sleep = runnel::sleep_for(std::chrono::seconds(1));
    (void)co_await sleep;
#endif
}
