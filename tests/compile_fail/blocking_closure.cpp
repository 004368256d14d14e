// must fail on g++: name it on the line before, and pass rn::from\(f\)
// g++ 12 destroys what a temporary closure captured twice when it stands in an awaited expression.
#include <runnel/blocking.hpp>

#include <string>

runnel::task<> use(std::string text) {
#ifdef CONTROL
    auto length = [text] { return text.size(); };
    (void)co_await runnel::blocking(runnel::from(length));
#else
    auto call = runnel::blocking([text] { return text.size(); });
    (void)co_await std::move(call);
#endif
}
