// must fail: moving a T must not throw
// The move of a T runs under the channel's lock.
#include <runnel/channel.hpp>

struct value {
    value() = default;
#ifdef CONTROL
    value(value&&) noexcept {}
#else
    value(value&&) {}
#endif
};

auto make() { return runnel::make_channel<value>(1); }
