// consumer: a program outside the tree that uses the installed library.
#include <runnel/channel.hpp>
#include <runnel/runtime.hpp>
#include <runnel/task.hpp>

#include <cstdio>
#include <utility>

namespace rn = runnel;

rn::task<> producer(rn::sender<int> out) {
    for (int i = 0; i < 10; ++i)
        if (!co_await out.send(i)) co_return;
}

rn::task<> consume() {
    auto [out, in] = rn::make_channel<int>(4);
    rn::go(producer, std::move(out));
    int sum = 0;
    while (auto n = co_await in.recv()) sum += *n;
    std::printf("sum %d\n", sum);
}

int main() { return rn::run(consume); }
