// The channel: a ring of values, and the tasks that wait for one or for room.
//
// Send
//   1  closed: say so;
//   2  somebody waits to receive: claim the first whose wait is not over yet, move the value straight
//      into its frame;
//   3  there is room: move the value to the end of the ring;
//   4  else queue up.
// Receive
//   1  the ring has a value: move the oldest out, and the value of the first sender that waits into the
//      room that it leaves;
//   2  closed: say so;
//   3  somebody waits to send: claim the first, move its value straight out of its frame;
//   4  else queue up.
// With capacity 0 the ring never has a value and never has room, and nothing else is different.
// Close
//   1  note the cause, then set the flag, once: nobody queues up any more;
//   2  claim all that wait, at most 64 per hold of the lock, and let them run without it. Their slots
//      stay set (V1), so they find the flag and return the cause.
//
//   K1  while a receiver waits whose wait is not over, the ring is empty and no other task waits to
//       send; while a sender waits, the ring is full. (One select may wait for both at once: it cannot
//       meet itself, because it tries all its cases before it queues for any.)
//   K2  under the lock runs nothing of the user's but the nothrow move of a T and the end of the empty
//       T that it leaves in the ring. Values that nobody wants die without the lock;
//   K3  closed is for ever; the cause is written before the flag and never again;
//   K4  `refs` counts handles of any kind and is about memory only; `senders` and `receivers` are
//       about closing. Every case belongs to a living end, so a core that goes has no waiters;
//   K5  memory looks like a handle of a joint channel, its address and the mark, only while one is there
//       (runtime/orphans.hpp counts them).
//
// Not taken: a lock-free ring (Vyukov) or cells (Kotlin): within 5 % of this one in coroutine channels,
// where the wake-ups are what costs, and each cancelled waiter is a special case. A ring rounded up to a
// power of two: one compare is as cheap as the mask, and a channel of 1025 does not pay for 2048.
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include <runnel/channel.hpp>
#include <runnel/detail/counted.hpp>
#include <runnel/detail/tracing.hpp>
#include <runnel/detail/wait.hpp>

namespace runnel::detail {

namespace {

void claim_all(wait_list& waiting, winners& woken) noexcept {
    while (!woken.full()) {
        wait_node* node = waiting.pop_front();
        if (node == nullptr) return;
        task_block& task = *node->task;
        woken.add(task, claim(*node));
    }
}
}

class alignas(16) channel_core final : public wait_object {
public:
    /// A core and its ring in one piece. It lives until the last of the handles that are add()ed goes.
    static channel_core* make(const element_type& type, std::size_t capacity, bool joint,
                              std::source_location made_at);

    // With the lock held, by the cases. True: decided, and the slot says how (V1).
    bool send_now(wait_node& sender, late_wake& wake) noexcept;
    bool recv_now(wait_node& receiver, late_wake& wake) noexcept;

    void add(end_kind kind) noexcept;
    void drop(end_kind kind) noexcept;
    bool close(std::error_code cause) noexcept;
    std::error_code why() const noexcept { return closed() ? cause_ : std::error_code(); }
    // acquire: pairs with the release in close(), so that the cause is seen.
    bool closed() const noexcept { return closed_.load(std::memory_order_acquire); }
    std::size_t capacity() const noexcept { return capacity_; }
    std::size_t len() noexcept;
    /// None are known of counted ends: the last one closes the channel.
    handles_of handles() const noexcept;
    bool is_joint() const noexcept { return joint_; }
    std::uint32_t senders() const noexcept { return senders_; }
    std::uint32_t receivers() const noexcept { return receivers_; }

    wait_list receivers_waiting;
    wait_list senders_waiting;
    origin made;

private:
    channel_core(const element_type& type, std::size_t capacity, bool joint,
                 std::source_location made_at) noexcept
        : made(made_at),
          counts_(counted_kind::channel, made_at, &made),
          type_(type),
          capacity_(capacity),
          joint_(joint) {}
    ~channel_core() {
        assert(receivers_waiting.empty() && senders_waiting.empty() && "K4");
        discard(head_, count_);
    }

    void hand_over(wait_node& from, wait_node& to) noexcept;
    void push(wait_node& from) noexcept;
    void pop(wait_node& to) noexcept;
    std::byte* element(std::size_t index) noexcept;
    std::size_t wrapped(std::size_t index) const noexcept {
        return index < capacity_ ? index : index - capacity_;
    }

    /// Under the lock: how many there are of this kind now.
    std::uint32_t count_ends(end_kind kind, int change) noexcept {
        relaxed<std::uint32_t>& ends = kind == end_kind::sender ? senders_ : receivers_;
        return (ends = ends + static_cast<std::uint32_t>(change));
    }
    void wake_all() noexcept;
    void discard_unreceived() noexcept;
    void discard(std::size_t first, std::size_t count) noexcept;

