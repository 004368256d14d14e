// file_watch: what happens to files and in directories, as the kernel tells it (inotify).
//
//   auto watch = rn::file_watch::make();
//   if (!watch) co_return;
//   auto added = watch->add("/etc/app", rn::file_event::modified | rn::file_event::moved_in);
//   while (auto event = co_await watch->next())
//       if (event->lost()) read_all_again();
//       else reload(event->path);
//
//   V1  events come in the order in which they happened; two that are alike and follow each other may come as one;
//   V2  when more happen than the kernel keeps (fs.inotify.max_queued_events), it drops some, and says so by an
//       event of its own: lost(). Then whoever keeps a picture of the files must take a new one;
//   V3  a directory is watched, not the tree below it. What is in a directory that was made just now may have been
//       there before it was added: look for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>
#include <utility>

#include <runnel/result.hpp>

#include "detail/io_operation.hpp"
#include "detail/readiness.hpp"
#include "transfer.hpp"

namespace runnel {

class file_event {
public:
    /// What to ask for, added up; each event is one of them, perhaps with `directory`. Those after `all` come unasked.
    enum kind : std::uint32_t {
        accessed = 0x1,
        modified = 0x2,
        attributes = 0x4,  // its mode, times, owner, number of links
        written = 0x8,     // closed by somebody who could write
        closed = 0x10,     // closed by somebody who could not
        opened = 0x20,
        moved_out = 0x40,  // in a directory; with the cookie of the moved_in that belongs to it
        moved_in = 0x80,
        created = 0x100,  // in a directory
        removed = 0x200,  // from a directory
        itself_removed = 0x400,
        itself_moved = 0x800,
        all = 0xfff,
        unmounted = 0x2000,
        events_lost = 0x4000,  // V2; no path
        watch_ended = 0x8000,  // remove(), or it is gone
        directory = 0x4000'0000
    };

    file_event() noexcept {}
    std::uint32_t what = 0;    // kinds
    int watch = -1;            // which one: the number that add() gave
    std::uint32_t cookie = 0;  // the same for the two halves of a move; else 0
    std::string path;          // that which was added, and in a directory "/" and the name

    bool has(kind k) const noexcept { return (what & k) != 0; }
    bool lost() const noexcept { return has(events_lost); }
};
constexpr std::uint32_t operator|(file_event::kind a, file_event::kind b) noexcept {
    return static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b);
}
constexpr std::uint32_t operator|(std::uint32_t a, file_event::kind b) noexcept {
    return a | static_cast<std::uint32_t>(b);
}

namespace detail {
class watched_events;
}

class [[nodiscard]] file_event_operation final : public detail::io_operation_of<file_event_operation> {
public:
    using result_type = result<file_event>;
    explicit file_event_operation(detail::watched_events& of) noexcept;
    result_type complete(transfer done);

    // What a case asks: detail/readiness.hpp.
    static constexpr bool counts_itself = true, by_many = false;
    detail::descriptor& where() const noexcept;
    file_event_operation anew() const noexcept { return file_event_operation(*of_); }
    bool is_there(detail::socket_calls& calls, int fd) const noexcept;
    long take(detail::socket_calls& calls, int fd) noexcept;
    detail::whole_case<file_event_operation> as_case() && noexcept {
        return detail::whole_case<file_event_operation>(std::move(*this));
    }

private:
    detail::watched_events* of_;
};

/// Watches any number of files and directories; move-only. The destructor ends it.
/// Threads  an object of one task at a time; close() may come from any.
class file_watch {
public:
    /// Returns  too_many_files_open when this user has too many (fs.inotify.max_user_instances).
    /// Threads  any. check(): not in a simulation, which has no files.
    static result<file_watch> make(std::source_location at = std::source_location::current());
    file_watch(file_watch&& other) noexcept : events_(std::exchange(other.events_, nullptr)) {}
    file_watch& operator=(file_watch&& other) noexcept {
        file_watch taken(std::move(other));
        std::swap(events_, taken.events_);
        return *this;
    }
    ~file_watch();

    /// Watches `path` for `kinds` (for no others, when it is watched already).
    /// Returns  its number; no_such_file_or_directory, permission_denied; no_space_on_device when this user watches too
    ///          many (fs.inotify.max_user_watches). Never waits.
    result<int> add(const std::string& path, std::uint32_t kinds = file_event::all);
    /// Its last event is watch_ended. Returns  invalid_argument when it has ended.
    result<> remove(int watch) noexcept;

    /// The next event. A select case.
    /// Returns       it; errc::closed after close().
    /// Cancellation  a cancel point when it has to wait; no event is lost by that.
    file_event_operation next() noexcept;

    void close() noexcept;

private:
    explicit file_watch(detail::watched_events* made) noexcept : events_(made) {}
    detail::watched_events* events_;
};
}
