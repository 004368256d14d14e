// level: how much work a test does. tests/full sets RUNNEL_TEST_LEVEL to full, or to long where a sanitizer makes that
// take an hour; all else is the short form.
#pragma once

#include <cstdlib>
#include <string_view>

namespace support {

inline std::string_view level() {
    const char* level = std::getenv("RUNNEL_TEST_LEVEL");
    return level != nullptr ? level : "short";
}
inline bool full() { return level() == "full"; }

/// The count to use: scaled(1'000, 1'000'000) seeds, rounds, connections, ...
template <class Count>
Count scaled(Count short_form, Count full_form) {
    if (level() == "long") return short_form + (full_form - short_form) / 10;
    return full() ? full_form : short_form;
}
}