    const counted counts_;
    const element_type& type_;
    const std::size_t capacity_;
    const bool joint_;
    std::size_t head_ = 0;
    std::size_t count_ = 0;
    std::atomic<bool> closed_{false};
    relaxed<std::uint32_t> senders_ = 0;  // written under the lock; dumps look without
    relaxed<std::uint32_t> receivers_ = 0;
    std::atomic<std::uint32_t> refs_{0};
    std::error_code cause_;
    // The ring follows.
};

// --- Values ------------------------------------------------------------------------------------

/// For metrics. The worker that moves a value counts it, whoever sent it; plain threads count nothing.
inline void count(relaxed<std::uint64_t> channel_totals::* what) noexcept {
    if (worker_local* const here = tls_worker; here != nullptr) [[likely]]
        here->channels.*what = (here->channels.*what).get() + 1;
}

inline std::byte* channel_core::element(std::size_t index) noexcept {
    return reinterpret_cast<std::byte*>(this + 1) + index * type_.bytes;
}

inline void channel_core::hand_over(wait_node& from, wait_node& to) noexcept {
    type_.move(to.slot, from.slot);
    to.slot = from.slot = nullptr;
    count(&channel_totals::direct);
}

inline void channel_core::push(wait_node& from) noexcept {
    assert(count_ < capacity_);
    type_.move(element(wrapped(head_ + count_)), from.slot);
    from.slot = nullptr;
    ++count_;
    count(&channel_totals::put);
}

inline void channel_core::pop(wait_node& to) noexcept {
    std::byte* oldest = element(head_);
    type_.move(to.slot, oldest);
    type_.destroy(oldest);
    to.slot = nullptr;
    head_ = wrapped(head_ + 1);
    --count_;
    count(&channel_totals::taken);
}

inline bool channel_core::send_now(wait_node& sender, late_wake& wake) noexcept {
    if (closed()) return true;
    if (wait_node* receiver = claim_first(receivers_waiting, wake)) {
        assert(count_ == 0 && "K1");
        hand_over(sender, *receiver);
        return true;
    }
    if (count_ == capacity_) return false;
    push(sender);
    return true;
}

inline bool channel_core::recv_now(wait_node& receiver, late_wake& wake) noexcept {
    if (count_ > 0) {
        pop(receiver);
        if (senders_waiting.empty() || closed()) return true;
        if (wait_node* sender = claim_first(senders_waiting, wake)) push(*sender);
        return true;
    }
    if (closed()) return true;
    wait_node* sender = claim_first(senders_waiting, wake);
    if (sender == nullptr) return false;
    assert(capacity_ == 0 && "K1");
    hand_over(*sender, receiver);
    return true;
}

bool send_case::try_now(late_wake& wake) noexcept { return core_->send_now(node_, wake); }
bool recv_case::try_now(late_wake& wake) noexcept { return core_->recv_now(node_, wake); }

void channel_core::discard(std::size_t first, std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i) type_.destroy(element(wrapped(first + i)));
}

// --- Closing -----------------------------------------------------------------------------------

bool channel_core::close(std::error_code cause) noexcept {
    {
        const std::lock_guard guard(lock);
        if (closed()) return false;
        cause_ = cause ? cause : make_error_code(errc::closed);
        // release: pairs with the acquire in closed(), for who asks without the lock.
        closed_.store(true, std::memory_order_release);
    }
    count(&channel_totals::closed);
    if (traced()) [[unlikely]]
        trace_done("close", *this, made);
    wake_all();
    return true;
}

void channel_core::wake_all() noexcept {
    winners woken;
    for (bool more = true; more;) {
        {
            const std::lock_guard guard(lock);
            claim_all(receivers_waiting, woken);
            claim_all(senders_waiting, woken);
            more = !receivers_waiting.empty() || !senders_waiting.empty();
        }
        woken.finish_all();
    }
}

/// The last receiver is gone and the channel closed: nobody can reach the ring any more but its size.
void channel_core::discard_unreceived() noexcept {
    std::size_t first;
    std::size_t count;
    {
        const std::lock_guard guard(lock);
        first = head_;
        count = std::exchange(count_, 0);
    }
    discard(first, count);
}

// --- Ends --------------------------------------------------------------------------------------

void channel_core::add(end_kind kind) noexcept {
    // relaxed: who adds has a reference, and passes the new one on by other means.
    refs_.fetch_add(1, std::memory_order_relaxed);
    if (kind == end_kind::joint) return;
    const std::lock_guard guard(lock);
    count_ends(kind, 1);
}

void channel_core::drop(end_kind kind) noexcept {
    if (kind != end_kind::joint) {
        bool last;
        {
            const std::lock_guard guard(lock);
            last = count_ends(kind, -1) == 0;
        }
        if (last && kind == end_kind::sender) close(how_the_producer_ended());
        if (last && kind == end_kind::receiver) {
            close(errc::closed);
            discard_unreceived();
        }
    }
    // acq_rel: release pairs with the acquire of the last one, which sees all that was done here.
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        this->~channel_core();
        ::operator delete(this);
    }
}

