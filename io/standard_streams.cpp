// See runnel/standard_streams.hpp.
#include <runnel/standard_streams.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include <runnel/detail/check.hpp>
#include <runnel/detail/simulated_world.hpp>

namespace runnel {

namespace {

/// A descriptor of our own for the stream: I1 and I2. Or -errno.
int own_descriptor(int stream) noexcept {
    detail::check(detail::current_world() == nullptr,
                  "standard streams: a simulation has none; give the task a stream, as make_pipe() makes");
    if (isatty(stream) == 1) {
        char path[32];
        std::snprintf(path, sizeof path, "/proc/self/fd/%d", stream);
        const int how = stream == STDIN_FILENO ? O_RDONLY : O_WRONLY;
        const int fd = ::open(path, how | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        if (fd >= 0) return fd;
    }
    const int fd = fcntl(stream, F_DUPFD_CLOEXEC, 3);
    return fd < 0 ? -errno : fd;
}

template <class End>
result<End> stream_of(int stream, std::source_location at) noexcept {
    const int fd = own_descriptor(stream);
    if (fd < 0) return std::error_code(-fd, std::system_category());
    return End::own(fd, at);
}
}

result<pipe_reader> standard_input(std::source_location at) noexcept {
    return stream_of<pipe_reader>(STDIN_FILENO, at);
}
result<pipe_writer> standard_output(std::source_location at) noexcept {
    return stream_of<pipe_writer>(STDOUT_FILENO, at);
}
result<pipe_writer> standard_error(std::source_location at) noexcept {
    return stream_of<pipe_writer>(STDERR_FILENO, at);
}
}
