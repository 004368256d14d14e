// What it costs a task that its waits can be cancelled, counted: "a task of the root context arms by a plain store, any
// other by one exchange", and no wait takes a lock of its context.
#include <doctest/doctest.h>
#include <runnel/context.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>

#include <utility>

#include "runtime/context_node.hpp"
#include "support/locked_instructions.hpp"
#include "support/runtimes.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;
using namespace support;

namespace {

constexpr int rounds = 4;

struct court {
    rn::auto_event ping, pong;
};

/// Parks once a round, and wakes its partner.
rn::task<> play(rn::auto_event* mine, rn::auto_event* partners, int count) {
    for (int i = 0; i < count; ++i) {
        (void)co_await mine->wait();
        partners->set();
    }
}

/// Two tasks under the context of the one that runs this, which wait and wake each other in turn. The lock of the context
/// is taken by nobody else meanwhile: held, where the waits are counted, so a wait that takes it would never end.
rn::task<long> locked_in_game() {
    court both;
    rn::task_set players;
    auto under = [](court* on) -> rn::task<long> {
        auto partner = rn::go(play, &on->pong, &on->ping, rounds + 1);
        on->pong.set();
        (void)co_await on->ping.wait();  // the first wait of each is where they become members of their context
        rn::detail::context_node* ctx = rn::detail::running_task().ctx.load();
        (void)co_await rn::yield();
        ctx->lock.lock();
        locked_instructions count;
        for (int i = 0; i < rounds; ++i) {
            on->pong.set();
            (void)co_await on->ping.wait();
        }
        const long locked = count.stop();
        ctx->lock.unlock();
        (void)co_await partner;
        co_return locked;
    };
    co_return co_await under(&both);
}
}

TEST_CASE("wait: a task of the root pays no lock and no atomic read-modify-write to be cancellable; any other one") {
    if (!locked_instructions::countable()) return;
    const auto under_root = []() -> rn::task<long> { co_return co_await locked_in_game(); };
    const auto under_another = []() -> rn::task<long> {
        auto [ctx, cancel] = rn::with_cancel(rn::current_context());
        auto game = rn::with_context(ctx, locked_in_game());
        co_return co_await std::move(game);
    };
    const auto locked_in = [](auto game) {
        rn::runtime here(workers(1).slow_turn(1h));  // an instruction that traps may take 50 us
        return here.spawn(game).wait().value();
    };
    const long root = locked_in(under_root);
    const long another = locked_in(under_another);
    CHECK(root > 0);
    CHECK(another - root == 2 * rounds);  // each of the two has waited once a round
}
