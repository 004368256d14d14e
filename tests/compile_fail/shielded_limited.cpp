// must fail: put the limit inside
// Nothing from outside ends what is shielded, a limit neither.
#include <runnel/channel.hpp>
#include <runnel/context.hpp>
#include <runnel/time.hpp>

runnel::task<> use(runnel::receiver<int> in) {
#ifdef CONTROL
    (void)co_await runnel::shielded(runnel::with_timeout(std::chrono::seconds(1), in.recv()));
#else
    (void)co_await runnel::with_timeout(std::chrono::seconds(1), runnel::shielded(in.recv()));
#endif
}
