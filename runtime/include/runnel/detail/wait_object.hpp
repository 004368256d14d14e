// wait_object: what tasks may wait at: the base of channels, locks, events, timers, contexts.
//
// Its lock guards the queue of wait nodes and whatever decides if a case is ready. A wait at several
// objects locks them all, in the order of their addresses; nothing else ever holds two.
#pragma once

#include "spin_lock.hpp"

namespace runnel::detail {

struct wait_object {
    spin_lock lock;
};
}
