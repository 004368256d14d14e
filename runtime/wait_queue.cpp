// See detail/wait_queue.hpp.
#include <runnel/detail/wait_queue.hpp>

namespace runnel::detail {

wait_object* queue_case::object() noexcept { return at_; }

void queue_case::enlist(task_block& task, std::uint64_t ticket) noexcept {
    at_->waiting.enlist(node_, task, ticket);
}

bool queue_case::delist() noexcept { return at_->waiting.delist(node_); }

bool queue_case::leave_front() noexcept {
    const bool was_first = at_->waiting.front() == &node_;
    at_->waiting.delist(node_);
    return was_first && !at_->waiting.empty();
}
}
