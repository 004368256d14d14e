#include "support/scarce_memory.hpp"

#include <climits>
#include <cstdlib>
#include <new>

namespace support {

namespace {
constinit thread_local long allowed = LONG_MAX;
constinit thread_local long balance = 0;

void* allocate(std::size_t bytes, std::size_t alignment) {
    if (allowed == 0) throw std::bad_alloc();
    if (allowed != LONG_MAX) --allowed;
    const std::size_t whole = (bytes + alignment - 1) / alignment * alignment;
    void* const got = std::aligned_alloc(alignment, whole != 0 ? whole : alignment);
    if (got == nullptr) throw std::bad_alloc();
    ++balance;
    return got;
}

void deallocate(void* memory) noexcept {
    if (memory == nullptr) return;
    --balance;
    std::free(memory);
}
}

scarce_memory::scarce_memory(long allocations) noexcept { allowed = allocations; }
scarce_memory::~scarce_memory() { allowed = LONG_MAX; }
long allocated() noexcept { return balance; }
bool memory_can_be_scarce() { return true; }
}

// The forms for arrays and without exceptions call these.
void* operator new(std::size_t bytes) { return support::allocate(bytes, __STDCPP_DEFAULT_NEW_ALIGNMENT__); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
    return support::allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { support::deallocate(memory); }
void operator delete(void* memory, std::size_t) noexcept { support::deallocate(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { support::deallocate(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { support::deallocate(memory); }
