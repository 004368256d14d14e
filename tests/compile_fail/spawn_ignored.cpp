// must fail: nodiscard
// A child that found no place was not started: who does not look has lost it.
#include <runnel/scope.hpp>

runnel::task<> works() { co_return; }

void spawns(runnel::scope& children) {
#ifdef CONTROL
    children.spawn(works);
    (void)children.if_free().spawn(works);
#else
    children.if_free().spawn(works);
#endif
}
