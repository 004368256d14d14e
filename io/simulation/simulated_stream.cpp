// See simulated_stream.hpp, whose steps and invariants are named here.
#include "simulated_stream.hpp"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

namespace runnel::detail {

namespace {
using what = simulated_medium::what;
constexpr nanoseconds_t second = 1'000'000'000;
constexpr nanoseconds_t retransmission_time = 924 * second;  // tcp_retries2 = 15

/// How long the line needs for so many bytes.
nanoseconds_t line_time(std::size_t bytes, std::uint64_t bytes_per_second) noexcept {
    if (bytes_per_second == 0) return 0;
    return static_cast<nanoseconds_t>(static_cast<double>(bytes) * 1e9 /
                                      static_cast<double>(bytes_per_second));
}
}

stream_end& stream_end::other() noexcept { return this == &of_.near ? of_.far : of_.near; }

void stream_end::log(const std::string& text) const {
    if (of_.medium.keeps_log())
        of_.medium.log(of_.medium.text_of(peer) + " -> " + of_.medium.text_of(local) + ": " + text);
}

// --- Calls -----------------------------------------------------------------------------------------

long stream_end::receive(void* to, std::size_t bytes) {
    if (of_.local()) take_all();
    if (has_bytes()) {
        const std::size_t part = of_.medium.part_of(std::min(bytes, arrived_.size() - taken_));
        std::memcpy(to, arrived_.data() + taken_, part);
        taken_ += part;
        if (!has_bytes()) arrived_.clear(), taken_ = 0;
        other().acknowledge(part);
        return static_cast<long>(part);
    }
    if (end_arrived_ && !of_.local()) return 0;  // else step 7
    if (error_ != 0) return -std::exchange(error_, 0);
    if (end_arrived_ || read_shut_ || dead_) return 0;
    return -EAGAIN;
}

bool stream_end::readable() {
    if (of_.local()) take_all();
    return has_bytes() || end_arrived_ || read_shut_ || dead_;
}

long stream_end::send(const void* from, std::size_t bytes) {
    if (of_.local() && (other().closed_ || other().read_shut_)) return -EPIPE;  // step 6
    if (error_ != 0) return -std::exchange(error_, 0);
    if (write_shut_ || dead_) return -EPIPE;
    const long moved = put(from, bytes);
    if (moved >= 0 && !of_.local() && of_.medium.strikes(of_.medium.how().resets())) of_.reset();
    return moved;
}

long stream_end::write(const void* from, std::size_t bytes) {
    return write_shut_ || dead_ || other().closed_ ? -EPIPE : put(from, bytes);
}

long stream_end::put(const void* from, std::size_t bytes) {
    simulated_medium& medium = of_.medium;
    const std::size_t room = medium.how().buffer() - std::min(unread_, medium.how().buffer());
    if (room == 0) return -EAGAIN;
    const std::size_t part = medium.part_of(std::min(bytes, room));
    const auto* first = static_cast<const std::byte*>(from);
    unread_ += part;
    transmit({0, segment::data, {first, first + part}});
    return static_cast<long>(part);
}

bool stream_end::has_data_under_way() const noexcept {
    return std::any_of(under_way_.begin(), under_way_.end(),
                       [](const segment& each) { return each.kind == segment::data; });
}

int stream_end::finish_writing() {
    if (dead_) return of_.local() ? 0 : -ENOTCONN;
    if (!std::exchange(write_shut_, true)) transmit({0, segment::end, {}});
    of_.medium.changed(*this);
    return 0;
}

void stream_end::stop_reading() {
    read_shut_ = true;
    of_.medium.changed(*this);
    if (of_.local()) of_.medium.changed(other());  // step 6
}

void stream_end::close() {
    closed_ = true;
    of_.medium.note(what::closed, of_.number, this == &of_.near);
    const bool unread = has_bytes() || (of_.local() && other().has_data_under_way());  // step 5
    if (!dead_ && unread)
        abort(!of_.local());
    else if (!dead_)
        finish_writing();
    arrived_.clear();
    taken_ = 0;
}

/// Step 2.
void stream_end::abort(bool loses) {
    if (dead_) return;
    if (loses && !under_way_.empty() && of_.medium.choose(2) == 1) under_way_.clear();
    send_reset();
    dead_ = true;
}

void stream_end::send_reset() {
    if (!std::exchange(reset_sent_, true)) transmit({0, segment::reset, {}});
}

bool stream_end::die(int why) {
    if (std::exchange(dead_, true)) return false;
    error_ = end_arrived_ && !of_.local() ? EPIPE : why;
    under_way_.clear();
    of_.medium.note(what::reset, of_.number, static_cast<std::uint64_t>(why));
    log(why == ETIMEDOUT ? "given up" : "a reset arrives");
    return true;
}

void stream_end::fail(int why) {
    if (die(why)) of_.medium.changed(*this);
}

// --- The way ---------------------------------------------------------------------------------------

void stream_end::transmit(segment sent) {
    if (of_.vanished_) return give_up_later();
    simulated_medium& medium = of_.medium;
    const std::uint64_t bandwidth = of_.local() ? 0 : medium.how().bandwidth();
    line_free_ = std::max(line_free_, medium.now()) + line_time(sent.bytes.size(), bandwidth);
    last_arrival_ = std::max(last_arrival_, line_free_ + of_.latency());
    sent.arrival = last_arrival_;
    under_way_.push_back(std::move(sent));
    medium.at(last_arrival_, [this] { arrive(); });
    if (of_.cut_) give_up_later();
}

void stream_end::arrive() {
    if (of_.local()) {
        other().take_all();
        return of_.medium.changed(other());  // it may have taken them already, and told nobody
    }
    if (under_way_.empty() || under_way_.front().arrival > of_.medium.now() || !of_.passable())
        return;  // N2, N3
    segment front = std::move(under_way_.front());
    under_way_.pop_front();
    if (other().take_in(std::move(front))) of_.medium.changed(other());
}

/// Step 5: what has been sent is here.
void stream_end::take_all() {
    while (!other().under_way_.empty()) {
        segment front = std::move(other().under_way_.front());
        other().under_way_.pop_front();
        take_in(std::move(front));
    }
}

/// May somebody who waits here go on?
bool stream_end::take_in(segment in) {
    simulated_medium& medium = of_.medium;
    if (in.kind == segment::reset) return die(ECONNRESET);
    if (dead_) {
        if (in.kind == segment::data) send_reset();
        return false;
    }
    if (in.kind == segment::end) {
        end_arrived_ = true;
        medium.note(what::ended, of_.number, this == &of_.near);
        log("the end of the stream arrives");
        return true;
    }
    medium.note(what::arrived, of_.number, in.bytes.size() << 1 | (this == &of_.near ? 1U : 0U));
    log(std::to_string(in.bytes.size()) + " bytes arrive" + (closed_ ? " at a closed socket" : ""));
    if (closed_) {
        abort(false);  // step 3
        return false;
    }
    arrived_.insert(arrived_.end(), in.bytes.begin(), in.bytes.end());
    return true;
}

void stream_end::acknowledge(std::size_t bytes) {
    if (of_.vanished_) return;
    if (of_.cut_) {
        read_in_cut_ += bytes;
        return;
    }
    assert(bytes <= unread_ && "N1: more was read than written");
    unread_ -= bytes;
    of_.medium.changed(*this);
}

void stream_end::give_up_later() {
    if (std::exchange(waits_to_give_up_, true)) return;
    simulated_medium& medium = of_.medium;
    medium.at(medium.now() + retransmission_time, [this, stall = stalls_] {
        if (stall == stalls_) fail(ETIMEDOUT);
    });
}

void stream_end::send_anew() {
    ++stalls_;
    waits_to_give_up_ = false;
    simulated_medium& medium = of_.medium;
    nanoseconds_t earliest = under_way_.empty() ? 0 : medium.now() + medium.latency();
    for (segment& each : under_way_) {
        earliest = std::max(earliest, each.arrival);
        each.arrival = earliest;
        medium.at(earliest, [this] { arrive(); });
    }
    last_arrival_ = std::max(last_arrival_, earliest);
    if (const std::size_t read = std::exchange(read_in_cut_, 0); read != 0) acknowledge(read);
}

// --- Connections -----------------------------------------------------------------------------------

bool simulated_connection::concerns(const address& at) const noexcept {
    return at == near.local || at == far.local || at == near.peer || at == listener_;
}

void simulated_connection::cut() {
    if (std::exchange(cut_, true) || vanished_) return;
    for (stream_end* end : {&near, &far})
        if (!end->under_way_.empty()) end->give_up_later();
}

void simulated_connection::heal() {
    if (!std::exchange(cut_, false) || vanished_) return;
    near.send_anew();
    far.send_anew();
    for (std::function<void()>& each : std::exchange(waits_for_healing_, {}))
        medium.at(medium.now() + medium.latency(), std::move(each));
}

void simulated_connection::vanish() {
    vanished_ = true;
    for (stream_end* end : {&near, &far}) {
        if (!end->under_way_.empty()) end->give_up_later();
        end->under_way_.clear();
    }
    waits_for_healing_.clear();
}

void simulated_connection::reset() {
    for (stream_end* end : {&near, &far})
        medium.at(medium.now() + medium.latency(),
                  [this, end] { when_passable([end] { end->fail(ECONNRESET); }); });
}

void simulated_connection::reset_now() {
    near.fail(ECONNRESET);
    far.fail(ECONNRESET);
}

void simulated_connection::when_passable(std::function<void()> later) {
    if (passable())
        later();
    else if (cut_)
        waits_for_healing_.push_back(std::move(later));
}
}
