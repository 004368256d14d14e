// unix_options: how a Unix socket gets its name.
//
//   auto how = rn::unix_options().mode(0660).replace_stale(true);
//   auto listener = rn::unix_listener::bind("/run/x.sock", how);
//
// Only a path is a file; of abstract names nothing here but the backlog means anything.
#pragma once

namespace runnel {

class unix_options {
public:
    /// How many connections may wait for accept(); the system has a limit of its own (net.core.somaxconn).
    unix_options& backlog(int connections) noexcept { return backlog_ = connections, *this; }

    /// The permissions of the file, whatever the umask: who may write to it may connect. They are there before the
    /// first connection can be. Without this the umask decides.
    unix_options& mode(unsigned permissions) noexcept { return mode_ = static_cast<int>(permissions), *this; }

    /// Removes a socket file that a program has left behind, rather than failing with address_in_use. Only a socket,
    /// and only one to which nobody is bound any more, as a connect tells that is refused; that one is of a kind that
    /// no listener notices. Two programs that start at the same moment may both find the file stale, and then the
    /// later takes the name: who starts several must keep them apart himself, by a locked file for example.
    unix_options& replace_stale(bool on) noexcept { return replace_stale_ = on, *this; }

    /// Leaves the file where it is. Else close() and the destructor remove it, unless it is another by then.
    unix_options& keep_file(bool on) noexcept { return keep_file_ = on, *this; }

    int backlog() const noexcept { return backlog_; }
    /// -1: as the umask says.
    int mode() const noexcept { return mode_; }
    bool replace_stale() const noexcept { return replace_stale_; }
    bool keep_file() const noexcept { return keep_file_; }

private:
    int backlog_ = 4096;
    int mode_ = -1;
    bool replace_stale_ = false;
    bool keep_file_ = false;
};
}
