// tls_session: one connection's TLS, between bytes that are readable and bytes that are not. It waits for nothing.
//
//                 read() ◀── OpenSSL ◀── incoming ◀── feed()         what the transport has received
//                encrypt() ─▶ OpenSSL ─▶ produced ─▶ outgoing() ─▶   what the transport is to send
//
//   1  handshake() until it is done; after each step outgoing() is sent, and what comes is fed;
//   2  a reader calls read(), and feeds when that wants more;
//   3  a writer sends what outgoing() has, encrypts, and sends that; sent() says how much went.
//
//   T1  a reader never sends. What OpenSSL answers while it reads (new keys, an alert) waits for the writer's next
//       turn: RFC 8446 asks for no more, and two peers that both wait for room cannot hold each other up. So a
//       connection needs no lock that is held over a wait; there is a plain one around each step of OpenSSL;
//   T2  what was encrypted is sent, all of it and in order, before anything that is encrypted later: a writer that was
//       cancelled leaves the rest to the next;
//   T3  what has failed stays so: the same error again, for that direction;
//   T4  an idle connection holds no buffer but what OpenSSL keeps.
//
// OpenSSL sees the two queues through a BIO of ours. Not taken: its memory BIOs, which never give memory back.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <runnel/chunk.hpp>
#include <runnel/result.hpp>

#include "../tls_context.hpp"

namespace runnel::detail {

/// The end of a step: so many bytes; or more must come first; or why there will be none.
struct tls_step {
    tls_step(std::size_t moved, bool more) noexcept : bytes(moved), wants_more(more) {}
    tls_step(std::error_code why) noexcept : error(why) {}
    std::size_t bytes = 0;
    bool wants_more = false;
    std::error_code error;
};

struct tls_connection;

/// Move-only. Threads: one reader and one writer at a time, who say so by tls_turn.
class tls_session {
public:
    enum class side : unsigned char { reader, writer };

    /// `host` is who the peer must be, for SNI too: a name or an address; empty only where nobody verifies.
    static result<tls_session> client(const tls_context& of, std::string_view host);
    static result<tls_session> server(const tls_context& of);

    tls_session(tls_session&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
    tls_session& operator=(tls_session&& other) noexcept { return std::swap(of_, other.of_), *this; }
    ~tls_session();

    tls_step handshake() noexcept;
    /// It is done, and what outgoing() has can wait for the first write: the tickets of a server of TLS 1.3. So a
    /// server is done although the client reads nothing, and is not reset by one that leaves at once.
    bool has_only_tickets() const noexcept;
    /// Why the handshake has failed, with whom.
    std::string explain(std::error_code why) const;

    tls_step read(std::span<std::byte> to) noexcept;
    /// The same into leased memory; a chunk of no bytes: more must come first.
    result<chunk> read_chunk() noexcept;
    /// What the transport has received.
    std::error_code feed(std::span<const std::byte> received) noexcept;
    /// That the transport has ended: what is missing now never comes.
    void feed_end() noexcept;

    /// Encrypts of it what is worth a call of the transport. Only when outgoing() is empty.
    tls_step encrypt(std::span<const std::byte> from) noexcept;
    /// The farewell: close_notify. Once.
    std::error_code encrypt_end() noexcept;
    std::span<const std::byte> outgoing() noexcept;
    void sent(std::size_t bytes) noexcept;
    std::error_code update_keys() noexcept;

    std::string_view alpn() const noexcept;
    std::string_view version() const noexcept;
    bool resumed() const noexcept;
    std::string peer_subject() const;

private:
    friend class tls_turn;
    explicit tls_session(tls_connection* of) noexcept : of_(of) {}
    void begin(side of);
    void end(side of) noexcept;

    tls_connection* of_;
};

/// While one of them is at work: check() that nobody else does the same.
class tls_turn {
public:
    tls_turn(tls_session& of, tls_session::side which) : of_(of), which_(which) { of_.begin(which); }
    tls_turn(const tls_turn&) = delete;
    tls_turn& operator=(const tls_turn&) = delete;
    ~tls_turn() { of_.end(which_); }

private:
    tls_session& of_;
    tls_session::side which_;
};
}
