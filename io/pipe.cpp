// Pipes and their operations; see runnel/pipe.hpp.
#include <runnel/pipe.hpp>

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include <runnel/detail/check.hpp>
#include <runnel/detail/io_backend.hpp>
#include <runnel/detail/simulated_world.hpp>
#include <runnel/time.hpp>

#include "call_socket.hpp"

namespace runnel {

using detail::io_action;
using detail::io_kind;
using detail::lane;

namespace {

io_action make_action(io_kind kind, const detail::byte_end& on) noexcept {
    io_action action{};
    action.kind = kind;
    action.at_once = on.at_once();
    return action;
}

io_action make_read(detail::byte_end& on, std::span<std::byte> to) noexcept {
    io_action action = make_action(io_kind::read, on);
    action.data = to.data();
    action.bytes = to.size();
    action.will_wait = on.drained() && !on.at_once();
    return action;
}

io_action make_write(const detail::byte_end& on, std::span<const std::byte> from, bool whole) noexcept {
    io_action action = make_action(io_kind::write, on);
    action.data = const_cast<std::byte*>(from.data());  // only read: see io_action.hpp
    action.bytes = from.size();
    action.whole = whole;
    return action;
}

void refuse_in_simulation(const char* misuse) noexcept {
    detail::check(detail::current_world() == nullptr, misuse);
}

int open_file(const std::string& path, int how) noexcept {
    for (;;) {
        // O_NONBLOCK: a FIFO is opened without waiting for the other side. The open file is ours alone.
        const int fd = ::open(path.c_str(), how | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd >= 0 || errno != EINTR) return fd < 0 ? -errno : fd;
    }
}
}

// --- Operations ------------------------------------------------------------------------------------

pipe_read_operation::pipe_read_operation(detail::byte_end& on, std::span<std::byte> to) noexcept
    : io_operation_of(on.of(), lane::in, make_read(on, to)), drained_(on.drained()) {
    try_first_ = !action_.will_wait;
}

result<std::size_t> pipe_read_operation::complete(transfer done) noexcept {
    const bool asked_for_some = action_.bytes > 0 || done.bytes > 0;
    if (done.bytes == 0 && done.error) return done.error;
    drained_ = action_.bytes > 0;
    if (done.bytes == 0 && asked_for_some) return errc::end_of_stream;
    return done.bytes;
}

pipe_receive_operation::pipe_receive_operation(detail::byte_end& on) noexcept
    : io_operation_of(on.of(), lane::in, make_read(on, {})), end_(on) {
    try_first_ = !action_.will_wait;
}

void pipe_receive_operation::prepare() noexcept {
    lease_ = detail::current_io().buffers().take();
    if (lease_ != nullptr) action_.lend(lease_, detail::buffer_pool::buffer_bytes);
}

result<chunk> pipe_receive_operation::complete(transfer done) noexcept {
    if (lease_ == nullptr) return std::make_error_code(std::errc::not_enough_memory);
    if (done.bytes > 0) {
        end_.drained() = action_.bytes > 0;
        return detail::make_chunk::of(lease_, done.bytes);
    }
    detail::give_back_buffer(lease_);
    if (done.error) return done.error;
    return errc::end_of_stream;
}

result<chunk> pipe_receive_case::complete(unsigned) noexcept {
    const auto read = [this](auto& calls, int fd, std::byte* to, std::size_t room) {
        return calls.read_now(fd, to, room, end_.at_once());
    };
    return lease_and(read, end_.drained());
}

namespace {
/// What cannot be waited for is ready: to read nothing from it succeeds at once.
io_kind wait_kind(const detail::byte_end& on) noexcept {
    return on.at_once() ? io_kind::read : io_kind::readability;
}
}

pipe_readable_operation::pipe_readable_operation(detail::byte_end& on) noexcept
    : io_operation_of(on.of(), lane::in, make_action(wait_kind(on), on)) {}

pipe_write_operation::pipe_write_operation(detail::byte_end& on, std::span<const std::byte> from,
                                           bool whole) noexcept
    : io_operation_of(on.of(), lane::out, make_write(on, from, whole)) {
    try_first_ = true;
}

// --- Making them -----------------------------------------------------------------------------------

result<pipe_pair> make_pipe(std::source_location at) noexcept {
    int ends[2];
    if (const int status = detail::current_sockets().make_pipe(ends); status < 0)
        return detail::system_error(status);
    return result<pipe_pair>(std::in_place, ends[0], ends[1], at);
}

pipe_reader pipe_reader::own(int fd, std::source_location at) noexcept {
    refuse_in_simulation("pipe_reader::own: a simulation has no descriptors of the system; see make_pipe()");
    return pipe_reader(detail::byte_end(fd, at));
}

pipe_writer pipe_writer::own(int fd, std::source_location at) noexcept {
    refuse_in_simulation("pipe_writer::own: a simulation has no descriptors of the system; see make_pipe()");
    return pipe_writer(detail::byte_end(fd, at));
}

result<pipe_reader> pipe_reader::open(const std::string& path, std::source_location at) noexcept {
    refuse_in_simulation("pipe_reader::open: a simulation has no files");
    const int fd = open_file(path, O_RDONLY);
    if (fd < 0) return detail::system_error(fd);
    pipe_reader made = own(fd, at);
    // Before the first writer a read would find the end of the stream; poll() knows better, and waits.
    made.end_.drained() = true;
    return made;
}

task<result<pipe_writer>> pipe_writer::open(std::string path, std::source_location at) {
    refuse_in_simulation("pipe_writer::open: a simulation has no files");
    constexpr auto longest = std::chrono::milliseconds(20);
    for (auto pause = std::chrono::milliseconds(1);; pause = std::min(2 * pause, longest)) {
        const int fd = open_file(path, O_WRONLY);
        if (fd >= 0) co_return own(fd, at);
        if (fd != -ENXIO) co_return detail::system_error(fd);  // ENXIO: nobody reads it yet
        const auto rested = co_await sleep_for(pause);
        if (!rested) co_return rested.error();
    }
}
}
