// See runnel/file_watch.hpp.
#include <runnel/file_watch.hpp>

#include <sys/inotify.h>

#include <cerrno>
#include <cstring>
#include <unordered_map>
#include <utility>

#include <runnel/detail/byte_end.hpp>
#include <runnel/detail/check.hpp>
#include <runnel/detail/simulated_world.hpp>
#include <runnel/detail/socket_calls.hpp>

#include "call_socket.hpp"

namespace runnel {

static_assert(file_event::created == IN_CREATE && file_event::moved_out == IN_MOVED_FROM &&
              file_event::all == IN_ALL_EVENTS && file_event::events_lost == IN_Q_OVERFLOW &&
              file_event::watch_ended == IN_IGNORED && file_event::directory == IN_ISDIR);

namespace detail {
class watched_events {
public:
    watched_events(int fd, std::source_location at) noexcept : from(fd, at) {}

    bool has_some() const noexcept { return begin_ < end_; }
    /// Asks the system for some, if there are none: 1, or -errno.
    long fill(socket_calls& calls, int fd) noexcept;
    /// The first of some.
    file_event take();

    byte_end from;
    std::unordered_map<int, std::string> paths;

private:
    std::size_t begin_ = 0, end_ = 0;  // what has been read and not been given out
    alignas(inotify_event) std::byte buffer_[4096];
};

long watched_events::fill(socket_calls& calls, int fd) noexcept {
    if (has_some()) return 1;
    const long bytes = calls.read_now(fd, buffer_, sizeof buffer_, false);
    if (bytes <= 0) return bytes < 0 ? bytes : -EIO;
    begin_ = 0;
    end_ = static_cast<std::size_t>(bytes);
    return 1;
}

file_event watched_events::take() {
    inotify_event head;
    std::memcpy(&head, buffer_ + begin_, sizeof head);
    file_event made;
    made.what = head.mask;
    made.watch = head.wd;
    made.cookie = head.cookie;
    if (const auto at = paths.find(head.wd); at != paths.end()) made.path = at->second;
    if (head.len > 0) {
        const char* const name = reinterpret_cast<const char*>(buffer_ + begin_ + sizeof head);
        made.path.append("/").append(name, strnlen(name, head.len));
    }
    if (made.has(file_event::watch_ended)) paths.erase(head.wd);
    begin_ += sizeof head + head.len;
    return made;
}
}

// --- The operation ---------------------------------------------------------------------------------

file_event_operation::file_event_operation(detail::watched_events& of) noexcept
    : io_operation_of(of.from.of(), detail::lane::in, detail::make_action(detail::io_kind::readability)),
      of_(&of) {
    try_first_ = true;
    now_ = [](io_operation& self, detail::socket_calls& calls) noexcept {
        auto& mine = static_cast<file_event_operation&>(self);
        return mine.take(calls, mine.action_.fd);
    };
}

detail::descriptor& file_event_operation::where() const noexcept { return of_->from.of(); }

bool file_event_operation::is_there(detail::socket_calls& calls, int fd) const noexcept {
    return of_->has_some() || calls.readable_now(fd);
}

long file_event_operation::take(detail::socket_calls& calls, int fd) noexcept { return of_->fill(calls, fd); }

/// After a wait it asks in the lane again, so that a close() in between is seen.
result<file_event> file_event_operation::complete(transfer done) {
    if (done.error) return done.error;
    if (!of_->has_some()) {
        if (!where().enter(detail::lane::in, true)) return errc::closed;
        const long status = of_->fill(detail::current_sockets(), where().fd());
        where().leave(detail::lane::in);
        if (status < 0) return detail::system_error(static_cast<int>(status));
    }
    return of_->take();
}

// --- The watch -------------------------------------------------------------------------------------

file_watch::~file_watch() { delete events_; }

result<file_watch> file_watch::make(std::source_location at) {
    detail::check(detail::current_world() == nullptr, "file_watch: a simulation has no files");
    const int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0) return std::error_code(errno, std::system_category());
    return file_watch(new detail::watched_events(fd, at));
}

result<int> file_watch::add(const std::string& path, std::uint32_t kinds) {
    detail::check(events_ != nullptr, "file_watch: used after it was moved from");
    const int watch = inotify_add_watch(events_->from.fd(), path.c_str(), kinds);
    if (watch < 0) return std::error_code(errno, std::system_category());
    events_->paths[watch] = path;
    return watch;
}

result<> file_watch::remove(int watch) noexcept {
    if (inotify_rm_watch(events_->from.fd(), watch) < 0)
        return std::error_code(errno, std::system_category());
    return {};
}

file_event_operation file_watch::next() noexcept {
    detail::check(events_ != nullptr, "file_watch: used after it was moved from");
    return file_event_operation(*events_);
}

void file_watch::close() noexcept { events_->from.close(); }
}
