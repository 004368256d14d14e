// must fail: variant_alternative|pack index|tuple index|out of (range|bounds)|N is out
// get<N>() of a case that the select does not have.
#include <runnel/channel.hpp>
#include <runnel/select.hpp>

runnel::task<> use(runnel::receiver<int> in) {
    auto won = co_await runnel::select(in.recv());
#ifdef CONTROL
    (void)won.get<0>();
#else
    (void)won.get<1>();
#endif
}
