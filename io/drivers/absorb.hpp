// absorb: errors that are the network's answer to an earlier datagram, not to this call.
//
// Linux keeps an ICMP message for a socket, and gives it to whatever call comes next. A wait for a datagram goes on
// after any number of them; a send is made once more, and what it is answered then is its own error.
#pragma once

#include <cstddef>

#include <runnel/detail/io_action.hpp>

namespace runnel::detail {

/// Can it be one? Some of these are errors of a send too.
bool is_network_report(int error) noexcept;

/// Adds to a figure that others read meanwhile.
void count_report(std::size_t& figure, std::size_t reports = 1) noexcept;

/// Counts it, and says that the action goes on, if it is one, and the action absorbs them.
bool absorb(io_action& what, int error) noexcept;
}
