// The lanes of a socket; runnel/detail/descriptor.hpp names its invariants.
#include <runnel/detail/descriptor.hpp>

#include <sys/socket.h>

#include <atomic>
#include <utility>

#include <runnel/detail/check.hpp>
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
    fd_ = std::exchange(other.fd_, -1);
    then_ = other.then_;
    users_ = std::exchange(other.users_, closed_bit);
}

descriptor& descriptor::operator=(descriptor&& other) noexcept {
    descriptor taken(std::move(other));
    std::swap(fd_, taken.fd_);
    std::swap(then_, taken.then_);
    std::swap(users_, taken.users_);
    std::swap(counts_, taken.counts_);
    return *this;  // and `taken` ends what we had
}

descriptor::~descriptor() {
    check((users_ & ~closed_bit) == 0, "socket: destroyed while an operation is in flight");
    close();
}

int descriptor::release() noexcept {
    check((users_ & ~closed_bit) == 0, "socket: given away while an operation is in flight");
    users_ = closed_bit;
    counts_.gone();
    return std::exchange(fd_, -1);
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
    current_sockets().close(std::exchange(fd_, -1));  // F1
}

void descriptor::close() noexcept {
    std::uint64_t seen = shared(users_).load();
    do {
        if ((seen & closed_bit) != 0) return;
    } while (!shared(users_).compare_exchange_weak(seen, (seen + one(lane::call)) | closed_bit));
    if (seen != 0 && then_ == when_closed::shut_down) current_sockets().shut_down(fd_, SHUT_RDWR);  // F2
    leave(lane::call);
}
}
