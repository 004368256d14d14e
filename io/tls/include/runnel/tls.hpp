// tls: TLS over any stream: a stream again.
//
//   rn::task<> ask(rn::tls_context trusting) {
//     auto tcp = co_await rn::connect_to("example.org:443");
//     if (!tcp) co_return;
//     auto peer = co_await rn::tls_stream<>::connect(std::move(*tcp), trusting, "example.org");
//     if (!peer) co_return log(peer.explain());
//         // TLS with example.org: the certificate has expired (certificate has expired)
//     auto sent = co_await peer->write_all("GET / HTTP/1.0\r\nHost: example.org\r\n\r\n");
//     while (auto chunk = co_await peer->recv()) show(chunk->text());
//   }
//
// It works with buffered_reader and copy(), in simulation, and with with_timeout() around each operation. These are
// tasks, so no cases of a select: a task of its own reads, and sends what has come into a channel.
//
//   X1  one task reads and one task writes at a time, and they may be two: check();
//   X2  a read that is cancelled has taken nothing, and loses nothing;
//   X3  a write that is cancelled leaves the stream usable: bytes counts what was encrypted, and the rest of that is
//       sent before whatever is written next (or by shutdown_write()). So the peer gets just what was counted;
//   X4  end_of_stream means that the peer has said farewell (close_notify). A transport that ends without it is the
//       error tls_errc::truncated: somebody may have cut the connection.
//
// The algorithm is detail/tls_session.hpp; here are only its waits. Not taken: a base class for transports, with an
// allocation and a virtual call for each wait. What it costs here is these five loops per kind of transport.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <runnel/chunk.hpp>
#include <runnel/detail/half_close.hpp>
#include <runnel/result.hpp>
#include <runnel/task.hpp>
#include <runnel/tcp.hpp>
#include <runnel/transfer.hpp>

#include "detail/tls_session.hpp"
#include "tls_context.hpp"

namespace runnel {

/// What a handshake gives: the stream; or why there is none, with the reason in words.
template <class Stream>
class [[nodiscard]] tls_handshaken : public result<Stream> {
public:
    tls_handshaken(Stream&& made) noexcept : result<Stream>(std::move(made)) {}
    tls_handshaken(std::error_code why, std::string in_words) noexcept
        : result<Stream>(why), explanation_(std::move(in_words)) {}

    /// Empty when there is a stream.
    const std::string& explain() const noexcept { return explanation_; }

    /// The same with another error: what a with_timeout() around it makes of one that came too late.
    tls_handshaken with_error(std::error_code other) noexcept { return {other, std::move(explanation_)}; }

private:
    std::string explanation_;
};

/// TLS over a `Transport`: whatever has recv(), write_all(), shutdown_write() and close() as tcp_stream has. Move-only;
/// the destructor closes it. Over a `tcp_stream&` it works on a stream that is somebody else's, as serve()'s are, and
/// is gone before that.
/// Threads  as byte_stream: an ordinary object of one reading and one writing task, not moved while they wait.
template <class Transport = tcp_stream>
class tls_stream {
public:
    using handshaken = tls_handshaken<tls_stream>;

    /// The client's handshake. `host` is who the peer must be: a name or an address in digits.
    /// Returns       the stream; a tls_errc for a certificate that was refused, an alert of the peer, an error of the
    ///               transport, truncated when that has ended; invalid_argument for no host. Then the transport is
    ///               closed.
    /// Cancellation  a cancel point; the transport is closed.
    /// Cost          two round trips, or one and a half; about a millisecond of computing, in the task's worker.
    static task<handshaken> connect(Transport over, tls_context context, std::string host) {
        auto session = detail::tls_session::client(context, host);
        if (!session) {
            over.close();
            co_return handshaken(session.error(), "TLS with " + host + ": " + session.error().message());
        }
        co_return co_await shake(std::forward<Transport>(over), *std::move(session));
    }

    /// The server's. Who has many peers puts it into the peer's task, so that a slow one holds up nobody else.
    static task<handshaken> accept(Transport over, tls_context context) {
        auto session = detail::tls_session::server(context);
        if (!session) {
            over.close();
            co_return handshaken(session.error(), "TLS with a client: " + session.error().message());
        }
        co_return co_await shake(std::forward<Transport>(over), *std::move(session));
    }

    /// Reads at least one byte and at most `to` takes.
    /// Returns       how many; end_of_stream (X4); tls_errc::truncated; errors of the transport, as errc::closed after
    ///               close().
    /// Cancellation  a cancel point when it has to wait (X2).
    /// Cost          a frame; one wait of the transport for each part of a record (16 KiB at most) that comes alone.
    task<result<std::size_t>> read_some(std::span<std::byte> to) {
        const detail::tls_turn mine(session_, side::reader);
        if (to.empty()) co_return std::size_t{0};
        for (;;) {
            const detail::tls_step step = session_.read(to);
            if (step.error) co_return step.error;
            if (!step.wants_more) co_return step.bytes;
            const std::error_code failed = co_await receive(transport_, session_);
            if (failed) co_return failed;
        }
    }

