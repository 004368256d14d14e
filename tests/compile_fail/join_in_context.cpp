// must fail: join\(\) listens to no context
// The same for a context: the scope is cancelled by its cancel(), or by that of the task that joins.
#include <runnel/scope.hpp>

runnel::task<> waits(runnel::scope& children, runnel::context ctx) {
#ifdef CONTROL
    (void)ctx;
    (void)co_await children.join();
#else
    (void)co_await runnel::with_context(ctx, children.join());
#endif
}
