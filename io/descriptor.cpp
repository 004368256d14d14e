// The lanes of a socket; runnel/detail/descriptor.hpp names its invariants.
#include <runnel/detail/descriptor.hpp>

#include <sys/socket.h>

#include <atomic>
#include <utility>

#include <runnel/detail/check.hpp>
#include <runnel/detail/io_watch.hpp>
#include <runnel/detail/socket_calls.hpp>

#include "socket_timing.hpp"

namespace runnel::detail {

namespace {

using namespace lane_word;

// The header stays free of <atomic>; every access while operations are possible goes through this.
std::atomic_ref<std::uint64_t> shared(std::uint64_t& users) noexcept {
    return std::atomic_ref<std::uint64_t>(users);
}
}

descriptor::descriptor(descriptor&& other) noexcept : counts_(std::move(other.counts_)) {
    check((other.users_ & ~(closed_bit | all_flags)) == 0, "socket: moved while an operation is in flight");
    check(other.watch_ == nullptr || !other.watch_->is_waited_for(),
          "socket: moved while a select waits for it");
    if (other.timing_ != nullptr) other.timing_->before_move();
    fd_ = std::exchange(other.fd_, -1);
    then_ = other.then_;
    users_ = std::exchange(other.users_, closed_bit);
    watch_ = std::exchange(other.watch_, nullptr);
    timing_ = std::exchange(other.timing_, nullptr);
    if (timing_ != nullptr) timing_->moved_to(*this);
}

descriptor& descriptor::operator=(descriptor&& other) noexcept {
    descriptor taken(std::move(other));
    if (timing_ != nullptr) timing_->before_move();
    if (taken.timing_ != nullptr) taken.timing_->before_move();
    std::swap(fd_, taken.fd_);
    std::swap(then_, taken.then_);
    std::swap(users_, taken.users_);
    std::swap(watch_, taken.watch_);
    std::swap(counts_, taken.counts_);
    std::swap(timing_, taken.timing_);
    if (timing_ != nullptr) timing_->moved_to(*this);
    if (taken.timing_ != nullptr) taken.timing_->moved_to(taken);
    return *this;  // and `taken` ends what we had
}

descriptor::~descriptor() {
    check((users_ & ~(closed_bit | all_flags)) == 0, "socket: destroyed while an operation is in flight");
    check(watch_ == nullptr || !watch_->is_waited_for(), "socket: destroyed while a select waits for it");
    if (timing_ != nullptr) timing_->gone();
    close();
    if (watch_ != nullptr) watch_->unref();
}

int descriptor::release() noexcept {
    check((users_ & ~(closed_bit | lane_word::all_flags)) == 0,
          "pipe: given away while an operation is in flight");
    check(watch_ == nullptr, "pipe: given away after a select has waited for it");
    users_ = closed_bit;
    counts_.gone();
    return std::exchange(fd_, -1);
}

bool descriptor::closed() const noexcept {
    return (shared(const_cast<std::uint64_t&>(users_)).load() & closed_bit) != 0;
}

entry descriptor::begin(lane which, bool alone) noexcept {
    std::uint64_t seen = shared(users_).load();
    entry how;
    do {
        how = entry::in;
        if ((seen & closed_bit) != 0) return entry::closed;
        if (alone && lane_of(seen, which) != 0) [[unlikely]] {  // F5
            check(users_in(seen, which) == 0, "socket: two operations at once in the same direction");
            if ((seen & late_flag(which)) != 0) return entry::late;
            how = entry::watched;
        }
    } while (!shared(users_).compare_exchange_weak(seen, seen + one(which)));
    return how;
}

bool descriptor::late(lane which) const noexcept {
    return (shared(const_cast<std::uint64_t&>(users_)).load() & late_flag(which)) != 0;
}

void descriptor::leave(lane which) noexcept {
    const std::uint64_t left = shared(users_).fetch_sub(one(which)) - one(which);
    if (left != closed_bit) [[likely]]
        return;
    counts_.gone();
    const int fd = std::exchange(fd_, -1);
    if (io_watch* const watching = watch()) {  // F4
        if (then_ == when_closed::shut_down) current_sockets().shut_down(fd, SHUT_RDWR);
        if (watching->end(fd)) return;
    }
    current_sockets().close(fd);  // F1
}

io_watch* descriptor::watch() const noexcept {
    // acquire: pairs with adopt().
    return std::atomic_ref<io_watch*>(const_cast<io_watch*&>(watch_)).load(std::memory_order_acquire);
}

io_watch* descriptor::adopt(io_watch* made) noexcept {
    io_watch* there = nullptr;
    // acq_rel: release publishes what was made; acquire pairs with the release of who was faster.
    if (std::atomic_ref<io_watch*>(watch_).compare_exchange_strong(there, made, std::memory_order_acq_rel,
                                                                   std::memory_order_acquire))
        return made;
    made->unref();
    return there;
}

void descriptor::close() noexcept {
    std::uint64_t seen = shared(users_).load();
    do {
        if ((seen & closed_bit) != 0) return;
    } while (
        !shared(users_).compare_exchange_weak(seen, ((seen & ~all_flags) + one(lane::call)) | closed_bit));
    if ((seen & ~all_flags) != 0) end_what_is_in_flight();  // F2
    leave(lane::call);
}

void descriptor::end_what_is_in_flight() noexcept {
    if (then_ == when_closed::shut_down) {
        current_sockets().shut_down(fd_, SHUT_RDWR);
        return;
    }
    for (std::uint64_t& each : waiting_)
        waiting_task::claim(shared(each).load(), wait_code::cancelled);  // F6
}

void descriptor::note_waiting(lane which, const task_block& task, std::uint64_t ticket) noexcept {
    if (which == lane::call) return;  // there may be many, and no deadline is theirs
    const std::uint64_t mine = waiting_task::packed(task, ticket);
    if (then_ == when_closed::told) {  // F6
        shared(waiting_[static_cast<unsigned>(which)]).store(mine);
        if (closed()) waiting_task::claim(mine, wait_code::cancelled);
        return;
    }
    // relaxed: a deadline that does not see it yet looks again (T3 of socket_timing.hpp). It claims by a CAS.
    shared(waiting_[static_cast<unsigned>(which)]).store(mine, std::memory_order_relaxed);
}

void descriptor::note_not_waiting(lane which) noexcept {
    if (which == lane::call) return;
    shared(waiting_[static_cast<unsigned>(which)]).store(0, std::memory_order_relaxed);  // relaxed: as above
}

socket_timing& descriptor::timing() {
    if (socket_timing* const known = timing_if_any()) return *known;
    auto* const made = new socket_timing(*this);
    socket_timing* first = nullptr;
    if (std::atomic_ref<socket_timing*>(timing_).compare_exchange_strong(first, made)) return *made;
    made->gone();  // another task was faster
    return *first;
}

socket_timing* descriptor::timing_if_any() const noexcept {
    return std::atomic_ref<socket_timing*>(const_cast<socket_timing*&>(timing_)).load();
}
}
