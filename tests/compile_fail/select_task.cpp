// must fail: a task is no case
// A task is started by go(), and its join_handle can be waited for.
#include <runnel/channel.hpp>
#include <runnel/go.hpp>
#include <runnel/select.hpp>

runnel::task<int> compute() { co_return 1; }

runnel::task<> use(runnel::receiver<int> in) {
#ifdef CONTROL
    auto started = runnel::go(compute);
    (void)co_await runnel::select(in.recv(), started.join());
#else
    (void)co_await runnel::select(in.recv(), compute());
#endif
}
