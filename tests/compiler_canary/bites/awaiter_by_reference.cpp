// bites: an awaiter that is not named but referred to is copied: its state changes land in the copy
#include "../canary.hpp"

using namespace canary;
using support::counted;

namespace {
struct awaiter {
    int resumed = 0;
    bool await_ready() noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) noexcept {}
    void await_resume() noexcept { ++resumed; }
};
awaiter& refer(awaiter& a) { return a; }
task<> bite() {
    awaiter a;
    co_await refer(a);
    expect(a.resumed == 1);
}
}

int main() { return run_cases({{"bite", bite}}); }
