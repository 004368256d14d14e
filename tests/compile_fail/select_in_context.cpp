// must fail: with_context\(\), shielded\(\), and with_timeout\(\) of a task, make no case
// A case is tried under the context of the task that selects.
#include <runnel/channel.hpp>
#include <runnel/context.hpp>
#include <runnel/select.hpp>

runnel::task<> use(runnel::receiver<int> in, runnel::context ctx) {
#ifdef CONTROL
    (void)co_await runnel::with_context(
        ctx, runnel::select(in.recv(), runnel::sleep_for(std::chrono::seconds(1))));
#else
    (void)co_await runnel::select(runnel::with_context(ctx, in.recv()),
                                  runnel::sleep_for(std::chrono::seconds(1)));
#endif
}
