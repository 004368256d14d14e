// must fail: waited for by its name
// A handle is no operation, and select_any() has no place to keep those that handles stand for.
#include <runnel/go.hpp>
#include <runnel/select_any.hpp>

#include <vector>

runnel::task<> use(std::vector<runnel::join_handle<int>>& tasks) {
#ifdef CONTROL
    std::vector<runnel::join_operation<int>> ends;
    for (auto& each : tasks) ends.push_back(each.join());
    (void)co_await runnel::select_any(ends);
#else
    (void)co_await runnel::select_any(tasks);
#endif
}
