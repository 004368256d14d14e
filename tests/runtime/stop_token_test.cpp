// Contexts and std::stop_token: who is told, when, and what is left.
#include <doctest/doctest.h>
#include <runnel/scope.hpp>
#include <runnel/stop_token.hpp>
#include <runnel/sync.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <thread>

#include "support/contexts.hpp"
#include "support/level.hpp"
#include "support/runtimes.hpp"
#include "support/virtual_time.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;
using namespace support;

// --- A context of a token ----------------------------------------------------------------------------------

TEST_CASE("stop_token_context: is cancelled when request_stop() returns, with its cause") {
    std::stop_source source;
    const rn::stop_token_context told(source.get_token(), rn::background(), make_error_code(rn::errc::full));
    CHECK(!told.ctx().cancelled());
    source.request_stop();
    CHECK(told.ctx().err() == rn::errc::cancelled);
    CHECK(told.ctx().cause() == rn::errc::full);
    CHECK(!told.cancel()());
}

TEST_CASE("stop_token_context: of a token that was asked before it is cancelled from the beginning") {
    std::stop_source source;
    source.request_stop();
    CHECK(rn::stop_token_context(source.get_token(), rn::background()).ctx().cancelled());
    CHECK(!rn::stop_token_context(std::stop_token(), rn::background()).ctx().cancelled());  // of nobody
}

TEST_CASE("stop_token_context: is a child of a context, and asks nobody when that is cancelled") {
    std::stop_source source;
    const auto parent = rn::with_cancel(rn::background());
    const rn::stop_token_context told(source.get_token(), parent.ctx);
    parent.cancel(make_error_code(rn::errc::empty));
    CHECK(told.ctx().cause() == rn::errc::empty);
    CHECK(!source.stop_requested());
    source.request_stop();
    CHECK(told.ctx().cause() == rn::errc::empty);
}

TEST_CASE("stop_token_context: once it is gone no token reaches the context that is left") {
    std::stop_source source;
    rn::context left;
    {
        const rn::stop_token_context told(source.get_token(), rn::background());
        left = told.ctx();
    }
    source.request_stop();
    CHECK(!left.cancelled());
}

