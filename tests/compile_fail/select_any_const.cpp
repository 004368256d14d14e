// must fail: must not be const
// A wait uses its operations: the places in the queues are in them, and the value that comes.
#include <runnel/channel.hpp>
#include <runnel/select_any.hpp>

#include <vector>

using receives = std::vector<decltype(std::declval<runnel::receiver<int>&>().recv())>;

#ifdef CONTROL
runnel::task<> use(receives& all) {
#else
runnel::task<> use(const receives& all) {
#endif
    (void)co_await runnel::select_any(all);
}
