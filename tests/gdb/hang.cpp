// A program that hangs: two tasks wait for a lock that a third holds while it waits for ever; then it aborts.
#include <runnel/runtime.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>

#include <cstdlib>

namespace rn = runnel;

rn::task<> wants(rn::mutex& lock) { auto held = co_await lock.lock(); }
rn::task<> wants_too(rn::mutex& lock) { co_await wants(lock); }

rn::task<> holds(rn::mutex& lock, rn::event& never) {
    rn::name_task("holder");
    auto held = co_await lock.lock();
    co_await never.wait();
}

rn::task<> hang() {
    rn::mutex lock;
    rn::event never;
    rn::task_set all;
    all.spawn(holds, rn::borrow(lock), rn::borrow(never));
    co_await rn::yield();
    for (int i = 0; i < 2; ++i) all.spawn(wants_too, rn::borrow(lock));
    for (int i = 0; i < 4; ++i) co_await rn::yield();
    std::abort();
}

int main() { return rn::run(rn::options().workers(1).driver(rn::driver_kind::none), hang); }
