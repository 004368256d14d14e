// scope_base: what all kinds of scopes share: children that are counted, joined, cancelled, and limited in number.
//
// The light half of runtime/scope.cpp, which says how; runnel/scope.hpp says what is promised.
#pragma once

#include <source_location>
#include <vector>

#include "../context.hpp"
#include "../failure.hpp"
#include "spawning.hpp"

namespace runnel {

/// The failures after the first.
struct other_failures {
    std::vector<failure> kept;  // in the order of their coming
    std::size_t not_kept = 0;   // those for which there was no room
};

namespace detail {
struct scope_state;

/// A counted state that children and the object refer to.
class scope_base {
public:
    scope_base(const scope_base&) = delete;
    scope_base& operator=(const scope_base&) = delete;

    /// Cancels the children (and whoever is spawned later). Threads: any.
    void cancel() noexcept;
    void cancel(std::error_code cause) noexcept;
    /// The children's context.
    context ctx() const noexcept;
    /// Children that have not ended. Threads: any; a hint.
    std::size_t size() const noexcept;
    /// Where it was made, as reports say it; of scoped() the caller's place.
    std::source_location place() const noexcept;

    /// At most so many children at once, for when_free() and if_free(): spawn() starts its child whatever the limit,
    /// and it counts. May be changed at any time: those that are there stay, and more places are given to who waits.
    /// 0: no places. Without: as many as you like. Threads: any.
    void set_limit(std::size_t most) noexcept;

    /// Failures so far. What is none: S6.
    std::size_t failures() const noexcept;
    /// Those but the one that join() gives, the first 16 of them, once: what is taken is gone. When a child has failed
    /// with an error before another one threw, that error is the first of these, as join() throws.
    other_failures take_other_failures();

protected:
    scope_base(bool one_fate, std::source_location at);
    ~scope_base();

private:
    friend scope_state& state_of(scope_base& of) noexcept;
    scope_state* const state_;
};
inline scope_state& state_of(scope_base& of) noexcept { return *of.state_; }

/// What becomes a child of a scope: the task itself. Another kind of scope may put it into one of its own.
template <class T>
task<T> child_of(scope_base&, task<T> body) noexcept {
    return body;
}

// --- Starting ----------------------------------------------------------------------------------------

/// One child more, whatever the limit; and one that was counted already. Both throw std::bad_alloc; then it has not
/// been started, is counted no more, and its frame is still the caller's.
void start_child(scope_state& in, const start_request& what);
void start_counted(scope_state& in, const start_request& what);
/// Counts one if it finds a place; else says why not.
std::error_code take_place(scope_state& in) noexcept;
/// The scope's own context, and why it ended, if it did.
context_node* children_context(scope_state& of) noexcept;
std::error_code why_cancelled(scope_state& of) noexcept;

template <class T>
void start_by(void (*how)(scope_state&, const start_request&), scope_state& in, task<T>& body,
              std::source_location at) {
    const auto frame = task_access::frame_of(body, at);
    how(in, request_for<T>(frame, task_kind::child, &in, at, false));
    (void)task_access::release(std::move(body));
}

// --- Starting where there is a limit -----------------------------------------------------------------

/// Has the child been started, or why not? Ignored, it would be lost.
class [[nodiscard]] spawned : public result<> {
public:
    using result<>::result;
};

/// Waits for a place, which is counted as a child from then on.
class place_case final : public wait_case {
public:
    explicit place_case(scope_state& in) noexcept : in_(&in) {}
    place_case(place_case&&) noexcept = default;

    wait_object* object() noexcept override;
    bool try_now(late_wake&) noexcept override;
    void enlist(task_block& task, std::uint64_t ticket) noexcept override;
    bool delist() noexcept override;
    wait_subject subject() const noexcept override { return {"for a place in a scope"}; }

private:
    scope_state* in_;
    wait_node node_;
};

/// What when_free().spawn() gives: waits for a place, or for the end of the scope's context.
template <class T>
class [[nodiscard]] spawn_operation {
public:
    using result_type = spawned;
    static constexpr std::size_t case_count = 2;
    static constexpr choice order = choice::in_order;  // a scope that is cancelled has no place for anybody

    spawn_operation(scope_state& in, task<T> body, std::source_location at) noexcept
        : in_(&in), body_(std::move(body)), at_(at), cancelled_(children_context(in)), place_(in) {}
    spawn_operation(spawn_operation&&) noexcept = default;

