// must fail: deleted
// Counted ends are moved or share()d, never copied by accident.
#include <runnel/channel.hpp>

runnel::sender<int> another(const runnel::sender<int>& out) {
#ifdef CONTROL
    return out.share();
#else
    return out;
#endif
}
