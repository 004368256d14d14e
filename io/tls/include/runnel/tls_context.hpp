// tls_context: what the connections of a program have in common: whom they trust, who they are, what they speak.
//
//   auto trusting = rn::tls_context::client();                                  // the system's certificates
//   auto shop = rn::tls_context::server(rn::tls_options().certificate("chain.pem", "key.pem"));
//   if (!shop) return log(shop.error().message());
//
//   C1  a client verifies, unless it is told not to: the chain, its dates, and the name that was asked for;
//   C2  nothing older than TLS 1.2, no renegotiation, no compression;
//   C3  a context does not change once it is made, so that any number of connections on any thread share it; what it
//       keeps of them, tickets to resume a session with, is behind its own lock.
//
// Files are read when it is made, by plain calls that block: make it before the work begins, or by blocking().
#pragma once

#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <runnel/result.hpp>

namespace runnel {

/// Why a connection was refused, or is no more. explain() of a handshake says it in more words.
enum class tls_errc {
    truncated = 1,        // the transport has ended without the peer's farewell: bytes may be missing
    wrong_host,           // the certificate is another host's
    expired,              // it is no longer valid
    not_yet_valid,        // it is not valid yet
    self_signed,          // nobody but itself vouches for it
    unknown_authority,    // who vouches for it is nobody whom we trust
    certificate_refused,  // any other fault in it
    flooded,              // the peer makes us answer, again and again, and takes nothing
};
const std::error_category& tls_category() noexcept;
inline std::error_code make_error_code(tls_errc code) noexcept {
    return {static_cast<int>(code), tls_category()};
}

/// The errors of OpenSSL that are no other's: alerts of the peer, faults in files. The numbers are ERR_get_error()'s.
const std::error_category& openssl_category() noexcept;
}

template <>
struct std::is_error_code_enum<runnel::tls_errc> : std::true_type {};

namespace runnel {

/// What a context is made of. Each setter returns the object.
class tls_options {
public:
    /// Trust those in this PEM file, and not the system's.
    tls_options& ca_file(std::string path) { return ca_file_ = std::move(path), *this; }
    /// Who we are: our certificate with those that vouch for it, and its key, from PEM files. A server needs them.
    tls_options& certificate(std::string chain_file, std::string key_file) {
        return chain_file_ = std::move(chain_file), key_file_ = std::move(key_file), *this;
    }
    /// The protocols that we speak inside (ALPN), the best first.
    tls_options& alpn(std::vector<std::string> protocols) { return alpn_ = std::move(protocols), *this; }
    /// Default: a client does (C1), a server asks nobody for a certificate. A server that does takes none without.
    tls_options& verify_peer(bool on) noexcept { return verify_ = on ? yes : no, *this; }

    const std::string& ca_file() const noexcept { return ca_file_; }
    const std::string& chain_file() const noexcept { return chain_file_; }
    const std::string& key_file() const noexcept { return key_file_; }
    const std::vector<std::string>& alpn() const noexcept { return alpn_; }
    bool verify_peer(bool if_unsaid) const noexcept { return verify_ == unsaid ? if_unsaid : verify_ == yes; }

private:
    enum choice : unsigned char { unsaid, yes, no };
    std::string ca_file_, chain_file_, key_file_;
    std::vector<std::string> alpn_;
    choice verify_ = unsaid;
};

namespace detail {
class tls_settings;
}

/// A handle: copies are the same context, which lives as long as a connection of it.
/// Threads  any.
class tls_context {
public:
    /// Returns  the context; no_such_file_or_directory and the like, an error of openssl_category() for a file that is
    ///          none of its kind or a key that is not the certificate's; invalid_argument for protocols that are none.
    /// Throws   std::bad_alloc. Blocks while files are read.
    static result<tls_context> client(const tls_options& how = {});
    /// The same; invalid_argument without a certificate.
    static result<tls_context> server(const tls_options& how);

    tls_context(const tls_context& other) noexcept;
    tls_context(tls_context&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
    tls_context& operator=(tls_context other) noexcept { return std::swap(of_, other.of_), *this; }
    ~tls_context();

    /// For the library.
    detail::tls_settings* settings() const noexcept { return of_; }

private:
    explicit tls_context(detail::tls_settings* of) noexcept : of_(of) {}
    detail::tls_settings* of_;
};
}
