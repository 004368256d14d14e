// must fail: put the limit around the scoped\(\)
// in_order() returns when all children have ended, as join() does: a limit of it would be a lie.
#include <runnel/result_set.hpp>

runnel::task<> waits(runnel::result_set<int>& children) {
#ifdef CONTROL
    auto next = co_await runnel::with_timeout(std::chrono::seconds(1), children.next());
    auto all = co_await children.in_order();
    (void)next;
#else
    auto all = co_await runnel::with_timeout(std::chrono::seconds(1), children.in_order());
#endif
    (void)all;
}
