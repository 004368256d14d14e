// The watch: a pointer to the newest value, its version, and the tasks that wait for another.
//
// Setting
//   1  make the value, without the lock;
//   2  under it: closed, say so; put it in the place of the newest, and count the version up;
//   3  claim all that wait, in the order in which they came; their views have seen this version;
//   4  without the lock: put them into run queues, drop the value of before. Whoever copies it just now keeps it.
// Waiting
//   1  there is a version that the view has not seen: now it has seen the newest, and takes it if it wants it;
//   2  closed: say so;
//   3  else queue up. There is one queue, for all who stand in it want the same.
// Changing (modify)
//   take the newest with its version, without the lock make a changed copy, and set that only if the version is the
//   same: compare and exchange, with a lock in the place of the instruction.
//
//   U1  a value does not change once it is the newest, so it is copied without the lock;
//   U2  a view whose task waits and has not been claimed has seen the newest version. A cancelled wait marks nothing;
//   U3  under the lock runs nothing of the user's. Values die without it;
//   U4  closed is for ever, and the cause and the newest value stay;
//   U5  `refs` counts setters and views, and is about memory only. Every case belongs to a view of a living end, whose
//       end is check()ed, so a core that goes has no waiters.
//
// Not taken: a sequence lock around a T in place: it needs a T that can be copied while it changes; an atomic pointer
// and hazard pointers for readers: the lock is held for two instructions, and a version goes with the pointer.
#include <atomic>
#include <cassert>
#include <cstdint>
#include <mutex>

#include <runnel/detail/counted.hpp>
#include <runnel/detail/tracing.hpp>
#include <runnel/detail/wait.hpp>
#include <runnel/detail/wait_queue.hpp>
#include <runnel/watch.hpp>

namespace runnel::detail {

/// What a watcher stands for.
struct watch_view {
    watch_core& of;
    std::uint64_t seen;
    std::uint32_t waiting = 0;  // nodes in the queue
};

class watch_core final : public wait_queue {
public:
    watch_core(message_ref initial, std::source_location made_at) noexcept
        : wait_queue(made_at), counts_(counted_kind::channel, made_at, &made), newest_(std::move(initial)) {}

    // With the lock held, by the cases.
    bool see_now(watch_case& by) noexcept;
    void enlist(watch_case& by, task_block& task, std::uint64_t ticket) noexcept;
    void delist(watch_case& by) noexcept;

    void add_setter() noexcept;
    void drop_setter() noexcept;
    watch_view* add_view();
    watch_view* add_view(const watch_view& with);
    void drop_view(watch_view& view) noexcept;

    watched current(watch_view* marks) noexcept;
    result<bool> publish(message_ref& value, std::uint64_t expected, bool any) noexcept;
    bool close(std::error_code cause) noexcept;
    std::error_code why() noexcept;
    std::uint64_t version() noexcept;
    std::uint64_t seen_by(const watch_view& view) noexcept;
    std::uint32_t setters() const noexcept { return setters_; }
    std::uint32_t views() const noexcept { return views_; }

private:
    ~watch_core() { assert(waiting.empty() && "U5"); }
    void mark(watch_case& by) noexcept;
    watch_view* enrol(watch_view* one) noexcept;
    void drop_reference() noexcept;

