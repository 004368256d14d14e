// What a trace tells of channels: what went through, from whom to whom, and who waits.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>
#include <runnel/trace.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "runtime/steering.hpp"
#include "runtime/worker.hpp"
#include "tasks.hpp"

using namespace support;
using rn::detail::trace_event;
using rn::detail::trace_kind;

namespace {

std::uint64_t my_number() { return rn::detail::running_task().id; }

/// "wait to receive", "send", "hand over": what has been noted of channels on the worker that runs this.
std::vector<trace_event> noted() {
    std::vector<trace_event> found;
    for (const trace_event& event : rn::detail::current_worker()->trace_events())
        if (event.kind == trace_kind::done ||
            (event.kind == trace_kind::wait && event.what != std::string("for all others to wait")))
            found.push_back(event);
    return found;
}

std::vector<std::string> words() {
    std::vector<std::string> all;
    for (const trace_event& event : noted()) all.emplace_back(event.what);
    return all;
}

using strings = std::vector<std::string>;

rn::task<> receive_all(rn::receiver<int> in) {
    while (const auto value = co_await in.recv()) {}  // a name, because of GCC bug 106188
}

rn::task<> others_wait() {
    if (rn::detail::current_steering() != nullptr)
        co_await rn::testing::wait_until_all_tasks_wait();
    else
        co_await settle();
}

/// Runs main() as an ordinary program and as a simulated one.
void traced(rn::task<> (*main)()) {
    on_workers(1, main);
    const auto run = rn::testing::simulate(rn::testing::options(), main);
    CHECK_MESSAGE(run.ok(), run.what());
}
}

TEST_CASE("trace: a channel with room notes what is sent and received and that it is closed") {
    traced([]() -> rn::task<> {
        rn::trace::start(100);
        auto [out, in] = rn::make_channel<int>(2);
        CHECK(co_await out.send(1));
        CHECK(out.try_send(2));
        CHECK(out.try_send(3).error() == rn::errc::full);  // which is no event
        CHECK((co_await in.recv()).value() == 1);
        CHECK(in.try_recv().value() == 2);
        out.close();
        out.close();
        CHECK(!co_await out.send(4));
        CHECK(!co_await in.recv());
        CHECK(words() ==
              strings{"send", "send", "receive", "receive", "close", "find closed", "find closed"});
        for (const trace_event& event : noted()) {
            CHECK(event.task == my_number());
            CHECK(event.object == noted().front().object);
            CHECK(event.value == 0);
        }
    });
}

TEST_CASE("trace: a value that goes straight to a receiver that waits is handed over to that one") {
    traced([]() -> rn::task<> {
        rn::trace::start(100);
        auto [out, in] = rn::make_channel<int>(2);
        const unsigned line = std::source_location::current().line() - 1;
        in.label("numbers");
        rn::go(receive_all, std::move(in));
        co_await others_wait();
        CHECK(co_await out.send(1));
        auto all = noted();
        REQUIRE(all.size() >= 2);
        all.resize(2);  // the receiver may have been waiting again before this went on
        CHECK(std::string(all[0].what) == "to receive");
        CHECK(std::string(all[1].what) == "hand over");
        CHECK(all[0].object == all[1].object);
        CHECK(static_cast<std::uint64_t>(all[1].value) == all[0].task);
        for (const trace_event& event : all) {
            CHECK(std::string(event.label) == "numbers");
            CHECK(event.made_at.line() == line);
        }
        out.reset();  // the last sender: closes it
        co_await others_wait();
        const strings after = words();
        CHECK(std::count(after.begin(), after.end(), "close") == 1);
    });
}

template <std::size_t Room>
rn::task<> receive_from_a_sender_that_waits() {
    rn::trace::start(100);
    auto [out, in] = rn::make_channel<int>(Room);
    const auto send = [](rn::sender<int> into) -> rn::task<std::uint64_t> {
        for (std::size_t i = 0; i <= Room; ++i) CHECK(co_await into.send(1));
        co_return my_number();
    };
    auto sender = rn::go(send, std::move(out));
    co_await others_wait();
    REQUIRE(!words().empty());
    CHECK(words().back() == "to send");
    CHECK(in.try_recv());
    CHECK(words().back() == "receive");
    const auto ended = static_cast<std::uint64_t>(noted().back().value);
    const auto number = co_await sender;
    CHECK(ended == number.value());
}

TEST_CASE("trace: who receives from a sender that waits ends that one's wait") {
    traced(receive_from_a_sender_that_waits<0>);
    traced(receive_from_a_sender_that_waits<1>);
}

TEST_CASE("trace: a select notes what it did, or one wait for all of its cases") {
    traced([]() -> rn::task<> {
        rn::trace::start(100);
        auto [out, in] = rn::make_channel<int>(1);
        auto [other_out, other_in] = rn::make_channel<int>(1);
        CHECK(co_await out.send(1));
        CHECK((co_await rn::select(in.recv(), other_in.recv())).index() == 0);
        CHECK(!rn::try_select(in.recv(), other_in.recv()));
        CHECK(rn::try_select(other_out.send(2)));
        CHECK(rn::try_select(in.recv(), other_in.recv()).index() == 1);
        CHECK((co_await rn::select(in.recv(), other_in.recv(), rn::sleep_for(std::chrono::milliseconds(1))))
                  .index() == 2);
        CHECK(words() ==
              strings{"send", "receive", "send", "receive", "to receive", "to receive", "for a deadline"});
        const auto all = noted();
        CHECK(all[0].object == all[1].object);
        CHECK(all[2].object == all[3].object);
        CHECK(all[0].object != all[2].object);
        CHECK(all[4].wait == all[6].wait);
    });
}

TEST_CASE("trace: the page tells channels apart also where one lay before") {
    traced([]() -> rn::task<> {
        rn::trace::start(100);
        {
            const rn::channel<int> first(1);
            first.label("first");
            CHECK(first.try_send(1));
        }
        {
            const rn::channel<int> second(1);
            CHECK(second.try_send(1));
            second.label("second");
            CHECK(second.try_recv());
        }
        rn::trace::stop();
        const std::string json = rn::trace::to_json();
        CAPTURE(json);
        CHECK(json.find("\"name\":\"send 'first'\"") != std::string::npos);
        CHECK(json.find("\"object\":\"'first' of trace_test.cpp:") != std::string::npos);
        CHECK(json.find("\"name\":\"receive 'second'\"") != std::string::npos);
        CHECK(json.find("\"number\":1") != std::string::npos);
        CHECK(json.find("\"number\":2") != std::string::npos);
        CHECK(json.find("\"number\":3") == std::string::npos);
        co_return;
    });
}

TEST_CASE("trace: a plain thread sends and closes without one") {
    auto [out, in] = rn::make_channel<int>(1);
    CHECK(out.try_send(1));
    CHECK(out.close());
    CHECK(in.try_recv().value() == 1);
}
