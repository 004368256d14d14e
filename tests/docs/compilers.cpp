// The code of docs/compilers.md, compiled and run.
#include <runnel/blocking.hpp>
#include <runnel/from.hpp>
#include <runnel/runtime.hpp>
#include <string>

namespace rn = runnel;

rn::task<std::size_t> length_of(std::string text) {
    auto measure = [text] { return text.size(); };  // named: its capture is destroyed once
    auto length = co_await rn::blocking(rn::from(measure));
    co_return length.value();
}

static rn::task<int> check_length() { co_return co_await length_of("a string of some length") == 23 ? 0 : 1; }

int main() { return rn::run(rn::options().workers(1).driver(rn::driver_kind::none), check_length); }
