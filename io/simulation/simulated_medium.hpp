// simulated_medium: what everything in a simulated network shares: what will happen when, and by what chance.
//
// An event is a closure with a time. Of those that are due at the same time any may come first: the seed says
// which. What must keep an order keeps it by itself (a connection's segments: simulated_stream.hpp), so an
// event asks what there is to do when its time has come, and often finds that nothing is.
//
// All chance of the network is drawn here, as W1 of detail/simulated_world.hpp wants it: 0 is the undisturbed
// way, so each of these functions says what 0 means.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include <runnel/address.hpp>
#include <runnel/detail/simulated_world.hpp>
#include <runnel/testing.hpp>

namespace runnel::detail {

class stream_end;
struct simulated_socket;

class simulated_medium {
public:
    simulated_medium(const testing::network& how, simulator& by) noexcept : how_(how), by_(by) {}

    const testing::network& how() const noexcept { return how_; }
    nanoseconds_t now() const noexcept { return by_.now(); }

    // --- Events ---
    void at(nanoseconds_t time, std::function<void()> event);
    /// When the first is due.
    nanoseconds_t next_event() const noexcept;
    /// Lets one happen that is due.
    void happen();

    // --- Chance ---
    std::uint32_t choose(std::uint32_t ways) noexcept { return by_.choose(ways); }
    /// How long something takes on its way; 0: the shortest.
    nanoseconds_t latency() noexcept;
    /// How much of `bytes` is moved at once, at least one; 0: all.
    std::size_t part_of(std::size_t bytes) noexcept;
    /// Is it this one of so many? 0 of them: never; 0: no.
    bool strikes(std::uint32_t one_in) noexcept;

    // --- What happened ---
    enum class what : std::uint64_t {
        arrived = 1,
        ended,
        reset,
        asked,
        connected,
        refused,
        accepted,
        closed,
        done,
        lost,
        file
    };
    /// To the connection or socket `number`; goes into the hash (W2).
    void note(what kind, std::uint64_t number, std::uint64_t amount) noexcept {
        by_.happened(static_cast<std::uint64_t>(kind) << 32 | number, amount);
    }
    bool keeps_log() const noexcept { return by_.keeps_log(); }
    void log(const std::string& line) noexcept { by_.log_event(line); }

    virtual std::string text_of(const address& a) const = 0;

    /// Somebody who waits at this end of a connection may find that he can go on.
    virtual void changed(stream_end& end) = 0;
    /// The same of a socket for datagrams.
    virtual void changed(simulated_socket& socket) = 0;
    /// Does nothing pass between these two?
    virtual bool is_cut(const address& a, const address& b) const noexcept = 0;

protected:
    ~simulated_medium() = default;

private:
    const testing::network how_;
    simulator& by_;
    std::map<std::pair<nanoseconds_t, std::uint64_t>, std::function<void()>> events_;  // by time, then age
    std::uint64_t last_event_ = 0;
};
}
