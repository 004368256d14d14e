// tls_context: how OpenSSL's context is made of our options.
#include <runnel/tls_context.hpp>

#include <openssl/err.h>

#include "tls_errors.hpp"
#include "tls_settings.hpp"

namespace runnel {

namespace detail {

void tls_settings::keep(const std::string& host, ssl_session_pointer session) {
    const std::scoped_lock locked(lock_);
    if (sessions_.size() >= kept_max && !sessions_.contains(host)) sessions_.erase(sessions_.begin());
    sessions_[host] = std::move(session);
}

ssl_session_pointer tls_settings::take(const std::string& host) noexcept {
    const std::scoped_lock locked(lock_);
    const auto found = sessions_.find(host);
    if (found == sessions_.end()) return nullptr;
    ssl_session_pointer session = std::move(found->second);
    sessions_.erase(found);
    return session;
}
}

namespace {

std::error_code invalid() noexcept { return std::make_error_code(std::errc::invalid_argument); }

/// Each name after its length; empty when one is too short or too long for that.
std::string alpn_list(const std::vector<std::string>& protocols) {
    std::string list;
    for (const std::string& name : protocols) {
        if (name.empty() || name.size() > 255) return {};
        list += static_cast<char>(name.size());
        list += name;
    }
    return list.size() <= 65535 ? list : std::string();
}

/// The server's choice: its own best that the client knows. None: the connection has no protocol, and may go on.
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                    unsigned offered_size, void* user) noexcept {
    const auto& ours = static_cast<const detail::tls_settings*>(user)->protocols;
    unsigned char* found = nullptr;
    const int answer =
        SSL_select_next_proto(&found, size, reinterpret_cast<const unsigned char*>(ours.data()),
                              static_cast<unsigned>(ours.size()), offered, offered_size);
    *chosen = found;
    return answer == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

bool use_files(SSL_CTX* of, const tls_options& how, bool verifies) noexcept {
    if (!how.chain_file().empty()) {
        if (SSL_CTX_use_certificate_chain_file(of, how.chain_file().c_str()) != 1) return false;
        if (SSL_CTX_use_PrivateKey_file(of, how.key_file().c_str(), SSL_FILETYPE_PEM) != 1) return false;
        if (SSL_CTX_check_private_key(of) != 1) return false;
    }
    if (!verifies) return true;
    if (how.ca_file().empty()) return SSL_CTX_set_default_verify_paths(of) == 1;
    return SSL_CTX_load_verify_file(of, how.ca_file().c_str()) == 1;
}

/// C2, and memory: an idle connection has no buffers.
bool set_rules(SSL_CTX* of) noexcept {
    SSL_CTX_set_options(of,
                        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(
        of, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return SSL_CTX_set_min_proto_version(of, TLS1_2_VERSION) == 1;
}

detail::tls_settings* make(const tls_options& how, bool client, std::error_code& why) {
    const bool verifies = how.verify_peer(client);
    std::string protocols = alpn_list(how.alpn());
    if ((!how.alpn().empty() && protocols.empty()) || (!client && how.chain_file().empty())) {
        why = invalid();
        return nullptr;
    }
    ERR_clear_error();
    detail::ssl_context_pointer made(SSL_CTX_new(client ? TLS_client_method() : TLS_server_method()));
    if (!made || !set_rules(made.get()) || !use_files(made.get(), how, verifies)) {
        why = detail::take_openssl_error();
        return nullptr;
    }
    const int client_too = client ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(made.get(), verifies ? SSL_VERIFY_PEER | client_too : SSL_VERIFY_NONE, nullptr);
    return new detail::tls_settings(std::move(made), client, verifies, std::move(protocols));
}

bool finish_client(detail::tls_settings& made) noexcept {
    SSL_CTX* const of = made.context.get();
    SSL_CTX_set_session_cache_mode(of, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(of, detail::keep_session);
    const std::string& list = made.protocols;
    return list.empty() || SSL_CTX_set_alpn_protos(of, reinterpret_cast<const unsigned char*>(list.data()),
                                                   static_cast<unsigned>(list.size())) == 0;
}

bool finish_server(detail::tls_settings& made) noexcept {
    SSL_CTX* const of = made.context.get();
    SSL_CTX_set_session_cache_mode(of, SSL_SESS_CACHE_OFF);  // tickets hold all that is needed
    if (!made.protocols.empty()) SSL_CTX_set_alpn_select_cb(of, choose_protocol, &made);
    static constexpr unsigned char name[] = "runnel";
    return SSL_CTX_set_session_id_context(of, name, sizeof name - 1) == 1;
}
}

result<tls_context> tls_context::client(const tls_options& how) {
    std::error_code why;
    tls_context made(make(how, true, why));
    if (why) return why;
    if (!finish_client(*made.of_)) return detail::take_openssl_error();
    return made;
}

result<tls_context> tls_context::server(const tls_options& how) {
    std::error_code why;
    tls_context made(make(how, false, why));
    if (why) return why;
    if (!finish_server(*made.of_)) return detail::take_openssl_error();
    return made;
}

tls_context::tls_context(const tls_context& other) noexcept : of_(other.of_) {
    // relaxed: `other` is there meanwhile, and keeps it alive; nothing is read because of the count.
    if (of_ != nullptr) of_->handles.fetch_add(1, std::memory_order_relaxed);
}

tls_context::~tls_context() {
    if (of_ != nullptr && of_->handles.fetch_sub(1) == 1) delete of_;
}
}
