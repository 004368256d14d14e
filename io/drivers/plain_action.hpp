// plain_action: an action by system calls that do not wait, for a driver that only learns when it is worth while.
#pragma once

#include <cstdint>

#include <runnel/detail/io_action.hpp>

namespace runnel::detail {

/// Does it come in or go out? (In the sense of the two lanes of a descriptor.)
bool goes_out(io_kind kind) noexcept;

/// The first try. Says whether the action is over, with its answer noted; else it is worth while again when the
/// descriptor is ready. A connect begins here.
bool begin_action(io_action& what) noexcept;

/// The next ones, when it is ready. It may not be: then the action is not over. A send moves a MiB at most at once.
bool go_on_with(io_action& what) noexcept;
}
