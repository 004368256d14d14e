// pubsub: a publish/subscribe broker that Redis clients talk to.
//
//   $ examples/run pubsub --listen 127.0.0.1:6380
//   $ redis-cli -p 6380 SUBSCRIBE news            $ redis-cli -p 6380 PUBLISH news hello
//
// --trace FILE: when it ends (SIGTERM, SIGINT), it writes what its tasks did last (runnel/trace.hpp), as in
// runtime/README.md.
//
// Each client has two tasks. One reads requests and carries them out; the other writes what has gathered in
// the client's outbox, and sleeps while that is empty. Nobody waits for a client that reads slowly: publishers
// put messages in its outbox and go on, and when that is full the oldest go, or the client does.
//
//   client ──▶ read ──▶ session ──▶ broker ──▶ outboxes of subscribers
//   client ◀── write ◀── outbox ◀── (its own replies, and the messages of others)
//
// All that is not I/O stands in files of its own, which know nothing of runnel: resp (the protocol), session
// (commands), broker (who listens to what), outbox (what is to be sent), glob, message, info.
#pragma once

#include <runnel/task.hpp>
#include <runnel/tcp.hpp>

#include "outbox.hpp"

namespace pubsub {

/// Serves clients until the runtime stops: takes no new ones then, reads no more, lets each client have what
/// is queued for it, and returns when all are gone.
runnel::task<> serve(outbox_options queues, runnel::tcp_listener listener);
}
