// kick: makes the kernel finish what it has put off for a thread that is busy in user space.
//
// With COOP_TASKRUN a completion waits until the thread that submitted the request enters the kernel, be
// it for an interrupt. An expedited membarrier interrupts: on the processor where the thread was seen
// last, or on all that run this process. The thread notices nothing; no signal is involved, and no handler.
//
// Where membarrier is refused, the next tick of the system's clock has the same effect some ms later.
#pragma once

namespace runnel::detail {

/// Must be called once per process before the others; calling it again does no harm.
void allow_kicks() noexcept;

void kick_processor(int processor) noexcept;
void kick_process() noexcept;
}
