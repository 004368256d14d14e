// socket_file: the file that a bound Unix socket is in the file system, from bind() to its removal.
//
//   1  bind() finds the name taken, and may replace it: is it a socket, and is a connect refused? Then it is removed,
//      if it is still the same, and the name is bound;
//   2  the file gets its permissions, before anybody can connect: nobody listens yet;
//   3  remove() takes it away again, once, if it is still the file that we have made.
//
//   F1  a file is known by device and inode, not by its name: who has replaced ours keeps his.
//
// Not taken: binding to a name beside it and renaming that over the old one, which replaces a living one as well.
#pragma once

#include "../unix_address.hpp"
#include "../unix_options.hpp"
#include "socket_calls.hpp"

namespace runnel::detail {

class socket_file {
public:
    socket_file() noexcept = default;
    socket_file(socket_file&& other) noexcept;
    socket_file& operator=(socket_file&& other) noexcept;
    ~socket_file() { remove(); }

    /// Steps 1 and 2: binds `fd`. Returns 0, or -errno, and then nothing is left behind.
    int bind(socket_calls& calls, int fd, const unix_address& to, const unix_options& how) noexcept;
    /// Step 3. Threads: any.
    void remove() noexcept;

private:
    unix_address at_;
    file_id id_;
    bool ours_ = false;  // atomic in the .cpp
};
}
