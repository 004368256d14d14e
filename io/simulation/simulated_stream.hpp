// simulated_stream: a simulated connection: two ends, and a way in each direction.
//
//   write ──▶ [ segments under way, each with the time of its arrival ] ──▶ [ arrived ] ──▶ read
//             └──────────────── together at most `buffer` bytes ────────────────────┘
//
// A segment is the bytes of one write, the end of the stream (FIN), or a reset (RST). It arrives a latency
// after the line has let it out (bandwidth), never before the one that was sent before it. What the reader takes
// makes room for the writer at once. As on Linux:
//   1  bytes that had arrived before a reset can still be read; then one call gets ECONNRESET, of reading or
//      writing, later writes EPIPE, later reads the end of the stream. When the end of the stream had come
//      first, reads give that, and the error is EPIPE;
//   2  an end that closes on unread bytes sends a reset in place of the end of the stream, and what it had
//      under way may be lost;
//   3  bytes that reach a closed end, or one that has failed, are answered by a reset;
//   4  what stays unacknowledged for 924 s is given up: ETIMEDOUT.
// Of Unix sockets, whose two ends are in one kernel:
//   5  nothing is under way for any time, and nothing is lost: bytes for an end that closes count as unread there;
//   6  who writes to an end that has closed, or reads no more, is told at once: EPIPE;
//   7  a reset is told before the end of the stream, and leaves both ends their addresses.
//
//   N1  per direction bytes come in the order in which they were written, each at most once, and only a reset
//       loses any;
//   N2  per direction the times of arrival do not fall, and at each of them there is an event: who has the
//       front segment on its way need not know which event was meant for it;
//   N3  across a cut nothing passes, neither bytes nor room: it waits for the healing, which sends it anew. Of a
//       connection that has vanished nothing ever passes.
//
// Not taken: segments of the size that a wire has, windows, acknowledgments that travel: they change when things
// arrive, which the latency already does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include <runnel/address.hpp>

#include "simulated_medium.hpp"
#include "simulated_names.hpp"

namespace runnel::detail {

class simulated_connection;
struct simulated_socket;

/// One end. Results of calls are those of the system: what was moved, or -errno.
class stream_end {
public:
    stream_end(simulated_connection& of, const address& here, const address& there)
        : local(here), peer(there), of_(of) {}
    stream_end(const stream_end&) = delete;
    stream_end& operator=(const stream_end&) = delete;

    long receive(void* to, std::size_t bytes);
    long send(const void* from, std::size_t bytes);
    /// Into a pipe: that nobody reads any more shows at once, and no chance of a network's strikes.
    long write(const void* from, std::size_t bytes);
    /// Would receive() not wait?
    bool readable();
    bool has_bytes() const noexcept { return taken_ < arrived_.size(); }

    int finish_writing();  // FIN after what was written
    void stop_reading();
    void close();            // its descriptor is gone; step 2
    void fail(int why);      // it is reset, or given up
    void abort(bool loses);  // sends a reset; what is under way may be lost
    bool dead() const noexcept { return dead_; }
    /// The peer learns of the connection only then.
    void send_not_before(nanoseconds_t time) noexcept { last_arrival_ = time; }

    const address local, peer;
    simulated_socket* holder = nullptr;  // who has a descriptor for it; none while it waits in a backlog

private:
    friend class simulated_connection;
    struct segment {
        nanoseconds_t arrival;
        enum { data, end, reset } kind;
        std::vector<std::byte> bytes;
    };

    stream_end& other() noexcept;
    bool has_data_under_way() const noexcept;
    long put(const void* from, std::size_t bytes);
    void transmit(segment what);
    void arrive();  // an event: the front segment, if its time has come
    bool take_in(segment what);
    void take_all();
    bool die(int why);
    void send_reset();
    void acknowledge(std::size_t bytes);
    void send_anew();      // after a cut
    void give_up_later();  // step 4
    void log(const std::string& text) const;

    simulated_connection& of_;
    // What it sends:
    std::deque<segment> under_way_;
    std::size_t unread_ = 0;       // bytes that the peer has not read
    std::size_t read_in_cut_ = 0;  // and those of which it cannot tell us now
    nanoseconds_t line_free_ = 0;
    nanoseconds_t last_arrival_ = 0;
    std::uint64_t stalls_ = 0;  // how often it was cut off and not
    bool waits_to_give_up_ = false;
    bool write_shut_ = false;
    bool reset_sent_ = false;
    // What it receives:
    std::vector<std::byte> arrived_;
    std::size_t taken_ = 0;  // of `arrived_`
    bool end_arrived_ = false;
    bool read_shut_ = false;

    int error_ = 0;  // for the next call
    bool dead_ = false;
    bool closed_ = false;
};

class simulated_connection {
public:
    /// `seen_from` and `seen_as` are `from` and `to` for the one who accepts.
    simulated_connection(simulated_medium& in, std::uint32_t which, const address& from, const address& to,
                         const address& seen_from, const address& seen_as, const address& listener)
        : near(*this, from, to),
          far(*this, seen_as, seen_from),
          number(which),
          medium(in),
          listener_(listener),
          local_(is_local(from)) {}

    /// Is it one of Unix sockets? What they do otherwise is in steps 5 to 7.
    bool local() const noexcept { return local_; }
    /// Of what is sent through it.
    nanoseconds_t latency() noexcept { return local_ ? 0 : medium.latency(); }

    /// Does it have this address at one of its ends, or was it made through a listener that has?
    bool concerns(const address& at) const noexcept;
    void cut();
    void heal();
    void vanish();
    /// Both ends are told, after a latency, that the connection is no more.
    void reset();
    void reset_now();
    /// Now, or when the cut is healed, or never.
    void when_passable(std::function<void()> what);
    bool passable() const noexcept { return !cut_ && !vanished_; }

    stream_end near, far;  // who has connected, who has accepted
    const std::uint32_t number;
    simulated_medium& medium;

private:
    friend class stream_end;
    const address listener_;
    const bool local_;
    bool cut_ = false;
    bool vanished_ = false;
    std::vector<std::function<void()>> waits_for_healing_;
};
}
