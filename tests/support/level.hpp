// level: how much work a test does. tests/full sets RUNNEL_TEST_LEVEL=full; all else is the short form.
#pragma once

#include <cstdlib>
#include <string_view>

namespace support {

inline bool full() {
    const char* level = std::getenv("RUNNEL_TEST_LEVEL");
    return level && std::string_view(level) == "full";
}

/// The count to use: scaled(1'000, 1'000'000) seeds, rounds, connections, ...
template <class Count>
Count scaled(Count short_form, Count full_form) {
    return full() ? full_form : short_form;
}
}
