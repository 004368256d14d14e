// What went through channels, in the metrics of a runtime.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/go.hpp>
#include <runnel/metrics.hpp>

#include "tasks.hpp"

using namespace support;

namespace {

rn::task<> send_some(rn::sender<int> out, int count) {
    for (int i = 0; i < count; ++i) CHECK(co_await out.send(i));
}

TEST_CASE("metrics: values that went into channels and out of them, and those that went straight through") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(10);
        CHECK(out.try_send(1));
        CHECK(out.try_send(2));
        CHECK(in.try_recv());
        rn::worker_metrics now = rn::current_metrics().total;
        CHECK(now.sent == 2);
        CHECK(now.received == 1);
        CHECK(now.direct == 0);

        auto [to, from] = rn::make_channel<int>(0);
        auto sender = rn::go(send_some, std::move(to), 5);
        for (int i = 0; i < 5; ++i) CHECK(co_await from.recv());
        CHECK(co_await sender);
        CHECK_FALSE(co_await from.recv());
        out.close();
        out.close();
        now = rn::current_metrics().total;
        CHECK(now.sent == 7);
        CHECK(now.received == 6);
        CHECK(now.direct == 5);
        CHECK(now.channels_closed == 2);
    });
}

TEST_CASE("metrics: a value that a receiver moves up for a sender that waits is sent, and one that is "
          "refused is not") {
    on_workers(1, []() -> rn::task<> {
        auto [out, in] = rn::make_channel<int>(1);
        auto sender = rn::go(send_some, out.share(), 2);
        co_await settle();
        CHECK(out.try_send(7).error() == rn::errc::full);
        CHECK(rn::current_metrics().total.sent == 1);
        CHECK(co_await in.recv());
        CHECK(rn::current_metrics().total.sent == 2);
        CHECK(rn::current_metrics().total.received == 1);
        CHECK(co_await sender);
    });
}
}
