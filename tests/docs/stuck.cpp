// The code of docs/stuck.md, compiled and run.
#include <runnel/channel.hpp>
#include <runnel/dump.hpp>
#include <runnel/runtime.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>

#include <cstdio>
#include <string>

namespace rn = runnel;

struct store {
    rn::mutex lock;
    long total = 0;
};

rn::task<> load(store& of, rn::sender<int> out) {
    auto held = co_await of.lock.lock();
    for (int i = 0; i < 3; ++i) {
        auto sent = co_await out.send(i);  // with the lock held
        if (!sent) co_return;
    }
}

rn::task<> add(store& to, int value) {
    auto held = co_await to.lock.lock();
    to.total += value;
}

rn::task<> consume(store& into, rn::receiver<int> in) {
    while (auto value = co_await in.recv()) co_await add(into, *value);
}

rn::task<> pipeline() {
    store shared;
    auto [out, in] = rn::make_channel<int>(0);
    rn::task_set both;
    both.spawn(load, rn::borrow(shared), std::move(out));
    both.spawn(consume, rn::borrow(shared), std::move(in));
    co_await both.join();
}

int main() {
    auto run = rn::testing::simulate(rn::testing::options(), pipeline);
    std::puts(run.what().c_str());
    const auto says = [&](const char* line) { return run.what().find(line) != std::string::npos; };
    const bool as_told =
        says("1 task waiting to send (of stuck.cpp:38, 1 receiver), for") &&
        says("    stuck.cpp:22  in load\n  started at stuck.cpp:40\n") &&
        says("1 task waiting for a lock (of stuck.cpp:14, task ") &&
        says("    stuck.cpp:28  in add\n    stuck.cpp:33  in consume\n  started at stuck.cpp:41\n");
    return run.kind() == rn::testing::failure::deadlock && as_told ? 0 : 1;
}
