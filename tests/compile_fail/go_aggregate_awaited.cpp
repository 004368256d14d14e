// must fail on g++: name the handle on the line before
// g++ 12 destroys a braced aggregate in an awaited expression twice.
#include <runnel/runtime.hpp>

#include <string>

struct message {
    int id;
    std::string text;
};
runnel::task<> handle(message) { co_return; }

runnel::task<> use(runnel::runtime& other) {
#ifdef CONTROL
    auto end = other.spawn(handle, message{1, "hello"});
    (void)co_await end;
#else
    (void)co_await other.spawn(handle, message{1, "hello"});  // g++12-ok: what this test is about
#endif
}
