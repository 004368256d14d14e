// atomic: the one name for the atomics of the lock-free parts: queues, sleepers, locks, the futex of a driver.
//
// It is std::atomic. In one test program (tests/interleavings) it is a model's, by which every order of the
// accesses, and every old value that the memory model lets a load read, can be tried. That program compiles the
// parts anew for itself and links nothing of the library, so the two never meet.
#pragma once

#ifdef RUNNEL_MODEL_ATOMICS  // the header that defines the model's
#include RUNNEL_MODEL_ATOMICS
#else

#include <atomic>

namespace runnel::detail {
using std::atomic;
}
#endif
