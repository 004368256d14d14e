// must fail: an argument is a view
// The call outlives a cancelled task, so it owns its arguments, or the caller says that they live longer.
#include <runnel/blocking.hpp>

#include <string>
#include <string_view>

std::size_t length(std::string_view text);

runnel::task<> use(std::string text) {
#ifdef CONTROL
    (void)co_await runnel::blocking(length, text);
    (void)co_await runnel::blocking(length, runnel::borrow(std::string_view(text)));
#else
    (void)co_await runnel::blocking(length, std::string_view(text));
#endif
}
