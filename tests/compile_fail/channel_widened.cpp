// must fail: could not convert|no viable conversion
// An end cannot be made into the other one, nor into Go's handle of both directions.
#include <runnel/channel.hpp>

runnel::channel<int> widen(runnel::channel<int> both, runnel::sender<int> out) {
#ifdef CONTROL
    (void)out;
    return both;
#else
    (void)both;
    return out;
#endif
}
