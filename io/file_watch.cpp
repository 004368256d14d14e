// See runnel/file_watch.hpp.
#include <runnel/file_watch.hpp>

#include <sys/inotify.h>

#include <cerrno>
#include <cstring>
#include <unordered_map>
#include <utility>

#include <runnel/detail/check.hpp>
#include <runnel/detail/simulated_world.hpp>
#include <runnel/pipe.hpp>

namespace runnel {

static_assert(file_event::created == IN_CREATE && file_event::moved_out == IN_MOVED_FROM &&
              file_event::all == IN_ALL_EVENTS && file_event::events_lost == IN_Q_OVERFLOW &&
              file_event::watch_ended == IN_IGNORED && file_event::directory == IN_ISDIR);

struct file_watch::core {
    core(int fd, std::source_location at) noexcept : events(pipe_reader::own(fd, at)) {}

    bool has_event() const noexcept { return begin < end; }
    file_event take();

    pipe_reader events;
    std::unordered_map<int, std::string> paths;
    std::size_t begin = 0, end = 0;  // what has been read and not been given out
    alignas(inotify_event) std::byte buffer[4096];
};

file_event file_watch::core::take() {
    inotify_event head;
    std::memcpy(&head, buffer + begin, sizeof head);
    file_event made;
    made.what = head.mask;
    made.watch = head.wd;
    made.cookie = head.cookie;
    if (const auto at = paths.find(head.wd); at != paths.end()) made.path = at->second;
    if (head.len > 0) {
        const char* const name = reinterpret_cast<const char*>(buffer + begin + sizeof head);
        made.path.append("/").append(name, strnlen(name, head.len));
    }
    if (made.has(file_event::watch_ended)) paths.erase(head.wd);
    begin += sizeof head + head.len;
    return made;
}

file_watch::~file_watch() { delete core_; }

result<file_watch> file_watch::make(std::source_location at) {
    detail::check(detail::current_world() == nullptr, "file_watch: a simulation has no files");
    const int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0) return std::error_code(errno, std::system_category());
    return file_watch(new core(fd, at));
}

result<int> file_watch::add(const std::string& path, std::uint32_t kinds) {
    detail::check(core_ != nullptr, "file_watch: used after it was moved from");
    const int watch = inotify_add_watch(core_->events.native_handle(), path.c_str(), kinds);
    if (watch < 0) return std::error_code(errno, std::system_category());
    core_->paths[watch] = path;
    return watch;
}

result<> file_watch::remove(int watch) noexcept {
    if (inotify_rm_watch(core_->events.native_handle(), watch) < 0)
        return std::error_code(errno, std::system_category());
    return {};
}

task<result<file_event>> file_watch::next() {
    detail::check(core_ != nullptr, "file_watch: used after it was moved from");
    core& here = *core_;
    if (!here.has_event()) {
        const auto read = co_await here.events.read_some(here.buffer);
        if (!read) co_return read.error();
        here.begin = 0;
        here.end = *read;
    }
    co_return here.take();
}

void file_watch::close() noexcept { core_->events.close(); }
}
