#include "pubsub.hpp"

#include <runnel/context.hpp>
#include <runnel/go.hpp>
#include <runnel/label.hpp>
#include <runnel/scope.hpp>
#include <runnel/sync.hpp>
#include <runnel/time.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "info.hpp"
#include "resp.hpp"
#include "session.hpp"

namespace pubsub {
namespace {

namespace rn = runnel;
using namespace std::chrono_literals;

constexpr std::size_t write_bytes = 64u << 10;       // small entries are joined up to this size
constexpr std::size_t reply_bytes_max = 256u << 10;  // of unread replies; then no more requests are read
constexpr auto drain_time = 2s;                      // for a client that has left to read what is queued
constexpr auto linger_time = 500ms;                  // for a client to close, after we did

/// What the two tasks of a client share, and publishers hold on to.
struct connection final : notifier {
    connection(rn::tcp_stream stream, server& shared)
        : peer(std::move(stream)), out(*this, shared.outbox, shared.broker.lost) {
        changed.label("outbox changed");
        written.label("outbox written");
    }

    void wake() noexcept override {
        changed.set();
        if (out.closed()) peer.close();  // whatever its tasks wait for ends
    }

    rn::tcp_stream peer;
    outbox out;
    rn::event changed;  // the writer has to look at the outbox
    rn::event written;  // the writer has written something
};

/// A client that sends requests but reads no replies has to wait. False if the wait was cancelled.
rn::task<bool> wait_for_room(connection& client) {
    for (;;) {
        client.written.reset();
        if (client.out.reply_bytes() <= reply_bytes_max) co_return true;
        const auto waited = co_await client.written.wait();  // a name, because of GCC bug 106188
        if (!waited) co_return false;
    }
}

rn::task<> read(std::shared_ptr<connection> client, server& shared) {
    session meaning(shared, subscriber(client, &client->out));
    request_parser parser;
    while (auto chunk = co_await client->peer.recv()) {
        parser.feed(chunk->text());
        while (auto words = parser.next()) {
            meaning.execute(*words);
            if (meaning.ended()) co_return;
            if (client->out.reply_bytes() <= reply_bytes_max) continue;
            if (!co_await wait_for_room(*client)) co_return;
        }
        if (!parser.error().empty()) co_return meaning.protocol_error(parser.error());
        meaning.flush();
    }
}

/// Many small entries cost one write, a big one no copy.
std::string_view joined(const std::vector<frame>& batch, std::string& buffer) {
    if (batch.size() == 1) return *batch.front();
    buffer.clear();
    for (const auto& bytes : batch) buffer += *bytes;
    return buffer;
}

rn::task<> write(std::shared_ptr<connection> client) {
    rn::name_task("write");
    std::vector<frame> batch;
    std::string buffer;
    while (client->out.take(batch, write_bytes)) {
        if (batch.empty()) {
            buffer.clear();  // an idle client holds no memory
            buffer.shrink_to_fit();
            batch.shrink_to_fit();
            if (!co_await client->changed.wait()) co_return client->out.close();
            client->changed.reset();
        } else {
            if (!co_await client->peer.write_all(joined(batch, buffer))) co_return client->out.close();
            client->written.set();
        }
    }
}

/// Closes so that the client can read our last words: closing on unread bytes would reset the connection.
rn::task<> hang_up(rn::tcp_stream& peer) {
    if (!peer.shutdown_write()) co_return;
    while (const auto late = co_await peer.recv()) {}  // a name, because of GCC bug 106188
}

rn::task<> talk(rn::tcp_stream peer, rn::context reading, server& shared) {
    rn::name_task("read");
    auto client = std::make_shared<connection>(std::move(peer), shared);
    auto writer = rn::go(write, client);
    co_await rn::with_context(reading, read(client, shared));
    client->out.finish();
    if (!co_await rn::with_timeout(drain_time, writer.join())) co_return client->out.close();
    co_await rn::with_timeout(linger_time, hang_up(client->peer));
}
}

rn::task<> serve(outbox_options queues, rn::tcp_listener listener) {
    rn::name_task("accept");
    const auto shared = std::make_unique<server>(queues, listener.local_address().port());
    const auto reading = rn::with_cancel(rn::current_context());
    rn::task_set clients;
    while (auto peer = co_await listener.accept())  // until the runtime begins to stop
        clients.spawn(talk, std::move(*peer), reading.ctx, rn::borrow(*shared));
    listener.close();
    reading.cancel();
    co_await clients.join();
}
}