    /// The same into leased memory, which is taken only when bytes are there.
    task<result<chunk>> recv() {
        const detail::tls_turn mine(session_, side::reader);
        for (;;) {
            auto got = session_.read_chunk();
            if (!got || !got->empty()) co_return got;
            const std::error_code failed = co_await receive(transport_, session_);
            if (failed) co_return failed;
        }
    }

    /// Writes all of it.
    /// Returns       how much was encrypted, and why not all; broken_pipe after shutdown_write(), and as the transport.
    /// Cancellation  a cancel point, also of nothing (X3).
    /// Cost          a frame, and buffers while it writes; one call of the transport for 64 KiB.
    task<transfer> write_all(std::span<const std::byte> from) {
        const detail::tls_turn mine(session_, side::writer);
        std::size_t done = 0;
        for (;;) {
            const std::error_code failed = co_await send(transport_, session_);
            if (failed || done == from.size()) co_return transfer(done, failed);
            const detail::tls_step step = session_.encrypt(from.subspan(done));
            if (step.error) co_return transfer(done, step.error);
            done += step.bytes;
        }
    }
    task<transfer> write_all(std::string_view from) { return write_all(std::as_bytes(std::span(from))); }

    /// Says farewell, and half-closes the transport: the peer reads the end of the stream after what was written, and
    /// we can go on reading.
    /// Returns       success; errors of the transport.
    /// Cancellation  a cancel point; to be called again then.
    task<result<>> shutdown_write() {
        const detail::tls_turn mine(session_, side::writer);
        std::error_code failed = co_await send(transport_, session_);
        if (!failed) failed = session_.encrypt_end();
        if (!failed) failed = co_await send(transport_, session_);
        if (!failed) failed = co_await detail::half_close(transport_);
        if (failed) co_return failed;
        co_return result<>();
    }

    /// Ends both directions of the transport, at once: so without farewell, for which shutdown_write() is.
    /// Threads  any, as long as the stream lives. Never waits.
    void close() noexcept { transport_.close(); }

    /// The next write begins with new keys, and asks the peer for new ones (TLS 1.3; an error before).
    result<> update_keys() noexcept { return session_.update_keys(); }

    /// The protocol that both speak (tls_options::alpn()), or nothing.
    std::string_view alpn() const noexcept { return session_.alpn(); }
    /// "TLSv1.3".
    std::string_view version() const noexcept { return session_.version(); }
    /// Was a session of before gone on with, without certificates?
    bool resumed() const noexcept { return session_.resumed(); }
    /// Who the peer is, by its certificate: "CN = example.org"; or nothing.
    std::string peer_subject() const { return session_.peer_subject(); }

    /// For its addresses, deadlines and options; not to read or write.
    Transport& transport() noexcept { return transport_; }

private:
    using side = detail::tls_session::side;

    tls_stream(Transport&& over, detail::tls_session&& session) noexcept
        : transport_(std::forward<Transport>(over)), session_(std::move(session)) {}

    static task<handshaken> shake(Transport over, detail::tls_session session) {
        for (;;) {
            const detail::tls_step step = session.handshake();
            if (session.has_only_tickets())
                co_return handshaken(tls_stream(std::forward<Transport>(over), std::move(session)));
            std::error_code failed = co_await send(over, session);  // an alert, too
            if (step.error) failed = step.error;
            if (!failed && !step.wants_more)
                co_return handshaken(tls_stream(std::forward<Transport>(over), std::move(session)));
            if (!failed) failed = co_await receive(over, session);
            if (failed) {
                over.close();  // now: this frame, with it, may live on until somebody else's end
                co_return handshaken(failed, session.explain(failed));
            }
        }
    }

    /// The end of the transport is the session's to judge (X4).
    static task<std::error_code> receive(Transport& from, detail::tls_session& session) {
        auto more = co_await from.recv();
        if (more) co_return session.feed({more->data(), more->size()});
        if (more.error() != errc::end_of_stream) co_return more.error();
        session.feed_end();
        co_return std::error_code();
    }

    /// What there is to send; in any case a cancel point.
    static task<std::error_code> send(Transport& to, detail::tls_session& session) {
        for (std::span<const std::byte> part = session.outgoing();; part = session.outgoing()) {
            const transfer done = co_await to.write_all(part);
            session.sent(done.bytes);
            if (!done) co_return done.error;
            if (done.bytes == part.size() && session.outgoing().empty()) co_return std::error_code();
        }
    }

    Transport transport_;
    detail::tls_session session_;
};
}
