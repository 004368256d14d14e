// scarce_memory: an allocation fails when the test says so, and what was allocated is counted.
//
//     const long before = allocated();
//     {
//         const scarce_memory none(0);              // while it lives, this thread gets so many by operator new
//         CHECK_THROWS_AS(make(), std::bad_alloc);
//     }
//     CHECK(allocated() == before);                 // nothing was left behind
//
// Not in sanitized builds, which have operators of their own: a test asks memory_can_be_scarce() first.
// It knows operator new and delete of every kind; malloc(), and so the frames of coroutines, it leaves alone.
#pragma once

namespace support {

class scarce_memory {
public:
    explicit scarce_memory(long allocations) noexcept;
    scarce_memory(const scarce_memory&) = delete;
    scarce_memory& operator=(const scarce_memory&) = delete;
    ~scarce_memory();
};

/// Allocations of this thread less its deallocations.
long allocated() noexcept;

/// False, said with the reason, where none of this works: then there is nothing to test.
bool memory_can_be_scarce();
}
