// must fail on g++: name it on the line before
// g++ 12 destroys a braced aggregate in an awaited expression twice.
#include <runnel/channel.hpp>
#include <runnel/task.hpp>

#include <string>

struct message {
    int id;
    std::string text;
};

runnel::task<> use(runnel::sender<message> out) {
#ifdef CONTROL
    message hello{1, "hello"};
    (void)co_await out.send(runnel::from(hello));
    (void)co_await out.emplace(2, "again");
#else
    (void)co_await out.send({1, "hello"});  // g++12-ok: what this test is about
#endif
}
