// must fail: no member named .+send
// The ends have one direction each: a receiver cannot send.
#include <runnel/channel.hpp>

void use(runnel::sender<int>& out, runnel::receiver<int>& in) {
    (void)out.try_send(1);
    (void)in.try_recv();
#ifndef CONTROL
    (void)in.try_send(1);
#endif
}
