// stopping: the moment from which a runtime takes nothing new.
//
//   auto won = co_await rn::select(jobs.recv(), rn::stopping());
//
// It is the first phase of stopping (runtime_core.hpp): go() is refused from then on, and whoever waits here
// goes on and may bring its work to an end before the root context is cancelled.
#pragma once

#include "detail/operation.hpp"
#include "result.hpp"

namespace runnel {

/// `co_await stopping()`: ends when the runtime of the task begins to stop. A select case; in a try_select() on a plain
/// thread, which is of no runtime, it is never ready.
class [[nodiscard]] stopping_operation final : public detail::single_case<stopping_operation, result<>> {
public:
    stopping_operation() noexcept = default;
    stopping_operation(stopping_operation&&) noexcept = default;

    detail::wait_object* object() noexcept override;
    bool try_now(detail::late_wake&) noexcept override;
    void enlist(detail::task_block& task, std::uint64_t ticket) noexcept override;
    bool delist() noexcept override;
    detail::wait_subject subject() const noexcept override { return {"for the runtime to stop"}; }

private:
    detail::wait_node node_;
};
inline stopping_operation stopping() noexcept { return {}; }
}
