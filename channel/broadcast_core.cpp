// See broadcast_core.hpp, which has the algorithm and the invariants that are named here.
#include "broadcast_core.hpp"

#include <cassert>
#include <memory>
#include <mutex>

#include <runnel/detail/tracing.hpp>

#include "totals.hpp"

namespace runnel::detail {

// --- Sending and receiving -----------------------------------------------------------------------

bool broadcast_core::send_now(broadcast_send_case& sender) noexcept {
    if (closed_) return true;
    if (!has_room()) return false;
    push(sender, sender.later_);
    return true;
}

void broadcast_core::push(broadcast_send_case& sender, aftermath& later) noexcept {
    place& here = place_of(sent_);
    if (here.message != nullptr) {
        assert(here.awaited == 0 && "A2");
        if (here.strict != 0) disconnect_behind(sent_ - capacity_);
        later.drop(here.message);
    }
    if (sender.source_ != nullptr) sender.message_->fill_from(sender.source_);
    here = {sender.message_.release(), awaited_, strict_};
    ++sent_;
    sender.reached_ = receivers_;
    sender.node_.slot = nullptr;
    detail::count(&channel_totals::put);
    hand_out(later);
}

/// To who waits: each of those subscriptions has had all but the last message (A3).
void broadcast_core::hand_out(aftermath& later) noexcept {
    for (broadcast_subscription* next = attended_.first(); next != nullptr;) {
        broadcast_subscription& each = *std::exchange(next, next->next);
        assert(each.position + 1 == sent_ && each.open() && "A1");
        while (wait_node* const node = each.waiting.pop_front()) {
            auto& receiver = *static_cast<broadcast_recv_case*>(node->slot);
            if (!later.woken.claim_popped(*node)) continue;
            take(each, receiver);
            break;
        }
        if (!each.waiting.empty()) continue;
        attended_.remove(each);
        others_.add(each);
    }
}

bool broadcast_core::take(broadcast_subscription& from, broadcast_recv_case& into) noexcept {
    const std::uint64_t limit = limit_of(from);
    std::uint64_t number = std::max(from.position, oldest());
    if (number >= limit) return false;
    if (from.how == slow_receiver::latest) number = limit - 1;
    into.missed_ = number - from.position;
    from.missed += into.missed_;
    missed_ += into.missed_;
    from.position = number + 1;
    place& here = place_of(number);
    if (from.how == slow_receiver::wait) --here.awaited;
    if (from.how == slow_receiver::disconnect) --here.strict;
    here.message->add();
    into.taken_ = message_ref(here.message);
    into.node_.slot = nullptr;
    detail::count(&channel_totals::taken);
    return true;
}

bool broadcast_core::recv_now(broadcast_recv_case& receiver) noexcept {
    broadcast_subscription& from = *receiver.of_;
    if (!take(from, receiver)) return closed_ || !from.open();
    if (from.how == slow_receiver::wait) let_senders_go_on(receiver.later_);
    return true;
}

/// None waits once it is closed.
void broadcast_core::let_senders_go_on(aftermath& later) noexcept {
    while (has_room()) {
        wait_node* const node = senders_waiting.pop_front();
        if (node == nullptr) return;
        auto& sender = *static_cast<broadcast_send_case*>(node->slot);
        if (later.woken.claim_popped(*node)) push(sender, later);
    }
}

// --- Joining and leaving ---------------------------------------------------------------------------

void broadcast_core::count(slow_receiver how, int change) noexcept {
    const auto by = static_cast<std::uint32_t>(change);
    receivers_ = receivers_ + by;
    if (how == slow_receiver::wait) awaited_ = awaited_ + by;
    if (how == slow_receiver::disconnect) strict_ += by;
}

/// A2: it is to get what there is from this number on; or is not.
void broadcast_core::expect(const broadcast_subscription& one, std::uint64_t from, int change) noexcept {
    const auto by = static_cast<std::uint32_t>(change);
    if (one.how != slow_receiver::wait && one.how != slow_receiver::disconnect) return;
    for (std::uint64_t k = std::max(from, oldest()); k < limit_of(one); ++k)
        (one.how == slow_receiver::wait ? place_of(k).awaited : place_of(k).strict) += by;
}

broadcast_subscription* broadcast_core::enrol(broadcast_subscription* one) noexcept {
    // relaxed: who joins has an end with a reference, and passes the new one on by other means.
    refs_.fetch_add(1, std::memory_order_relaxed);
    if (one->open()) count(one->how, 1);
    expect(*one, one->position, 1);
    others_.add(*one);
    return one;
}

broadcast_subscription* broadcast_core::subscribe(slow_receiver how, std::uint64_t replay) {
    auto* const one = new broadcast_subscription(*this, how);
    const std::lock_guard guard(lock);
    one->position = sent_ - std::min(replay, sent_ - oldest());
    return enrol(one);
}

broadcast_subscription* broadcast_core::share(const broadcast_subscription& with) {
    auto* const one = new broadcast_subscription(*this, with.how);
    const std::lock_guard guard(lock);
    one->position = with.position;
    one->end = with.end;
    one->cause = with.cause;
    return enrol(one);
}

/// Neither counted nor expected to get anything from `end` on.
void broadcast_core::end_at(broadcast_subscription& one, std::uint64_t end, std::error_code cause) noexcept {
    if (one.open()) count(one.how, -1);
    expect(one, std::max(end, one.position), -1);
    one.end = end;
    one.cause = cause;
}

/// Message `number` is being overwritten: the strict ones that have not had it are closed (step 3 of Send).
void broadcast_core::disconnect_behind(std::uint64_t number) noexcept {
    for (broadcast_subscription* each = others_.first(); each != nullptr; each = each->next)
        if (each->how == slow_receiver::disconnect && each->position <= number && number < each->end) {
            end_at(*each, each->position, errc::lagged);
            ++disconnected_;
        }
}

void broadcast_core::unsubscribe(broadcast_subscription& one) noexcept {
    aftermath later;
    {
        const std::lock_guard guard(lock);
        check(one.waiting.empty(), "broadcast: a receiver ends while it is waited for");
        end_at(one, one.position, {});
        others_.remove(one);
        let_senders_go_on(later);
    }
    delete &one;
    later.come();
    drop_reference();
}

// --- The tasks that wait -----------------------------------------------------------------------------

void broadcast_core::attend(broadcast_recv_case& by, task_block& task, std::uint64_t ticket) noexcept {
    broadcast_subscription& at = *by.of_;
    if (at.waiting.empty()) {
        others_.remove(at);
        attended_.add(at);
    }
    at.waiting.enlist(by.node_, task, ticket);
}

void broadcast_core::leave(broadcast_recv_case& by) noexcept {
    if (!by.node_.linked()) return;
    broadcast_subscription& at = *by.of_;
    at.waiting.remove(by.node_);
    if (!at.waiting.empty()) return;
    attended_.remove(at);
    others_.add(at);
}

/// All that wait at this receiver.
void broadcast_core::wake(broadcast_subscription& one, aftermath& later) noexcept {
    if (one.waiting.empty()) return;
    later.woken.claim_all(one.waiting);
    attended_.remove(one);
    others_.add(one);
}

// --- Closing -----------------------------------------------------------------------------------------

bool broadcast_core::close(std::error_code cause) noexcept {
    aftermath later;
    {
        const std::lock_guard guard(lock);
        if (closed_) return false;
        closed_ = true;
        cause_ = cause ? cause : make_error_code(errc::closed);
        while (attended_.first() != nullptr) wake(*attended_.first(), later);
        later.woken.claim_all(senders_waiting);
    }
    detail::count(&channel_totals::closed);
    if (traced()) [[unlikely]]
        trace_done("close", *this, made);
    later.come();
    return true;
}

bool broadcast_core::close(broadcast_subscription& one, std::error_code cause) noexcept {
    aftermath later;
    {
        const std::lock_guard guard(lock);
        if (closed_ || !one.open()) return false;
        end_at(one, sent_, cause ? cause : make_error_code(errc::closed));
        wake(one, later);
    }
    later.come();
    return true;
}

std::error_code broadcast_core::why() noexcept {
    const std::lock_guard guard(lock);
    return cause_;
}

std::error_code broadcast_core::why(const broadcast_subscription& one) noexcept {
    const std::lock_guard guard(lock);
    return one.open() ? cause_ : one.cause;
}

std::uint64_t broadcast_core::kept_of(const broadcast_subscription& one) noexcept {
    const std::lock_guard guard(lock);
    const std::uint64_t from = std::max(one.position, oldest());
    const std::uint64_t kept = limit_of(one) - std::min(from, limit_of(one));
    return one.how == slow_receiver::latest ? std::min<std::uint64_t>(kept, 1) : kept;
}

std::uint64_t broadcast_core::lag_of(const broadcast_subscription& one) noexcept {
    const std::lock_guard guard(lock);
    return limit_of(one) - one.position;
}

std::uint64_t broadcast_core::missed_by(const broadcast_subscription& one) noexcept {
    const std::lock_guard guard(lock);
    return one.missed;
}

broadcast_stats broadcast_core::stats() noexcept {
    broadcast_stats all;
    const std::lock_guard guard(lock);
    all.sent = sent_;
    all.kept = static_cast<std::size_t>(sent_ - oldest());
    all.missed = missed_;
    all.disconnected = disconnected_;
    all.waiting_senders = senders_waiting.length();
    all.senders = senders_;
    all.receivers = receivers_;
    for (const subscriptions* list : {&attended_, &others_})
        for (const broadcast_subscription* each = list->first(); each != nullptr; each = each->next) {
            all.waiting_receivers += each->waiting.length();
            all.longest_lag = std::max(all.longest_lag, limit_of(*each) - each->position);
        }
    return all;
}

// --- Its life ----------------------------------------------------------------------------------------

broadcast_core::broadcast_core(std::size_t capacity, std::source_location made_at) noexcept
    : made(made_at), counts_(counted_kind::channel, made_at, &made), capacity_(capacity) {
    std::uninitialized_default_construct_n(reinterpret_cast<place*>(this + 1), capacity);
}

broadcast_core::~broadcast_core() {
    assert(senders_waiting.empty() && attended_.first() == nullptr && others_.first() == nullptr && "A6");
    for (std::uint64_t k = oldest(); k < sent_; ++k) place_of(k).message->drop();
}

broadcast_core* broadcast_core::make(std::size_t capacity, std::source_location made_at) {
    check(capacity != 0, "broadcast: its capacity must be 1 at least", made_at);
    if (capacity > (SIZE_MAX - sizeof(broadcast_core)) / sizeof(place)) throw std::bad_alloc();
    void* const memory = ::operator new(sizeof(broadcast_core) + capacity * sizeof(place));
    return ::new (memory) broadcast_core(capacity, made_at);
}

void broadcast_core::add_sender() noexcept {
    // relaxed: as in enrol().
    refs_.fetch_add(1, std::memory_order_relaxed);
    const std::lock_guard guard(lock);
    senders_ = senders_ + 1;
}

void broadcast_core::drop_sender() noexcept {
    bool last;
    {
        const std::lock_guard guard(lock);
        senders_ = senders_ - 1;
        last = senders_ == 0;
    }
    if (last) close(how_the_producer_ended());
    drop_reference();
}

void broadcast_core::drop_reference() noexcept {
    // acq_rel: release pairs with the acquire of the last one, which sees all that was done here.
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    this->~broadcast_core();
    ::operator delete(this);
}

void aftermath::finish_and_drop() noexcept {
    woken.finish_all();
    for (shared_message* next = std::exchange(overwritten_, nullptr); next != nullptr;) {
        shared_message* const each = std::exchange(next, next->next);
        each->drop();
    }
}
}
