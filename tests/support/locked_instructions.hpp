// locked_instructions: how many atomic read-modify-writes a piece of code does, exactly.
//
//     locked_instructions count;
//     …                                            // this thread, and no other
//     CHECK(count.stop() == 3);
//
// The processor is told to trap after each instruction, and the handler looks if the next one is locked: has the lock
// prefix, or is an exchange with memory. So it counts what the compiler made of the code, in the library too; plain
// stores and loads, however ordered, are not counted (a seq_cst store is an exchange, and is). Each instruction takes
// 1 to 50 us then, the latter where a hypervisor has to look at traps. Only where countable(); one at a time.
#pragma once

#include <csignal>

#include <sys/ucontext.h>

#include "support/build_kind.hpp"

namespace support {

class locked_instructions {
public:
#if defined(__x86_64__)
    /// Not without optimisation either: then each std::atomic is as strict as can be, whatever the code says.
    static bool countable() noexcept { return optimized && !sanitized; }

    locked_instructions() noexcept {
        counted() = 0;
        state() = begins;
        struct sigaction handler{};
        handler.sa_sigaction = on_trap;
        handler.sa_flags = SA_SIGINFO;
        sigaction(SIGTRAP, &handler, &before_);
        raise(SIGTRAP);
    }
    locked_instructions(const locked_instructions&) = delete;
    locked_instructions& operator=(const locked_instructions&) = delete;
    ~locked_instructions() { stop(); }

    long stop() noexcept {
        if (state() != ended) {
            state() = ends;
            while (state() != ended) continue;  // at the next trap
            sigaction(SIGTRAP, &before_, nullptr);
        }
        return counted();
    }

private:
    enum phase : int { begins, counts, ends, ended };
    static volatile int& state() noexcept {
        static volatile int now = ended;
        return now;
    }
    static volatile long& counted() noexcept {
        static volatile long count = 0;
        return count;
    }

    static bool is_locked(const unsigned char* at) noexcept {
        for (;; ++at) switch (*at) {
                case 0xf0:
                    return true;
                case 0x66:
                case 0x67:
                case 0xf2:
                case 0xf3:
                case 0x2e:
                case 0x36:
                case 0x3e:
                case 0x26:
                case 0x64:
                case 0x65:
                    continue;
                default:
                    if ((*at & 0xf0) == 0x40) ++at;  // REX
                    return (*at == 0x86 || *at == 0x87) && (at[1] & 0xc0) != 0xc0;
            }
    }

    static void on_trap(int, siginfo_t*, void* context) noexcept {
        constexpr greg_t trap_flag = 0x100;
        greg_t* const registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
        if (state() == begins) {
            registers[REG_EFL] |= trap_flag;
            state() = counts;
        } else if (state() == ends) {
            registers[REG_EFL] &= ~trap_flag;
            state() = ended;
        } else if (is_locked(reinterpret_cast<const unsigned char*>(registers[REG_RIP]))) {
            counted() = counted() + 1;
        }
    }

    struct sigaction before_{};
#else
    static bool countable() noexcept { return false; }
    long stop() noexcept { return 0; }
#endif
};
}
