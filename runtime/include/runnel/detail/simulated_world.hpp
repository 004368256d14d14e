// simulated_world: the seam between a simulation and what surrounds its tasks: a network without sockets.
//
// The folder io implements the world (io/simulation), as it implements the drivers; runtime has the
// clock and the chance, and says when something may happen. It asks next_event() beside its timers, lets time
// pass up to there when all tasks wait, and counts a world that has something to do as one more that can go
// on: the same decisions put its events before, between and after the turns of tasks.
//
//   W1  the world draws by choose() only, and 0 is always what an undisturbed one would do: so its chance
//       is in replays, and a shortened schedule is also one with less bad luck;
//   W2  whatever happens in it is told by happened(): it is in the hash;
//   W3  happen() and io() are called as a worker, one at a time; cancel() also from outside a turn, so it
//       completes nothing: what is taken back ends in an event.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "driver.hpp"

namespace runnel::testing {
class network;
}

namespace runnel::detail {

/// What a simulation gives to its world.
class simulator {
public:
    /// One of `bound` ways: 0 to bound-1.
    virtual std::uint32_t choose(std::uint32_t bound) noexcept = 0;
    virtual nanoseconds_t now() const noexcept = 0;
    virtual void happened(std::uint64_t what, std::uint64_t amount) noexcept = 0;
    /// Text costs much more than the event: it is made only when a log is kept.
    virtual bool keeps_log() const noexcept = 0;
    virtual void log_event(const std::string& line) noexcept = 0;

protected:
    ~simulator() = default;
};

class simulated_world {
public:
    virtual ~simulated_world() = default;
    virtual io_backend& io() noexcept = 0;
    /// When the next event is due, perhaps in the past; no_deadline when nothing is under way.
    virtual nanoseconds_t next_event() const noexcept = 0;
    /// Lets one event happen that is due.
    virtual void happen() noexcept = 0;
    virtual void cancel(io_request& request) noexcept = 0;
    /// Operations that have not ended.
    virtual std::size_t in_flight() const noexcept = 0;
};

/// The world of a simulation whose tasks have `owner` for a driver. Implemented by io.
std::unique_ptr<simulated_world> make_simulated_network(const testing::network& how, simulator& by,
                                                        driver& owner);

/// That of the simulation whose task runs here, made when it is first asked for; null outside of one.
simulated_world* current_world() noexcept;
}
