// must fail on g++: name the handle on the line before
// The same when the handle's join() is awaited, alone or in a time limit.
#include <runnel/go.hpp>
#include <runnel/time.hpp>

#include <string>

runnel::task<> use(std::string text) {
#ifdef CONTROL
    auto end = runnel::go([text]() -> runnel::task<> { co_return; });
    (void)co_await runnel::with_timeout(std::chrono::seconds(1), end.join());
#else
    auto in_time = runnel::with_timeout(std::chrono::seconds(1),
                                        runnel::go([text]() -> runnel::task<> { co_return; }).join());
    (void)co_await std::move(in_time);
#endif
}
