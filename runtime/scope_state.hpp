// scope_state: what a scope and its children refer to; scope.cpp has the rules.
#pragma once

#include <runnel/detail/scope_base.hpp>
#include <runnel/result_set.hpp>

#include "context_node.hpp"

namespace runnel::detail {

struct scope_state : wait_object {
    static constexpr std::size_t kept_max = 16;
    static constexpr std::size_t no_limit = SIZE_MAX;

    /// In `children`: there is, or was, a limit, so that a child that leaves has to look who waits for its place.
    static constexpr std::size_t limited = std::size_t{1} << 63;

    scope_state(bool fate, context_node* parent, std::source_location place)
        : one_fate(fate), ctx(make_child(parent, place)), at(place) {}
    scope_state(const scope_state&) = delete;
    scope_state& operator=(const scope_state&) = delete;
    ~scope_state() { ctx->unref(); }

    static std::size_t count_in(std::size_t word) noexcept { return word & ~limited; }
    bool childless() const noexcept {
        // acquire: pairs with leave_scope()
        return count_in(children.load(std::memory_order_acquire)) == 0;
    }
    /// L. Is there a place for one more?
    bool has_place() const noexcept {
        // relaxed: only spawn() counts without the lock, and that may exceed the limit.
        return count_in(children.load(std::memory_order_relaxed)) < limit;
    }
    /// L. Counts one more. relaxed: under the lock, which join() takes too.
    void fill_place() noexcept { children.fetch_add(1, std::memory_order_relaxed); }

    std::atomic<std::size_t> children{0};
    std::atomic<bool> joined{false};  // since the last child was started
    const bool one_fate;
    bool left = false;  // S4: the object is gone. This and all below: under the lock
    std::size_t failures = 0;
    failure first;  // what join() gives
    other_failures others;
    wait_node* joiner = nullptr;
    std::size_t limit = no_limit;
    wait_list for_place;
    kept_results results;        // of a result_set
    wait_list for_result;        // empty while there are any
    task_block* heir = nullptr;  // who waits when it is left; null: nobody can
    context_node* const ctx;     // referenced
    void (*handler)(std::exception_ptr, void*) = nullptr;
    void* handler_user = nullptr;
    const std::source_location at;
};
}
