// tls_settings: what a tls_context is a handle of: OpenSSL's context, and the sessions that can be gone on with.
//
// A client gets tickets after the handshake, as it reads. The newest of each host is kept, and given out once: with
// TLS 1.3 one that is used twice would show that two connections are of the same client. At most `kept_max` hosts; when
// there are more, any is forgotten, for the price of that is a handshake in full.
#pragma once

#include <openssl/ssl.h>

#include <atomic>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include <runnel/tls_context.hpp>

namespace runnel::detail {

template <auto Free>
struct freed_by {
    template <class T>
    void operator()(T* what) const noexcept {
        Free(what);
    }
};
using ssl_context_pointer = std::unique_ptr<SSL_CTX, freed_by<SSL_CTX_free>>;
using ssl_session_pointer = std::unique_ptr<SSL_SESSION, freed_by<SSL_SESSION_free>>;

class tls_settings {
public:
    static constexpr std::size_t kept_max = 256;

    tls_settings(ssl_context_pointer made, bool client, bool verifies, std::string alpn) noexcept
        : context(std::move(made)), is_client(client), verifies_peer(verifies), protocols(std::move(alpn)) {}
    tls_settings(const tls_settings&) = delete;
    tls_settings& operator=(const tls_settings&) = delete;

    void keep(const std::string& host, ssl_session_pointer session);
    ssl_session_pointer take(const std::string& host) noexcept;

    const ssl_context_pointer context;
    const bool is_client;
    const bool verifies_peer;
    const std::string protocols;  // as ALPN writes them: each after its length

    std::atomic<std::size_t> handles = 1;

private:
    std::mutex lock_;
    std::map<std::string, ssl_session_pointer> sessions_;
};

/// What OpenSSL calls when there is a session to keep, the connection's host being known to tls_session only.
int keep_session(SSL* of, SSL_SESSION* session) noexcept;
}
