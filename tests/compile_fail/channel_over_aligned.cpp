// must fail: aligned to 16
// A value that waits lives in a coroutine frame.
#include <runnel/channel.hpp>

#ifdef CONTROL
struct alignas(16) value {};
#else
struct alignas(32) value {};
#endif

runnel::channel<value> make() { return runnel::channel<value>(1); }
