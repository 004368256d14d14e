// must fail: it cannot be const
// from(x) says that x may be moved from.
#include <runnel/from.hpp>

#include <string>

std::string& use(std::string& text) {
#ifdef CONTROL
    return runnel::from(text).get();
#else
    const std::string& fixed = text;
    return const_cast<std::string&>(runnel::from(fixed).get());
#endif
}
