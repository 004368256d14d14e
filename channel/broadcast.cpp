// What stands between broadcast.hpp and the core: the two cases of a wait, and the ends.
#include <runnel/broadcast.hpp>

#include "broadcast_core.hpp"

namespace runnel::detail {

// --- The cases of a wait -----------------------------------------------------------------------------

wait_object* broadcast_send_case::object() noexcept { return core_; }
bool broadcast_send_case::try_now(late_wake&) noexcept { return core_->send_now(*this); }
void broadcast_send_case::enlist(task_block& task, std::uint64_t ticket) noexcept {
    core_->senders_waiting.enlist(node_, task, ticket);
}
bool broadcast_send_case::delist() noexcept { return core_->senders_waiting.delist(node_); }
const char* broadcast_send_case::done(const late_wake&) const noexcept {
    return node_.slot == nullptr ? "broadcast" : "find closed";
}
wait_subject broadcast_send_case::subject() const noexcept {
    wait_subject subject{"to broadcast"};
    if (core_ == nullptr) return subject;
    subject.of = &core_->made;
    subject.partners = "receiver";
    subject.partner_count = core_->awaited_receivers();
    return subject;
}
result<std::size_t> broadcast_send_case::how_it_went() noexcept {
    later_.come();
    if (node_.slot == nullptr) return reached_;
    return core_->why();
}

wait_object* broadcast_recv_case::object() noexcept { return of_ != nullptr ? &of_->of : nullptr; }
bool broadcast_recv_case::try_now(late_wake&) noexcept { return of_->of.recv_now(*this); }
void broadcast_recv_case::enlist(task_block& task, std::uint64_t ticket) noexcept {
    of_->of.attend(*this, task, ticket);
}
bool broadcast_recv_case::delist() noexcept {
    of_->of.leave(*this);
    return false;
}
const char* broadcast_recv_case::done(const late_wake&) const noexcept {
    return node_.slot == nullptr ? "receive" : "find closed";
}
wait_subject broadcast_recv_case::subject() const noexcept {
    wait_subject subject{"to receive a broadcast"};
    if (of_ == nullptr) return subject;
    subject.of = &of_->of.made;
    subject.partners = "sender";
    subject.partner_count = of_->of.senders();
    return subject;
}
std::error_code broadcast_recv_case::why() const noexcept { return of_->of.why(*of_); }

// --- What public headers call ------------------------------------------------------------------------

broadcast_core* make_broadcast_core(std::size_t capacity, std::source_location made_at) {
    return broadcast_core::make(capacity, made_at);
}

bool may_take_more(broadcast_core* core) noexcept { return core != nullptr && !core->why(); }

broadcast_sender_end::broadcast_sender_end(broadcast_core* core) noexcept : core_(core) {
    if (core != nullptr) core->add_sender();
}
broadcast_sender_end& broadcast_sender_end::operator=(broadcast_sender_end&& other) noexcept {
    broadcast_sender_end old(std::move(other));
    core_.swap(old.core_);
    return *this;
}
void broadcast_sender_end::drop() noexcept {
    if (broadcast_core* const of = core_.release(); of != nullptr) of->drop_sender();
}
void broadcast_sender_end::reset() noexcept {
    drop();
    core_.renew();
}
bool broadcast_sender_end::close(std::error_code cause, std::source_location at) const noexcept {
    broadcast_core* const to = core(at);
    return to != nullptr && to->close(cause);
}
std::error_code broadcast_sender_end::why(std::source_location at) const noexcept {
    broadcast_core* const to = core(at);
    return to != nullptr ? to->why() : std::error_code();
}
std::size_t broadcast_sender_end::receivers(std::source_location at) const noexcept {
    broadcast_core* const to = core(at);
    return to != nullptr && !to->why() ? to->receivers() : 0;
}
broadcast_stats broadcast_sender_end::stats(std::source_location at) const noexcept {
    broadcast_core* const of = core(at);
    return of != nullptr ? of->stats() : broadcast_stats();
}

std::size_t broadcast_sender_end::capacity(std::source_location at) const noexcept {
    const broadcast_core* const to = core(at);
    return to != nullptr ? to->capacity() : 0;
}
void broadcast_sender_end::label(literal text, std::source_location at) const noexcept {
    if (broadcast_core* const to = core(at)) to->made.set_label(text);
}
broadcast_subscription* broadcast_sender_end::join(slow_receiver how, replay last,
                                                   std::source_location at) const {
    broadcast_core* const to = core(at);
    return to != nullptr ? to->subscribe(how, last.count()) : nullptr;
}

broadcast_receiver_end& broadcast_receiver_end::operator=(broadcast_receiver_end&& other) noexcept {
    broadcast_receiver_end old(std::move(other));
    of_.swap(old.of_);
    return *this;
}
void broadcast_receiver_end::drop() noexcept {
    if (broadcast_subscription* const one = of_.release(); one != nullptr) one->of.unsubscribe(*one);
}
void broadcast_receiver_end::reset() noexcept {
    drop();
    of_.renew();
}
bool broadcast_receiver_end::close(std::error_code cause, std::source_location at) const noexcept {
    broadcast_subscription* const one = of(at);
    return one != nullptr && one->of.close(*one, cause);
}
std::error_code broadcast_receiver_end::why(std::source_location at) const noexcept {
    const broadcast_subscription* const one = of(at);
    return one != nullptr ? one->of.why(*one) : std::error_code();
}
std::size_t broadcast_receiver_end::len(std::source_location at) const noexcept {
    const broadcast_subscription* const one = of(at);
    return one != nullptr ? one->of.kept_of(*one) : 0;
}
std::uint64_t broadcast_receiver_end::lag(std::source_location at) const noexcept {
    const broadcast_subscription* const one = of(at);
    return one != nullptr ? one->of.lag_of(*one) : 0;
}
std::uint64_t broadcast_receiver_end::missed(std::source_location at) const noexcept {
    const broadcast_subscription* const one = of(at);
    return one != nullptr ? one->of.missed_by(*one) : 0;
}
std::size_t broadcast_receiver_end::capacity(std::source_location at) const noexcept {
    const broadcast_subscription* const one = of(at);
    return one != nullptr ? one->of.capacity() : 0;
}
void broadcast_receiver_end::label(literal text, std::source_location at) const noexcept {
    if (broadcast_subscription* const one = of(at)) one->of.made.set_label(text);
}
broadcast_subscription* broadcast_receiver_end::join_beside(std::source_location at) const {
    const broadcast_subscription* const one = of(at);
    return one != nullptr ? one->of.share(*one) : nullptr;
}
}
