// Calls of membarrier(2); see kick.hpp.
#include "kick.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace runnel::detail {

namespace {
void membarrier(int command, unsigned flags, int processor) noexcept {
    syscall(SYS_membarrier, command, flags, processor);
}
}

void allow_kicks() noexcept {
    membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
    membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0);
}

void kick_processor(int processor) noexcept {
    membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, MEMBARRIER_CMD_FLAG_CPU, processor);
}

void kick_process() noexcept { membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0); }
}
