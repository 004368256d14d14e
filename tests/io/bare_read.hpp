// bare_read: a read of one byte without a runtime; the test plays the task, and the canceller in slow motion.
//
// Its task is held, as by a dump: the driver completes it, and nothing is scheduled.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <runnel/detail/io_backend.hpp>
#include <runnel/detail/wait.hpp>

namespace test {

namespace bits = runnel::detail::word_bits;

class bare_read {
public:
    enum class when { now, later };

    template <class Driver>
    explicit bare_read(Driver& driver, when begins = when::now) : driver_(driver), backend_(driver) {
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_) == 0);
        action_.fd = ends_[0];
        action_.data = &byte_;
        action_.bytes = 1;
        request_ = backend_.prepare(action_, task_);
        task_.word = bits::epoch_step | bits::armed_io | bits::held;
        if (begins == when::now) start();
    }
    ~bare_read() {
        close(ends_[0]);
        close(ends_[1]);
    }
    bare_read(const bare_read&) = delete;
    bare_read& operator=(const bare_read&) = delete;

    void start() { backend_.start(*request_); }
    void send_byte() { CHECK(write(ends_[1], "x", 1) == 1); }
    void ask_to_take_back() {
        task_.word |= runnel::detail::word_bits::take_back;
    }  // the first half of a cancel,
    void send_message() { driver_.cancel(*request_); }  // and the second

    bool over() const { return (task_.word & bits::state_mask) != bits::armed_io; }
    void wait_until_over() {
        while (!over()) driver_.wait(runnel::detail::no_deadline);
    }
    std::size_t moved() const { return action_.moved; }
    int error() const { return action_.error; }
    const runnel::detail::io_request* request() const { return request_; }

private:
    runnel::detail::driver& driver_;
    runnel::detail::io_backend& backend_;
    int ends_[2] = {-1, -1};
    char byte_ = 0;
    runnel::detail::task_block task_;
    runnel::detail::io_action action_{.kind = runnel::detail::io_kind::receive};
    runnel::detail::io_request* request_ = nullptr;
};
}
