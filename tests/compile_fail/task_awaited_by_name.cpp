// must fail: a task is awaited once
// A task that is awaited is consumed: by its name it could be awaited again.
#include <runnel/task.hpp>

runnel::task<int> compute() { co_return 1; }

runnel::task<int> use() {
    runnel::task<int> computing = compute();
#ifdef CONTROL
    co_return co_await std::move(computing);
#else
    co_return co_await computing;
#endif
}
