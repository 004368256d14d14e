// must fail on g++: name the handle on the line before
// g++ 12 destroys what a temporary closure captured twice when it stands in an awaited expression.
#include <runnel/go.hpp>

#include <string>

runnel::task<> use(std::string text) {
#ifdef CONTROL
    runnel::go([text]() -> runnel::task<> { co_return; });  // a statement that awaits nothing
    auto end = runnel::go([text]() -> runnel::task<> { co_return; });
    (void)co_await end;
    (void)co_await runnel::go([&text]() -> runnel::task<> { co_return text.clear(); });
#else
    (void)co_await runnel::go(
        [text]() -> runnel::task<> { co_return; });  // g++12-ok: what this test is about
#endif
}
