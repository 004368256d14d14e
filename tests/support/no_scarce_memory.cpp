// scarce_memory in sanitized builds, whose operators new and delete find more than ours would.
#include "support/scarce_memory.hpp"

#include <doctest/doctest.h>

namespace support {

scarce_memory::scarce_memory(long) noexcept {}
scarce_memory::~scarce_memory() = default;
long allocated() noexcept { return 0; }

bool memory_can_be_scarce() {
    MESSAGE("not run: operator new is the sanitizer's own");
    return false;
}
}