    void gather(wait_case** out) noexcept {
        out[0] = &cancelled_;
        out[1] = &place_;
    }
    spawned complete(unsigned index) {
        if (index == 0) return why_cancelled(*in_);
        start_by(start_counted, *in_, body_, at_);
        return {};
    }
    spawned fail(std::error_code error) noexcept { return error; }
    await_many<spawn_operation> awaiter() noexcept { return await_many<spawn_operation>(*this); }

private:
    scope_state* in_;
    task<T> body_;
    std::source_location at_;
    done_operation cancelled_;
    place_case place_;
};

/// What when_free() and if_free() give, to call spawn() of.
template <class Scope>
class spawner_when_free : public spawner<spawner_when_free<Scope>> {
public:
    explicit spawner_when_free(Scope& of) noexcept : of_(of) {}

private:
    friend class spawner<spawner_when_free>;
    template <class T>
    auto start(task<T> body, std::source_location at) {
        auto child = child_of(of_, std::move(body));
        return spawn_operation<typename decltype(child)::value_type>(state_of(of_), std::move(child), at);
    }
    Scope& of_;
};
template <class Scope>
class spawner_if_free : public spawner<spawner_if_free<Scope>> {
public:
    explicit spawner_if_free(Scope& of) noexcept : of_(of) {}

private:
    friend class spawner<spawner_if_free>;
    template <class T>
    spawned start(task<T> body, std::source_location at) {
        auto child = child_of(of_, std::move(body));
        if (const std::error_code refused = take_place(state_of(of_))) return refused;
        start_by(start_counted, state_of(of_), child, at);
        return {};
    }
    Scope& of_;
};

/// spawn() of a scope, and its two limited forms. Scope::child_of() makes a child's body of what it is given.
template <class Scope>
class scope_spawner : public spawner<Scope> {
public:
    // spawn(f, args…): starts a child; see detail::spawner. Nothing is returned: the scope has its end. Threads: the
    // task's that made the scope, and its children's, also while join() waits; another task's as long as a child lives
    // that will not end before. Cost: as go().

    /// `co_await s.when_free().spawn(f, args…)`: starts the child as soon as there are fewer than the limit. A select
    /// case.
    /// Returns       done; errc::cancelled and its like, when the scope is cancelled or the wait ended: then `f` and
    ///               `args`, which were moved in by the call (out of rn::from(x), too), have been destroyed unrun.
    /// Cancellation  a cancel point on every call.
    /// Order         first come, first served: the place of a child that has ended goes to who waits longest.
    /// Threads       as spawn(). Children of one scope that all wait for places in it wait for each other.
    auto when_free() noexcept { return spawner_when_free<Scope>(static_cast<Scope&>(*this)); }
    /// `s.if_free().spawn(f, args…)`: starts the child if there are fewer than the limit.
    /// Returns       done; errc::not_available, or why the scope was cancelled: then `f` and `args` are destroyed.
    auto if_free() noexcept { return spawner_if_free<Scope>(static_cast<Scope&>(*this)); }

private:
    friend class spawner<Scope>;
    template <class T>
    void start(task<T> body, std::source_location at) {
        Scope& self = static_cast<Scope&>(*this);
        auto child = child_of(self, std::move(body));
        start_by(start_child, state_of(self), child, at);
    }
};

/// The wait of join(): shielded, because S1.
class [[nodiscard]] join_children final : public wait_case {
public:
    using result_type = result<>;
    static constexpr bool always_shielded = true;  // with_timeout() and with_context() refuse it

    explicit join_children(scope_base& of) noexcept : state_(&state_of(of)) {}
    join_children(join_children&&) noexcept = default;

    class awaiter_type {
    public:
        explicit awaiter_type(join_children& of) noexcept : of_(of) {}
        awaiter_type(const awaiter_type&) = delete;
        awaiter_type& operator=(const awaiter_type&) = delete;
        bool await_ready() const noexcept { return false; }
        bool await_suspend(std::coroutine_handle<> awaiter) noexcept;
        result<> await_resume();

    private:
        join_children& of_;
        context_node* before_ = nullptr;
    };
    awaiter_type awaiter() noexcept { return awaiter_type(*this); }

    wait_object* object() noexcept override;
    bool try_now(late_wake&) noexcept override;
    void enlist(task_block& task, std::uint64_t ticket) noexcept override;
    bool delist() noexcept override;
    wait_subject subject() const noexcept override { return {"for the children of a scope"}; }

private:
    scope_state* state_;
    wait_node node_;
};
}
}
