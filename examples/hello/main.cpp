// hello: what runnel is, in one page. Three workers square numbers, a ticker shows that time passes, and
// after 100 ms the whole thing is cancelled: every wait ends, every task is joined, nothing leaks.
//
//   examples/run hello
#include <runnel/channel.hpp>
#include <runnel/runtime.hpp>
#include <runnel/scope.hpp>
#include <runnel/select.hpp>
#include <runnel/timer.hpp>

#include <cstdio>

namespace rn = runnel;
using namespace std::chrono_literals;

rn::task<> count(rn::sender<long> out) {
    for (long i = 1; co_await out.send(i); ++i) {  // false: closed or cancelled, nobody wants more
    }
}  // the last sender is gone: the channel closes

rn::task<> square(rn::receiver<long> in, rn::sender<long> out) {
    while (auto n = co_await in.recv())  // ends when closed and drained, or cancelled
        if (!co_await out.send(*n * *n)) co_return;
}

rn::task<long> add_up(rn::receiver<long> squares) {
    rn::ticker progress(20ms);
    long sum = 0;
    while (auto won = co_await rn::select(squares.recv(), progress.tick())) {
        if (won.index() == 1) {
            if (!won.get<1>()) break;  // the program stops, and time with it
            std::puts("… still adding");
        } else if (auto n = won.take<0>()) {
            sum += *n;
        } else {
            break;
        }
    }
    co_return sum;
}

rn::task<> pipeline(rn::scope& s, long& sum) {
    auto [numbers, to_square] = rn::make_channel<long>(0);
    auto [squared, to_add] = rn::make_channel<long>(16);
    s.spawn(count, std::move(numbers));
    for (int i = 0; i < 3; ++i) s.spawn(square, to_square.share(), squared.share());
    squared.reset();
    sum = co_await add_up(std::move(to_add));
}

rn::task<> hello() {
    long sum = 0;
    auto ended = co_await rn::with_timeout(100ms, rn::scoped(pipeline, rn::borrow(sum)));
    std::printf("%s after adding up to %ld\n", ended.error().message().c_str(), sum);
}

int main() { return rn::run(hello); }
