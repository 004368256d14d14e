// uring_request: an action in io_uring's words, and io_uring's answer in an action's.
#pragma once

#include <liburing.h>

#include <runnel/detail/io_action.hpp>

namespace runnel::detail {

/// Fills a cleared request with what is left to do. Its user_data is the caller's. `provided`: there are buffers for a
/// lease in group 0.
void fill_request(io_uring_sqe& request, const io_action& what, bool provided) noexcept;

/// Notes a completion that is no error. Returns whether the action is over; if not, the rest is to be asked
/// for: before Linux 5.19 the kernel can end a send early.
bool note_success(io_action& what, int status, unsigned flags) noexcept;
}