handles_of channel_core::handles() const noexcept {
    static_assert(sizeof(channel_end) == 2 * sizeof(void*) && std::is_standard_layout_v<channel_end>,
                  "K5: the address first, then kind and moved_from");
    static_assert(offsetof(channel_end, kind_) == sizeof(void*) &&
                  offsetof(channel_end, moved_from_) == sizeof(void*) + 1);
    constexpr auto mark = static_cast<std::uint16_t>(end_kind::joint);  // and not moved from
    // relaxed: a number for who knows that nobody runs.
    return joint_ ? handles_of{this, refs_.load(std::memory_order_relaxed), mark} : handles_of{};
}

std::size_t channel_core::len() noexcept {
    const std::lock_guard guard(lock);
    return count_;
}

channel_core* channel_core::make(const element_type& type, std::size_t capacity, bool joint,
                                 std::source_location made_at) {
    const std::size_t most = (SIZE_MAX - sizeof(channel_core)) / type.bytes;
    if (capacity > most) throw std::bad_alloc();
    void* memory = ::operator new(sizeof(channel_core) + capacity * type.bytes);
    return ::new (memory) channel_core(type, capacity, joint, made_at);
}

// --- The cases of a wait -------------------------------------------------------------------------

wait_object* channel_case::object() noexcept { return core_; }

bool channel_case::try_once() noexcept {
    if (core_ == nullptr) return false;
    late_wake wake;
    bool decided;
    {
        const std::lock_guard guard(core_->lock);
        decided = try_now(wake);
    }
    if (decided && traced()) [[unlikely]]
        trace_done(*this, wake);
    finish(wake);
    return decided;
}

void send_case::enlist(task_block& task, std::uint64_t ticket) noexcept {
    core_->senders_waiting.enlist(node_, task, ticket);
}

bool send_case::delist() noexcept { return core_->senders_waiting.delist(node_); }

void recv_case::enlist(task_block& task, std::uint64_t ticket) noexcept {
    core_->receivers_waiting.enlist(node_, task, ticket);
}

bool recv_case::delist() noexcept { return core_->receivers_waiting.delist(node_); }

// --- What a trace calls it -----------------------------------------------------------------------

const char* send_case::done(const late_wake& wake) const noexcept {
    if (!went_through()) return "find closed";
    return wake.task != nullptr ? "hand over" : "send";
}

const char* recv_case::done(const late_wake&) const noexcept {
    return went_through() ? "receive" : "find closed";
}

// --- What public headers call --------------------------------------------------------------------

std::error_code why_closed(const channel_core& core) noexcept { return core.why(); }

bool may_take_more(const channel_core* core) noexcept { return core != nullptr && !core->closed(); }

wait_subject subject_of(const char* what, const channel_core* core, bool sends) noexcept {
    if (core == nullptr) return {what};
    wait_subject subject{what, &core->made, 0, INT64_MAX, core->handles()};
    if (core->is_joint()) return subject;
    subject.partners = sends ? "receiver" : "sender";
    subject.partner_count = sends ? core->receivers() : core->senders();
    return subject;
}

channel_core* make_core(const element_type& type, std::size_t capacity, bool joint,
                        std::source_location made_at) {
    return channel_core::make(type, capacity, joint, made_at);
}
}

namespace runnel {

using detail::end_kind;

channel_end::channel_end(detail::channel_core* core, end_kind kind) noexcept : core_(core), kind_(kind) {
    core_->add(kind_);
}

channel_end::channel_end(const channel_end& other) noexcept
    : core_(other.core(std::source_location::current())), kind_(other.kind_) {
    if (core_ != nullptr) core_->add(kind_);
}

channel_end::channel_end(channel_end&& other) noexcept
    : core_(other.core_), kind_(other.kind_), moved_from_(std::exchange(other.moved_from_, true)) {
    other.forget();
}

channel_end& channel_end::operator=(channel_end&& other) noexcept {
    channel_end old(std::move(other));
    std::swap(core_, old.core_);
    std::swap(kind_, old.kind_);
    std::swap(moved_from_, old.moved_from_);
    return *this;
}

channel_end::~channel_end() { drop(); }

void channel_end::reset() noexcept {
    drop();
    moved_from_ = false;
}

void channel_end::drop() noexcept {
    if (core_ == nullptr) return;
    detail::channel_core* const core = core_;
    forget();
    core->drop(kind_);
}

/// Also of an end that dies: its memory must not look like a handle any more (K5). A plain store would be left out.
void channel_end::forget() noexcept { *const_cast<detail::channel_core* volatile*>(&core_) = nullptr; }

bool channel_end::close(std::error_code cause, std::source_location at) const noexcept {
    detail::channel_core* core = this->core(at);
    return core != nullptr && core->close(cause);
}

std::error_code channel_end::why(std::source_location at) const noexcept {
    const detail::channel_core* core = this->core(at);
    return core != nullptr ? core->why() : std::error_code();
}

void channel_end::label(literal text, std::source_location at) const noexcept {
    if (detail::channel_core* core = this->core(at)) core->made.set_label(text);
}

std::size_t channel_end::len(std::source_location at) const noexcept {
    detail::channel_core* core = this->core(at);
    return core != nullptr ? core->len() : 0;
}

std::size_t channel_end::capacity(std::source_location at) const noexcept {
    const detail::channel_core* core = this->core(at);
    return core != nullptr ? core->capacity() : 0;
}
}
