// fiber: a stack of its own on which a function runs until it gives the processor to another fiber.
//
// The threads of a program under the explorer are fibers of one thread: a switch costs some nanoseconds, and the
// order of all is the explorer's alone. A fiber that is begun anew forgets where it stood: nothing on its stack is
// destroyed. The sanitizers are told of each switch.
#pragma once

#include <cstddef>
#include <memory>

namespace interleavings {

class fiber {
public:
    /// The thread that calls, as a fiber to come back to.
    fiber() = default;
    fiber(const fiber&) = delete;
    fiber& operator=(const fiber&) = delete;
    ~fiber();

    /// The next switch to this one calls `body`, which never returns. Not from itself.
    void begin(void (*body)());

    /// Leaves `from`, which must be the one that runs, and goes on in this one.
    void go_on(fiber& from);

    static constexpr std::size_t stack_bytes = 256 * 1024;

private:
    static void enter();
    void arrived();

    void* context_ = nullptr;  // its stack pointer, or its ucontext
    std::unique_ptr<std::byte[]> stack_;
    void (*body_)() = nullptr;
    const void* bottom_ = nullptr;  // as AddressSanitizer wants to know it
    std::size_t bytes_ = 0;
    void* thread_ = nullptr;  // ThreadSanitizer's
};
}
