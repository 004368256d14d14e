// Planted bugs: the end comes while something is under way. Cancelled, closed, stopped.
#include <doctest/doctest.h>
#include <runnel/channel.hpp>
#include <runnel/go.hpp>
#include <runnel/scope.hpp>
#include <runnel/select.hpp>
#include <runnel/sync.hpp>

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "planted.hpp"

namespace rn = runnel;
using runnel::testing::expect;
using runnel::testing::failure;
using support::form;
using support::work;

namespace {

// --- Lost when it is cancelled -------------------------------------------------------------------------

using batch = std::vector<int>;
constexpr int items = 4;

rn::task<> make_batches(form how, rn::channel<int> in, rn::channel<batch> out) {
    batch next;
    for (;;) {
        auto item = co_await in.recv();
        if (!item) break;
        next.push_back(*item);
        if (next.size() < 2) continue;
        auto sent = co_await out.send(rn::from(next));
        if (!sent && how == form::broken) co_return;  // as after a close: but nothing is closed
        if (!sent) break;
        next.clear();
    }
    while (auto item = in.try_recv()) next.push_back(*item);
    auto sent = co_await rn::shielded(out.send(rn::from(next)));
    expect(sent.has_value());
}

rn::task<> produce(rn::channel<int> to) {
    for (int i = 0; i < items; ++i) {
        co_await work(20);
        auto sent = co_await to.send(i);
        if (!sent) co_return;
    }
}

rn::task<> stop_batching(rn::scope& batching) {
    co_await work(240);
    batching.cancel();
}

std::size_t left_in(const rn::channel<int>& singles, const rn::channel<batch>& batches) {
    std::size_t found = 0;
    while (singles.try_recv()) ++found;
    while (auto each = batches.try_recv()) found += each->size();
    return found;
}

rn::task<> reload(form how) {
    rn::channel<int> in(items);
    rn::channel<batch> out(items);
    rn::scope batching;
    rn::task_set others;
    batching.spawn(make_batches, how, in, out);
    others.spawn(produce, in);
    others.spawn(stop_batching, rn::borrow(batching));
    co_await others.join();
    (void)co_await batching.join();
    expect(left_in(in, out) == items, "a batch is lost");
}

TEST_CASE("planted: who takes every failed send for a close loses its values when it is cancelled") {
    check_planted(reload, failure::expectation);
}

// --- Not joined ------------------------------------------------------------------------------------------

struct document {
    rn::mutex lock;
    int text = 0, disk = 0;
    bool saving = false;
};

/// False: somebody else is at it.
rn::task<bool> save(std::shared_ptr<document> it) {
    auto held = co_await it->lock.lock();
    if (!held || std::exchange(it->saving, true)) co_return false;
    const int text = it->text;
    held->unlock();
    co_await work(1);
    auto writing = co_await it->lock.lock();
    if (!writing) co_return false;
    it->disk = text;
    it->saving = false;
    co_return true;
}

rn::task<> save_automatically(std::shared_ptr<document> it) {
    co_await work(144);
    (void)co_await save(it);
}

rn::task<> type(std::shared_ptr<document> it) {
    co_await work(8);
    auto held = co_await it->lock.lock();
    if (held) it->text = 1;
}

rn::task<> edit(form how) {
    const auto it = std::make_shared<document>();
    auto in_background = rn::go(save_automatically, it);
    co_await type(it);
    bool saved = co_await save(it);
    if (!saved && how == form::mended) {
        co_await in_background;
        saved = co_await save(it);
    }
    auto held = co_await it->lock.lock();
    expect(!held || it->disk == it->text, "what was typed last is not saved");
}

TEST_CASE("planted: who leaves the work to a task in the background, and does not join it, ends too early") {
    check_planted(edit, failure::expectation);
}

// --- The last message ----------------------------------------------------------------------------------------

struct server {
    explicit server(form f) : how(f) {}
    const form how;
    rn::channel<int> connection{4}, queue{4};
    rn::event stopping;
    int accepted = 0, handled = 0;
};

rn::task<> read_requests(server& of) {
    for (;;) {
        auto request = co_await of.connection.recv();
        if (!request) break;
        auto sent = co_await of.queue.send(*request);
        if (!sent) break;
    }
    of.queue.close();
}

/// Handles what is queued before it looks whether it should stop.
rn::task<> serve(server& it) {
    for (;;) {
        auto won = co_await rn::select(rn::in_order, it.queue.recv(), it.stopping.wait());
        if (!won || won.index() == 1) co_return;
        auto request = won.take<0>();
        if (!request) co_return;
        ++it.handled;
    }
}

rn::task<> send_requests(server& to) {
    for (int i = 0; i < 2; ++i) {
        co_await work(20);
        auto sent = co_await to.connection.send(i);
        if (!sent) co_return;
        ++to.accepted;
    }
}

rn::task<> stop(server& it) {
    co_await work(240);
    it.connection.close();
    if (it.how == form::mended) co_return;  // what is read goes on to the queue, and its close ends serve()
    while (it.connection.len() != 0 || it.queue.len() != 0) {
        auto slept = co_await rn::sleep_for(std::chrono::milliseconds(1));
        if (!slept) co_return;
    }
    it.stopping.set();  // nothing is left: neither here nor there
}

rn::task<> shutdown(form how) {
    server it(how);
    rn::task_set all;
    all.spawn(read_requests, rn::borrow(it));
    all.spawn(serve, rn::borrow(it));
    all.spawn(send_requests, rn::borrow(it));
    all.spawn(stop, rn::borrow(it));
    co_await all.join();
    expect(it.handled == it.accepted, "a message is lost");
}

TEST_CASE("planted: a server that stops when its queues are empty loses the message that is between them") {
    check_planted(shutdown, failure::expectation);
}
}