TEST_CASE("stop_token_context: a plain thread ends the waits of tasks") {
    for (int round = 0; round < scaled(100, 10'000); ++round) {
        std::stop_source source;
        rn::runtime here(workers(2));
        const auto waits = [token = source.get_token()]() -> rn::task<rn::result<>> {
            const rn::stop_token_context told(token);
            auto sleeps = rn::with_context(told.ctx(), rn::sleep_for(1h));
            co_return co_await std::move(sleeps);
        };
        auto end = here.spawn(waits);
        std::jthread([source]() mutable { source.request_stop(); }).join();
        CHECK(end.wait().error() == rn::errc::cancelled);
    }
}

TEST_CASE("stop_token_context: asked while the runtime of its tasks goes, and after that") {
    for (int round = 0; round < scaled(30, 3'000); ++round) {
        std::stop_source source;
        std::optional<rn::stop_token_context> told;
        auto here = std::make_unique<rn::runtime>(workers(2));
        const auto waits = [&]() -> rn::task<> {
            told.emplace(source.get_token(), rn::current_context());
            auto waits_for_it = rn::with_context(told->ctx(), rn::sleep_for(1h));
            (void)co_await std::move(waits_for_it);
        };
        auto end = here->spawn(waits);
        end.detach();
        std::thread asks;
        if (round % 2 == 0) asks = std::thread([&] { source.request_stop(); });
        here.reset();
        if (asks.joinable()) asks.join();
        source.request_stop();
        if (told) CHECK(told->ctx().cancelled());
    }
}

TEST_CASE("stop_token_context: ends while it is asked by another thread") {
    for (int round = 0; round < scaled(300, 30'000); ++round) {
        std::stop_source source;
        auto told = std::make_unique<rn::stop_token_context>(source.get_token(), rn::background());
        const rn::context ctx = told->ctx();
        std::thread asks([&] { source.request_stop(); });
        told.reset();
        const bool then = ctx.cancelled();
        asks.join();
        CHECK(ctx.cancelled() == then);
    }
}

// --- A token of a context ----------------------------------------------------------------------------------

TEST_CASE("context_stop_token: is asked by a task of its own when the context is cancelled") {
    in_virtual_time([]() -> rn::task<> {
        const auto made = rn::with_cancel(rn::background());
        const rn::context_stop_token tell(made.ctx);
        const std::stop_token token = tell.token();
        rn::event asked;
        const std::stop_callback callback(token, [&] { asked.set(); });
        (void)co_await rn::sleep_for(1ms);
        CHECK(token.stop_possible());
        made.cancel();
        CHECK(!token.stop_requested());  // cancelling runs no code of the user
        CHECK(co_await asked.wait());
        CHECK(token.stop_requested());
    });
}

TEST_CASE("context_stop_token: of a cancelled context the token has been asked") {
    in_virtual_time([]() -> rn::task<> {
        const auto made = rn::with_cancel(rn::background());
        made.cancel();
        CHECK(rn::context_stop_token(made.ctx).token().stop_requested());
        co_return;
    });
}

TEST_CASE("context_stop_token: once it is gone the token is not asked, and the context keeps nothing of it") {
    in_virtual_time([]() -> rn::task<> {
        const auto made = rn::with_cancel(rn::background());
        std::stop_token token;
        {
            rn::context_stop_token moved(made.ctx);
            rn::context_stop_token tell(std::move(moved));
            token = tell.token();
            (void)co_await rn::yield();
            CHECK(waited_for(made.ctx));
        }
        (void)co_await rn::yield();
        CHECK(!waited_for(made.ctx));
        made.cancel();
        (void)co_await rn::sleep_for(1ms);
        CHECK(!token.stop_requested());
    });
}

TEST_CASE("context_stop_token: one that is moved to lets go of its own") {
    in_virtual_time([]() -> rn::task<> {
        const auto first = rn::with_cancel(rn::background());
        const auto second = rn::with_cancel(rn::background());
        rn::context_stop_token tell(first.ctx);
        const std::stop_token old = tell.token();
        tell = rn::context_stop_token(second.ctx);
        first.cancel();
        second.cancel();
        (void)co_await rn::sleep_for(1ms);
        CHECK(!old.stop_requested());
        CHECK(tell.token().stop_requested());
    });
}

TEST_CASE("context_stop_token: the runtime asks for contexts below its root when it stops, not for others") {
    std::stop_token below, apart;
    std::optional<rn::context_stop_token> tells_below, tells_apart;
    const auto other = rn::with_cancel(rn::background());
    run_on(2, [&]() -> rn::task<> {
        tells_below.emplace(rn::current_context());
        tells_apart.emplace(other.ctx);
        below = tells_below->token();
        apart = tells_apart->token();
        for (int i = 0; i < 20; ++i) (void)co_await rn::yield();
        while (!waited_for(other.ctx)) (void)co_await rn::yield();
        while (!waited_for(rn::current_context())) (void)co_await rn::yield();
    });
    CHECK(below.stop_requested());
    other.cancel();
    CHECK(!apart.stop_requested());
}

TEST_CASE("context_stop_token: cancelled by threads while it goes, and its tasks' runtime") {
    for (int round = 0; round < scaled(100, 10'000); ++round) {
        const auto made = rn::with_cancel(rn::background());
        rn::runtime here(workers(2));
        const auto makes = [&]() -> rn::task<std::stop_token> {
            const rn::context_stop_token tell(made.ctx);
            (void)co_await rn::yield();
            co_return tell.token();
        };
        auto end = here.spawn(makes);
        std::thread cancels([cancel = made.cancel] { cancel(); });
        CHECK(end.wait());
        cancels.join();
    }
}