    const counted counts_;
    message_ref newest_;
    std::uint64_t version_ = 0;
    relaxed<std::uint32_t> setters_ = 0;  // written under the lock; dumps look without
    relaxed<std::uint32_t> views_ = 0;
    std::atomic<std::uint32_t> refs_{0};
    bool closed_ = false;
    std::error_code cause_;
};

// --- Setting and seeing --------------------------------------------------------------------------

namespace {
message_ref another(const message_ref& one) noexcept {
    one->add();
    return message_ref(one.get());
}
}

void watch_core::mark(watch_case& by) noexcept {
    by.of_->seen = version_;
    if (by.takes_) by.taken_ = another(newest_);
    by.node_.slot = nullptr;
}

result<bool> watch_core::publish(message_ref& value, std::uint64_t expected, bool any) noexcept {
    claimed_tasks woken;
    {
        const std::lock_guard guard(lock);
        if (closed_) return cause_;
        if (!any && version_ != expected) return false;
        std::swap(newest_, value);
        ++version_;
        while (wait_node* const node = waiting.pop_front()) {
            auto& each = *static_cast<watch_case*>(node->slot);
            --each.of_->waiting;
            if (woken.claim_popped(*node)) mark(each);  // U2
        }
    }
    woken.finish_all();
    return true;
}

bool watch_core::see_now(watch_case& by) noexcept {
    if (by.of_->seen == version_) return closed_;
    mark(by);
    return true;
}

watched watch_core::current(watch_view* marks) noexcept {
    const std::lock_guard guard(lock);
    if (marks != nullptr) marks->seen = version_;
    return {another(newest_), version_};
}

void watch_core::enlist(watch_case& by, task_block& task, std::uint64_t ticket) noexcept {
    assert(by.of_->seen == version_ && "U2");
    ++by.of_->waiting;
    waiting.enlist(by.node_, task, ticket);
}

void watch_core::delist(watch_case& by) noexcept {
    if (!by.node_.linked()) return;
    --by.of_->waiting;
    waiting.remove(by.node_);
}

bool watch_core::close(std::error_code cause) noexcept {
    claimed_tasks woken;
    {
        const std::lock_guard guard(lock);
        if (closed_) return false;
        closed_ = true;
        cause_ = cause ? cause : make_error_code(errc::closed);
        while (wait_node* const node = waiting.pop_front()) {
            --static_cast<watch_case*>(node->slot)->of_->waiting;
            woken.claim_popped(*node);
        }
    }
    if (traced()) [[unlikely]]
        trace_done("close", *this, made);
    woken.finish_all();
    return true;
}

std::error_code watch_core::why() noexcept {
    const std::lock_guard guard(lock);
    return cause_;
}

std::uint64_t watch_core::version() noexcept {
    const std::lock_guard guard(lock);
    return version_;
}

std::uint64_t watch_core::seen_by(const watch_view& view) noexcept {
    const std::lock_guard guard(lock);
    return view.seen;
}

// --- Its life --------------------------------------------------------------------------------------

void watch_core::add_setter() noexcept {
    // relaxed: who adds has an end with a reference, and passes the new one on by other means.
    refs_.fetch_add(1, std::memory_order_relaxed);
    const std::lock_guard guard(lock);
    setters_ = setters_ + 1;
}

void watch_core::drop_setter() noexcept {
    bool last;
    {
        const std::lock_guard guard(lock);
        setters_ = setters_ - 1;
        last = setters_ == 0;
    }
    if (last) close(how_the_producer_ended());
    drop_reference();
}

watch_view* watch_core::enrol(watch_view* one) noexcept {
    // relaxed: as in add_setter().
    refs_.fetch_add(1, std::memory_order_relaxed);
    views_ = views_ + 1;
    return one;
}

watch_view* watch_core::add_view() {
    auto* const one = new watch_view{*this, 0};
    const std::lock_guard guard(lock);
    one->seen = version_;
    return enrol(one);
}

watch_view* watch_core::add_view(const watch_view& with) {
    auto* const one = new watch_view{*this, 0};
    const std::lock_guard guard(lock);
    one->seen = with.seen;
    return enrol(one);
}

void watch_core::drop_view(watch_view& view) noexcept {
    {
        const std::lock_guard guard(lock);
        check(view.waiting == 0, "watch: a watcher ends while it is waited for");
        views_ = views_ - 1;
    }
    delete &view;
    drop_reference();
}

void watch_core::drop_reference() noexcept {
    // acq_rel: release pairs with the acquire of the last one, which sees all that was done here.
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

watch_core& make_watch_core(message_ref initial, std::source_location made_at) {
    return *new watch_core(std::move(initial), made_at);
}

// --- The case of a wait ----------------------------------------------------------------------------

wait_object* watch_case::object() noexcept { return of_ != nullptr ? &of_->of : nullptr; }
bool watch_case::try_now(late_wake&) noexcept { return of_->of.see_now(*this); }
void watch_case::enlist(task_block& task, std::uint64_t ticket) noexcept {
    of_->of.enlist(*this, task, ticket);
}
bool watch_case::delist() noexcept {
    of_->of.delist(*this);
    return false;
}
std::error_code watch_case::why() const noexcept { return of_->of.why(); }
const char* watch_case::done(const late_wake&) const noexcept {
    return went_through() ? "see a change" : "find closed";
}
wait_subject watch_case::subject() const noexcept {
    wait_subject subject{"for a change"};
    if (of_ == nullptr) return subject;
    subject.of = &of_->of.made;
    subject.partners = "setter";
    subject.partner_count = of_->of.setters();
    return subject;
}

// --- The ends --------------------------------------------------------------------------------------

namespace {
constexpr const char* moved = "watch: an end was used after it was moved from";
constexpr const char* nil = "watch: this end belongs to no value (default-made or reset)";
}

watch_setter_end::watch_setter_end(watch_core& core) noexcept : core_(&core) { core.add_setter(); }
watch_setter_end& watch_setter_end::operator=(watch_setter_end&& other) noexcept {
    watch_setter_end old(std::move(other));
    core_.swap(old.core_);
    return *this;
}
watch_core& watch_setter_end::core(std::source_location at) const noexcept {
    watch_core* const of = core_.checked(moved, at);
    check(of != nullptr, nil, at);
    return *of;
}
void watch_setter_end::drop() noexcept {
    if (watch_core* const of = core_.release(); of != nullptr) of->drop_setter();
}
void watch_setter_end::reset() noexcept {
    drop();
    core_.renew();
}
bool watch_setter_end::close(std::error_code cause, std::source_location at) const noexcept {
    return core(at).close(cause);
}
std::error_code watch_setter_end::why(std::source_location at) const noexcept { return core(at).why(); }
std::uint64_t watch_setter_end::version(std::source_location at) const noexcept { return core(at).version(); }
std::size_t watch_setter_end::receivers(std::source_location at) const noexcept { return core(at).views(); }
void watch_setter_end::label(literal text, std::source_location at) const noexcept {
    core(at).made.set_label(text);
}
watched watch_setter_end::current(std::source_location at) const noexcept {
    return core(at).current(nullptr);
}
result<bool> watch_setter_end::publish(message_ref& value, std::uint64_t expected,
                                       std::source_location at) const noexcept {
    return core(at).publish(value, expected, expected == any_version);
}
watch_view* watch_setter_end::join(std::source_location at) const { return core(at).add_view(); }

watcher_end& watcher_end::operator=(watcher_end&& other) noexcept {
    watcher_end old(std::move(other));
    of_.swap(old.of_);
    return *this;
}
watch_view* watcher_end::of(std::source_location at) const noexcept { return of_.checked(moved, at); }
watch_view& watcher_end::checked(std::source_location at) const noexcept {
    watch_view* const view = of(at);
    check(view != nullptr, nil, at);
    return *view;
}
void watcher_end::drop() noexcept {
    if (watch_view* const view = of_.release(); view != nullptr) view->of.drop_view(*view);
}
void watcher_end::reset() noexcept {
    drop();
    of_.renew();
}
bool watcher_end::has_changed(std::source_location at) const noexcept { return seen(at) != version(at); }
std::uint64_t watcher_end::version(std::source_location at) const noexcept {
    return checked(at).of.version();
}
std::uint64_t watcher_end::seen(std::source_location at) const noexcept {
    watch_view& view = checked(at);
    return view.of.seen_by(view);
}
std::error_code watcher_end::why(std::source_location at) const noexcept { return checked(at).of.why(); }
void watcher_end::label(literal text, std::source_location at) const noexcept {
    checked(at).of.made.set_label(text);
}
watched watcher_end::current(bool marks, std::source_location at) const noexcept {
    watch_view& view = checked(at);
    return view.of.current(marks ? &view : nullptr);
}
watch_view* watcher_end::join_beside(std::source_location at) const {
    const watch_view& view = checked(at);
    return view.of.add_view(view);
}
}
