// must fail: its children return rn::task<T> or rn::task<rn::result<T>>
// What a child of a result_set gives is of the set's type, not something that could be made of it.
#include <runnel/result_set.hpp>

runnel::task<int> gives_int() { co_return 1; }
runnel::task<runnel::result<long>> gives_long() { co_return 1L; }

void spawns(runnel::result_set<long>& set) {
#ifdef CONTROL
    set.spawn(gives_long);
    (void)gives_int;
#else
    set.spawn(gives_int);
#endif
}
