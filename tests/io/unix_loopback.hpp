// unix_loopback: what the tests of Unix sockets begin with: a folder for their files, and two ends of a connection.
#pragma once

#include <sys/stat.h>

#include <runnel/unix.hpp>
#include <string>

#include "descriptors.hpp"
#include "folder.hpp"
#include "loopback.hpp"

namespace test {

inline bool exists(const std::string& path) {
    struct stat found{};
    return lstat(path.c_str(), &found) == 0;
}

inline unsigned mode_of(const std::string& path) {
    struct stat found{};
    return lstat(path.c_str(), &found) == 0 ? found.st_mode & 07777U : 0;
}

using unix_pair = std::pair<rn::unix_stream, rn::unix_stream>;

/// Two ends of one connection; the listener is in the backlog's hand only until then.
inline rn::task<unix_pair> connected_pair(rn::unix_listener& listener) {
    rn::unix_stream near = (co_await rn::unix_stream::connect(listener.local_address())).value();
    rn::unix_stream far = (co_await listener.accept()).value();
    co_return unix_pair(std::move(near), std::move(far));
}

/// Of whatever reads.
template <class Stream>
rn::task<std::string> read_to_end(Stream& from) {
    std::string all;
    while (auto chunk = co_await from.recv()) all += chunk->text();
    co_return all;
}
}
