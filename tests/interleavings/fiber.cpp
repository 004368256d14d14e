#include "fiber.hpp"

#include <cstdint>
#include <utility>

#include "support/build_kind.hpp"

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

// Weak: null in a build without the sanitizer in question.
extern "C" {
[[gnu::weak]] void __sanitizer_start_switch_fiber(void**, const void*, std::size_t);
[[gnu::weak]] void __sanitizer_finish_switch_fiber(void*, const void**, std::size_t*);
[[gnu::weak]] void __asan_unpoison_memory_region(const volatile void*, std::size_t);
[[gnu::weak]] void* __tsan_get_current_fiber();
[[gnu::weak]] void* __tsan_create_fiber(unsigned);
[[gnu::weak]] void __tsan_destroy_fiber(void*);
[[gnu::weak]] void __tsan_switch_to_fiber(void*, unsigned);

// A fiber that is begun anew leaves frames behind, whose shadows on a stack of AddressSanitizer's would leak.
const char* __asan_default_options() { return "detect_stack_use_after_return=0"; }
}

#if defined(__x86_64__)
// Saves what a callee must keep, changes the stack, and takes back what the other saved.
extern "C" void interleavings_switch(void** save, void* to);
asm(R"(
    .text
    .type interleavings_switch,@function
    .hidden interleavings_switch
interleavings_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size interleavings_switch, .-interleavings_switch
)");
#endif

namespace interleavings {

namespace {
fiber* left = nullptr;  // by the switch just made
fiber* reached = nullptr;
}

fiber::~fiber() {
#if !defined(__x86_64__)
    delete static_cast<ucontext_t*>(context_);
#endif
    if (stack_ == nullptr) return;
    if (__asan_unpoison_memory_region) __asan_unpoison_memory_region(stack_.get(), stack_bytes);
    if (thread_ != nullptr) __tsan_destroy_fiber(thread_);
}

void fiber::begin(void (*body)()) {
    body_ = body;
    if (stack_ == nullptr) {
        stack_ = std::make_unique<std::byte[]>(stack_bytes);
        bottom_ = stack_.get();
        bytes_ = stack_bytes;
#if !defined(__x86_64__)
        context_ = new ucontext_t;
#endif
    }
    if (__asan_unpoison_memory_region) __asan_unpoison_memory_region(stack_.get(), stack_bytes);
    if (__tsan_create_fiber) {
        if (thread_ != nullptr) __tsan_destroy_fiber(thread_);
        thread_ = __tsan_create_fiber(0);
    }
#if defined(__x86_64__)
    const auto top = reinterpret_cast<std::uintptr_t>(stack_.get() + stack_bytes) & ~std::uintptr_t{15};
    void** const frame = reinterpret_cast<void**>(top) - 8;
    for (int i = 0; i < 8; ++i) frame[i] = nullptr;
    frame[6] = reinterpret_cast<void*>(&fiber::enter);  // what `ret` takes, with the stack as after a call
    context_ = frame;
#else
    ucontext_t& context = *static_cast<ucontext_t*>(context_);
    getcontext(&context);
    context.uc_stack.ss_sp = stack_.get();
    context.uc_stack.ss_size = stack_bytes;
    makecontext(&context, &fiber::enter, 0);
#endif
}

void fiber::go_on(fiber& from) {
    left = &from;
    reached = this;
    void* fake_stack = nullptr;
    if (__sanitizer_start_switch_fiber) __sanitizer_start_switch_fiber(&fake_stack, bottom_, bytes_);
    if (__tsan_switch_to_fiber) {
        if (from.thread_ == nullptr) from.thread_ = __tsan_get_current_fiber();
        __tsan_switch_to_fiber(thread_, 0);
    }
#if defined(__x86_64__)
    interleavings_switch(&from.context_, context_);
#else
    if (from.context_ == nullptr) from.context_ = new ucontext_t;
    swapcontext(static_cast<ucontext_t*>(from.context_), static_cast<ucontext_t*>(context_));
#endif
    from.arrived();
}

/// First on a stack that was switched to: which one was left, when that is the thread's own.
void fiber::arrived() {
    if (!__sanitizer_finish_switch_fiber) return;
    const void* bottom = nullptr;
    std::size_t bytes = 0;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
    if (left->stack_ == nullptr) {
        left->bottom_ = bottom;
        left->bytes_ = bytes;
    }
}

void fiber::enter() {
    reached->arrived();
    reached->body_();
}
}
