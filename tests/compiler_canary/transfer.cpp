// transfer: ten million hand-overs leave the stack flat in every build, thanks to the counted hop.
//
// Without it (`return h` in transfer() also on g++) these overflow an 8 MiB stack at -O0, at -O1 and under
// ASan and TSan, after some ten thousand transfers.
#include "../support/build_kind.hpp"
#include "../support/level.hpp"
#include "canary.hpp"

using namespace canary;

namespace {

int count() {
    const int small = support::sanitized || !support::optimized ? 200'000 : 2'000'000;
    return support::scaled(small, 10'000'000);
}

task<int> child(int n) { co_return n; }

task<> loop_of_ready_children() {
    long sum = 0;
    const int n = count();
    for (int i = 0; i < n; ++i) sum += co_await child(1);
    expect(sum == n);
}

task<> throws() {
    throw 1;
    co_return;
}
task<> loop_of_throwing_children() {
    int caught = 0;
    const int n = count() / 100;
    for (int i = 0; i < n; ++i) {
        try {
            co_await throws();
        } catch (int one) {
            caught += one;
        }
    }
    expect(caught == n);
}

/// Two coroutines that hand the thread to each other until one of them has had enough.
struct pair {
    std::coroutine_handle<> other;
    int left;
};
class hand_over {
public:
    explicit hand_over(pair* p) noexcept : pair_(p) {}
    bool await_ready() noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> h) noexcept {
        return transfer(std::exchange(pair_->other, h));
    }
    void await_resume() noexcept {}

private:
    pair* pair_;
};
task<> player(pair* p) {
    while (--p->left > 0) co_await hand_over(p);
}
task<> mutual_transfer() {
    pair p = {.other = nullptr, .left = count()};
    auto a = player(&p);
    auto b = player(&p);
    p.other = b.frame();
    co_await std::move(a);
    expect(p.left <= 0);
}

task<int> deep(int n) {
    if (n == 0) co_return 0;
    const int below = co_await deep(n - 1);
    co_return below + 1;
}
task<> deep_recursion() {
    const int n = count() / 10;
    const int depth = co_await deep(n);
    expect(depth == n);
}
}

int main() {
    return run_cases({{"loop_of_ready_children", loop_of_ready_children},
                      {"loop_of_throwing_children", loop_of_throwing_children},
                      {"mutual_transfer", mutual_transfer},
                      {"deep_recursion", deep_recursion}});
}
