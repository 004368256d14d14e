// must fail: deleted|no matching|cannot bind|no viable
// from() names an object that the caller still has when the send fails.
#include <runnel/channel.hpp>
#include <runnel/task.hpp>

#include <string>

runnel::task<> use(runnel::sender<std::string> out, std::string value) {
#ifdef CONTROL
    (void)co_await out.send(runnel::from(value));
#else
    (void)co_await out.send(runnel::from(std::string("gone")));
    (void)value;
#endif
}
