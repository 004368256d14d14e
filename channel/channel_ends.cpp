// The ends that users hold, and the wait cases that their operations are: see channel_core.cpp for what they do.
#include "core.hpp"

namespace runnel::detail {

// --- The cases of a wait -------------------------------------------------------------------------

/// Of an emplace: where its channel was made.
sent send_case::fail(std::error_code error) noexcept {
    const bool known = at_.line() != 0 || core_ == nullptr;
    return sent(error, known ? at_ : core_->made.made_at());
}

void count_overlooked_send(std::source_location at) noexcept {
    if (counters_open.load(std::memory_order_relaxed) != 0) count_overlooked(at);  // relaxed: as in `counted`
}

bool closed_case::try_now(late_wake&) noexcept { return core_->closed(); }

void closed_case::enlist(task_block& task, std::uint64_t ticket) noexcept {
    core_->closing_awaited.enlist(node_, task, ticket);
}

bool closed_case::delist() noexcept { return core_->closing_awaited.delist(node_); }

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
    const auto places_held = static_cast<std::uint32_t>(core->reserved());  // by who may yet send
    subject.partner_count = sends ? core->receivers() : core->senders() + places_held;
    return subject;
}

bool surely_empty(const channel_core* core) noexcept { return core == nullptr || core->surely_empty(); }
bool surely_full(const channel_core* core) noexcept { return core == nullptr || core->surely_full(); }

errc why_not_at_once(const channel_core* core) noexcept {
    return core == nullptr || core->capacity() == 0 ? errc::no_receiver : errc::full;
}

bool add_sender_if_any(channel_core& core) noexcept { return core.add_sender_if_any(); }

channel_core* make_core(const element_type& type, channel_settings&& settings, bool joint,
                        std::source_location made_at) {
    return channel_core::make(type, std::move(settings), joint, made_at);
}
}

namespace runnel {

using detail::end_kind;

channel_end::channel_end(detail::channel_core* core, end_kind kind) noexcept : core_(core), kind_(kind) {
    if (core_ != nullptr) core_->add(kind_);
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

void channel_end::set_capacity(std::size_t capacity, std::source_location at) const {
    if (detail::channel_core* core = this->core(at)) core->set_capacity(capacity);
}

channel_stats channel_end::stats(std::source_location at) const noexcept {
    detail::channel_core* core = this->core(at);
    return core != nullptr ? core->stats() : channel_stats();
}
}
