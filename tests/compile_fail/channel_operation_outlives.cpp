// must fail on clang: -Wdangling
// An operation that is kept refers to a temporary that is gone.
#include <runnel/channel.hpp>

#include <string>

bool use(const runnel::sender<std::string>& out) {
#ifdef CONTROL
    std::string text = "kept";
    auto operation = out.send(runnel::from(text));
#else
    auto operation = out.send(std::string("gone"));
#endif
    return operation.try_once();
}
