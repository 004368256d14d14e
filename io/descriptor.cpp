// The lanes of a socket; runnel/detail/descriptor.hpp names its invariants.
#include <runnel/detail/descriptor.hpp>

#include <sys/socket.h>

#include <atomic>
#include <utility>

#include <runnel/detail/check.hpp>
#include <runnel/detail/io_watch.hpp>
#include <runnel/detail/socket_calls.hpp>

namespace runnel::detail {

namespace {

constexpr unsigned lane_bits = 20;
constexpr std::uint64_t lane_mask = (1U << lane_bits) - 1;

constexpr unsigned shift(lane which) noexcept { return lane_bits * static_cast<unsigned>(which); }
constexpr std::uint64_t one(lane which) noexcept { return std::uint64_t{1} << shift(which); }
constexpr std::uint64_t count(std::uint64_t users, lane which) noexcept {
    return (users >> shift(which)) & lane_mask;
}

// The header stays free of <atomic>; every access while operations are possible goes through this.
std::atomic_ref<std::uint64_t> shared(std::uint64_t& users) noexcept {
    return std::atomic_ref<std::uint64_t>(users);
}
}

descriptor::descriptor(descriptor&& other) noexcept : counts_(std::move(other.counts_)) {
    check((other.users_ & ~closed_bit) == 0, "socket: moved while an operation is in flight");
    check(other.watch_ == nullptr || !other.watch_->is_waited_for(),
          "socket: moved while a select waits for it");
    fd_ = std::exchange(other.fd_, -1);
    users_ = std::exchange(other.users_, closed_bit);
    watch_ = std::exchange(other.watch_, nullptr);
}

descriptor& descriptor::operator=(descriptor&& other) noexcept {
    descriptor taken(std::move(other));
    std::swap(fd_, taken.fd_);
    std::swap(users_, taken.users_);
    std::swap(watch_, taken.watch_);
    std::swap(counts_, taken.counts_);
    return *this;  // and `taken` ends what we had
}

descriptor::~descriptor() {
    check((users_ & ~closed_bit) == 0, "socket: destroyed while an operation is in flight");
    check(watch_ == nullptr || !watch_->is_waited_for(), "socket: destroyed while a select waits for it");
    close();
    if (watch_ != nullptr) watch_->unref();
}

bool descriptor::closed() const noexcept {
    return (shared(const_cast<std::uint64_t&>(users_)).load() & closed_bit) != 0;
}

bool descriptor::enter(lane which, bool alone) noexcept {
    std::uint64_t seen = shared(users_).load();
    do {
        if ((seen & closed_bit) != 0) return false;
        check(!alone || count(seen, which) == 0, "socket: two operations at once in the same direction");
    } while (!shared(users_).compare_exchange_weak(seen, seen + one(which)));
    return true;
}

void descriptor::leave(lane which) noexcept {
    const std::uint64_t left = shared(users_).fetch_sub(one(which)) - one(which);
    if (left != closed_bit) [[likely]]
        return;
    counts_.gone();
    const int fd = std::exchange(fd_, -1);
    if (io_watch* const watching = watch()) {  // F4
        current_sockets().shut_down(fd, SHUT_RDWR);
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
    } while (!shared(users_).compare_exchange_weak(seen, (seen + one(lane::call)) | closed_bit));
    if (seen != 0) current_sockets().shut_down(fd_, SHUT_RDWR);  // F2
    leave(lane::call);
}
}
