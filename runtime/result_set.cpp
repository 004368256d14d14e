// See runnel/result_set.hpp; the results are a part of the state of the scope that it is, under its lock.
#include <runnel/result_set.hpp>

#include <algorithm>
#include <vector>

#include "scope_state.hpp"

namespace runnel::detail {

bool deliver(scope_state& to, kept_result& one) noexcept {
    late_wake woken;
    to.lock.lock();
    const bool wanted = !to.left;
    if (wanted) {
        if (const wait_node* const waits = claim_first(to.for_result, woken); waits != nullptr)
            *static_cast<kept_result**>(waits->slot) = &one;
        else
            to.results.push(one);
    }
    to.lock.unlock();
    finish(woken);
    return wanted;
}

kept_results take_in_order(scope_state& of) {
    of.lock.lock();
    const std::size_t count = of.results.size();
    of.lock.unlock();
    std::vector<kept_result*> all(count);  // before anything is taken: it may throw
    of.lock.lock();
    for (kept_result*& one : all) one = of.results.pop();
    of.lock.unlock();
    all.erase(std::find(all.begin(), all.end(), nullptr), all.end());  // another task's next() was there
    std::sort(all.begin(), all.end(),
              [](const kept_result* a, const kept_result* b) { return a->place() < b->place(); });
    kept_results ordered;
    for (kept_result* const one : all) ordered.push(*one);
    return ordered;
}

wait_object* next_case::object() noexcept { return of_; }

bool next_case::try_now(late_wake&) noexcept {
    got_ = of_->results.pop();
    return got_ != nullptr || of_->childless();
}

void next_case::enlist(task_block& task, std::uint64_t ticket) noexcept {
    node_.slot = &got_;
    of_->for_result.enlist(node_, task, ticket);
}

bool next_case::delist() noexcept { return of_->for_result.delist(node_); }
}
