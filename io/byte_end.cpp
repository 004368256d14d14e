// See runnel/detail/byte_end.hpp.
#include <runnel/detail/byte_end.hpp>

#include <runnel/detail/simulated_world.hpp>

#include "drivers/byte_calls.hpp"

namespace runnel::detail {

byte_end::byte_end(int fd, std::source_location made_at, counted_kind what) noexcept
    : of_(fd, what, made_at, when_closed::told), at_once_(current_world() == nullptr && never_waits(fd)) {}
}
