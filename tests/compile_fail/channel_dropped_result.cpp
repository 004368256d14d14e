// must fail on clang: -Wunused-result
// Whether it was sent is not to be overlooked. (g++ 12 cannot warn of it; a failed send counts as a lost value there.)
#include <runnel/channel.hpp>
#include <runnel/task.hpp>

runnel::task<> use(runnel::sender<int> out) {
#ifdef CONTROL
    (void)co_await out.send(1);
#else
    co_await out.send(1);
#endif
}
