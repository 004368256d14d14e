// must fail: sleep_until: a time of rn::clock
// A simulation steers rn::clock and no other.
#include <runnel/time.hpp>

runnel::task<> use() {
#ifdef CONTROL
    (void)co_await runnel::sleep_until(runnel::clock::now() + std::chrono::seconds(1));
#else
    (void)co_await runnel::sleep_until(std::chrono::steady_clock::now() + std::chrono::seconds(1));
#endif
}
