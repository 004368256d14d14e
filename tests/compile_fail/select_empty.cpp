// must fail: a select without cases never ends
#include <runnel/channel.hpp>
#include <runnel/select.hpp>

runnel::task<> use(runnel::receiver<int> in) {
#ifdef CONTROL
    (void)co_await runnel::select(in.recv());
#else
    (void)in;
    (void)co_await runnel::select();
#endif
}
