// must fail: send\(rn::from\(x\)\) moves it
// What cannot be copied is sent by move, and then stays the caller's until it is sent.
#include <runnel/channel.hpp>
#include <runnel/task.hpp>

#include <memory>

runnel::task<> use(runnel::sender<std::unique_ptr<int>> out, std::unique_ptr<int> value) {
#ifdef CONTROL
    (void)co_await out.send(runnel::from(value));
#else
    (void)co_await out.send(value);
#endif
}
