// looks: what a look at a socket finds, which takes nothing away.
#pragma once

namespace runnel::detail {

/// Is it shut down for reading? One of datagrams, or a Unix listener, says only that there is nothing (now).
bool reads_no_more(int fd) noexcept;

/// 1: a receive would not wait; 0: it would; or -errno, which is told once if it is a report of the network
/// (absorb.hpp).
int look_for_datagram(int fd) noexcept;
}
