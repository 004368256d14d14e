// tls_session: OpenSSL between our two queues; see the header for its rules (T1 to T4).
#include <runnel/detail/tls_session.hpp>

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include <runnel/detail/check.hpp>
#include <runnel/detail/datagrams.hpp>

#include "tls_errors.hpp"
#include "tls_queues.hpp"
#include "tls_settings.hpp"

namespace runnel::detail {

namespace {

constexpr std::size_t encrypted_at_once = 64 * 1024;
constexpr std::size_t record_max = 16 * 1024;
constexpr std::size_t answers_max = 16 * 1024;  // of a reader, while nobody writes: flooded

bool is_address(const std::string& host) noexcept {
    unsigned char bytes[16];
    return inet_pton(AF_INET, host.c_str(), bytes) == 1 || inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}
}

struct tls_connection {
    explicit tls_connection(const tls_context& made_of) noexcept : context(made_of) {}
    tls_connection(const tls_connection&) = delete;
    tls_connection& operator=(const tls_connection&) = delete;
    ~tls_connection();

    std::error_code make() noexcept;
    std::error_code expect(std::string_view name);
    /// What a call of OpenSSL's that has failed means; under the same lock, at once.
    tls_step reason(int returned) noexcept;
    std::error_code certificate_or_other() noexcept;

    const tls_context context;
    tls_queues queues;  // before ssl, whose BIO they are
    SSL* ssl = nullptr;
    std::string host;  // of the server; a client has none

    std::mutex lock;  // of each call of OpenSSL with ssl, and of all but `sending`
    bool transport_ended = false;
    bool has_said_end = false;     // we
    std::error_code read_failure;  // T3
    std::error_code fatal;         // T3, of both directions
    bool at_work[2] = {false, false};

    std::string sending;   // the writer's
    std::size_t gone = 0;  // of sending
};

// A session of a connection that was not ended by both could not be gone on with, for OpenSSL; TLS has no such rule.
tls_connection::~tls_connection() {
    if (ssl == nullptr) return;
    if (!fatal) SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(ssl);
}

std::error_code tls_connection::make() noexcept {
    ERR_clear_error();
    ssl = SSL_new(context.settings()->context.get());
    BIO* const bio = ssl != nullptr ? make_bio(queues) : nullptr;
    if (bio == nullptr) return take_openssl_error();
    SSL_set_bio(ssl, bio, bio);
    SSL_set_app_data(ssl, this);
    if (context.settings()->is_client)
        SSL_set_connect_state(ssl);
    else
        SSL_set_accept_state(ssl);
    return {};
}

/// C1; and SNI, which is for names only.
std::error_code tls_connection::expect(std::string_view name) {
    if (name.ends_with('.')) name.remove_suffix(1);
    const bool verifies = context.settings()->verifies_peer;
    if (name.find('\0') != name.npos || (name.empty() && verifies))
        return std::make_error_code(std::errc::invalid_argument);
    host = name;
    if (host.empty()) return {};
    X509_VERIFY_PARAM* const rules = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    const bool address = is_address(host);
    if (!address && SSL_set_tlsext_host_name(ssl, host.c_str()) != 1) return take_openssl_error();
    if (verifies) {
        const int set = address ? X509_VERIFY_PARAM_set1_ip_asc(rules, host.c_str())
                                : X509_VERIFY_PARAM_set1_host(rules, host.data(), host.size());
        if (set != 1) return take_openssl_error();
    }
    if (const ssl_session_pointer before = context.settings()->take(host)) SSL_set_session(ssl, before.get());
    return {};
}

std::error_code tls_connection::certificate_or_other() noexcept {
    const long verified = SSL_get_verify_result(ssl);
    const bool of_certificate = ERR_GET_REASON(ERR_peek_error()) == SSL_R_CERTIFICATE_VERIFY_FAILED;
    const std::error_code other = take_openssl_error();
    return of_certificate && verified != X509_V_OK ? certificate_error(verified) : other;
}

tls_step tls_connection::reason(int returned) noexcept {
    switch (SSL_get_error(ssl, returned)) {
        case SSL_ERROR_WANT_READ:
            if (!transport_ended) return {0, true};
            return read_failure = tls_errc::truncated;
        case SSL_ERROR_ZERO_RETURN:
            return read_failure = errc::end_of_stream;
        default:
            return fatal = certificate_or_other();
    }
}

int keep_session(SSL* of, SSL_SESSION* session) noexcept {
    const auto& connection = *static_cast<tls_connection*>(SSL_get_app_data(of));
    if (connection.host.empty() || SSL_SESSION_is_resumable(session) == 0) return 0;
    try {
        SSL_SESSION_up_ref(session);
        connection.context.settings()->keep(connection.host, ssl_session_pointer(session));
    } catch (const std::bad_alloc&) {  // nothing is kept then
    }
    return 0;  // its own reference stays OpenSSL's
}

result<tls_session> tls_session::client(const tls_context& of, std::string_view host) {
    check(of.settings() != nullptr && of.settings()->is_client,
          "tls_stream::connect: not a client's context");
    tls_session made(new tls_connection(of));
    if (const auto failed = made.of_->make()) return failed;
    if (const auto failed = made.of_->expect(host)) return failed;
    return made;
}

result<tls_session> tls_session::server(const tls_context& of) {
    check(of.settings() != nullptr && !of.settings()->is_client,
          "tls_stream::accept: not a server's context");
    tls_session made(new tls_connection(of));
    if (const auto failed = made.of_->make()) return failed;
    return made;
}

tls_session::~tls_session() { delete of_; }

tls_step tls_session::handshake() noexcept {
    const std::scoped_lock locked(of_->lock);
    ERR_clear_error();
    const int done = SSL_do_handshake(of_->ssl);
    if (done == 1) return {0, false};
    return of_->reason(done);
}

bool tls_session::has_only_tickets() const noexcept {
    const std::scoped_lock locked(of_->lock);
    const SSL* const at = of_->ssl;
    return SSL_is_init_finished(at) == 1 && SSL_is_server(at) == 1 && SSL_version(at) >= TLS1_3_VERSION;
}

std::string tls_session::explain(std::error_code why) const {
    std::string text = "TLS with " + (of_->host.empty() ? std::string("a client") : of_->host) + ": ";
    if (why == tls_errc::truncated) return text + "the peer has closed the connection in the handshake";
    text += why.message();
    const std::scoped_lock locked(of_->lock);
    const long verified = SSL_get_verify_result(of_->ssl);
    if (why.category() != tls_category() || verified == X509_V_OK) return text;
    return text + " (" + X509_verify_cert_error_string(verified) + ")";
}

tls_step tls_session::read(std::span<std::byte> to) noexcept {
    const std::scoped_lock locked(of_->lock);
    if (of_->fatal) return of_->fatal;
    if (of_->read_failure) return of_->read_failure;
    ERR_clear_error();
    std::size_t got = 0;
    const int done = SSL_read_ex(of_->ssl, to.data(), to.size(), &got);
    if (of_->queues.produced.size() > answers_max) return of_->fatal = tls_errc::flooded;
    if (done == 1) return {got, false};
    return of_->reason(done);
}

result<chunk> tls_session::read_chunk() noexcept {
    std::byte* const leased = lease_buffer();
    if (leased == nullptr) return std::make_error_code(std::errc::not_enough_memory);
    const tls_step step = read({leased, buffer_pool::buffer_bytes});
    chunk made = make_chunk::of(leased, step.bytes);
    if (step.error) return step.error;
    if (step.wants_more) return make_chunk::of(nullptr, 0);
    return made;
}

std::error_code tls_session::feed(std::span<const std::byte> received) noexcept {
    const std::scoped_lock locked(of_->lock);
    try {
        of_->queues.feed(received);
    } catch (const std::bad_alloc&) {  // these bytes are lost, and with them the connection
        return of_->fatal = std::make_error_code(std::errc::not_enough_memory);
    }
    return {};
}

void tls_session::feed_end() noexcept {
    const std::scoped_lock locked(of_->lock);
    of_->transport_ended = true;
}

tls_step tls_session::encrypt(std::span<const std::byte> from) noexcept {
    const std::scoped_lock locked(of_->lock);
    if (of_->fatal) return of_->fatal;
    if (of_->has_said_end) return std::make_error_code(std::errc::broken_pipe);
    ERR_clear_error();
    std::size_t done = 0;
    free_string(of_->sending);
    for (std::size_t most = std::min(from.size(), encrypted_at_once); done < most;) {
        std::size_t taken = 0;
        const int wrote =
            SSL_write_ex(of_->ssl, from.data() + done, std::min(most - done, record_max), &taken);
        if (wrote != 1) {
            of_->fatal = of_->certificate_or_other();
            if (done == 0) return of_->fatal;
            break;  // what is encrypted counts; the next call tells
        }
        done += taken;
    }
    of_->sending.swap(of_->queues.produced);  // at once: what stays in there counts as a reader's answers
    of_->gone = 0;
    return {done, false};
}

std::error_code tls_session::encrypt_end() noexcept {
    const std::scoped_lock locked(of_->lock);
    if (of_->fatal) return of_->fatal;
    if (std::exchange(of_->has_said_end, true)) return {};
    ERR_clear_error();
    if (SSL_in_init(of_->ssl)) SSL_do_handshake(of_->ssl);  // new keys are due: they come first
    if (SSL_shutdown(of_->ssl) < 0) return of_->fatal = take_openssl_error();
    return {};
}

std::span<const std::byte> tls_session::outgoing() noexcept {
    tls_connection& at = *of_;
    if (at.gone == at.sending.size()) {
        free_string(at.sending);
        at.gone = 0;
        const std::scoped_lock locked(at.lock);
        at.sending.swap(at.queues.produced);
    }
    return std::as_bytes(std::span(at.sending)).subspan(at.gone);
}

void tls_session::sent(std::size_t bytes) noexcept { of_->gone += bytes; }

std::error_code tls_session::update_keys() noexcept {
    const std::scoped_lock locked(of_->lock);
    ERR_clear_error();
    if (SSL_key_update(of_->ssl, SSL_KEY_UPDATE_REQUESTED) != 1) return take_openssl_error();
    return {};
}

std::string_view tls_session::alpn() const noexcept {
    const unsigned char* name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(of_->ssl, &name, &size);
    return {reinterpret_cast<const char*>(name), size};
}

std::string_view tls_session::version() const noexcept { return SSL_get_version(of_->ssl); }

bool tls_session::resumed() const noexcept { return SSL_session_reused(of_->ssl) == 1; }

std::string tls_session::peer_subject() const {
    const std::scoped_lock locked(of_->lock);
    const X509* const peer = SSL_get0_peer_certificate(of_->ssl);
    if (peer == nullptr) return {};
    const std::unique_ptr<BIO, freed_by<BIO_free>> text(BIO_new(BIO_s_mem()));
    if (!text) throw std::bad_alloc();
    X509_NAME_print_ex(text.get(), X509_get_subject_name(peer), 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
    char* first = nullptr;
    const long size = BIO_get_mem_data(text.get(), &first);
    return {first, static_cast<std::size_t>(size)};
}

void tls_session::begin(side of) {
    check(of_ != nullptr, "tls_stream: used after it was moved");
    const std::scoped_lock locked(of_->lock);
    bool& busy = of_->at_work[static_cast<unsigned>(of)];
    check(!busy, of == side::reader ? "tls_stream: two tasks read it" : "tls_stream: two tasks write it");
    busy = true;
}

void tls_session::end(side of) noexcept {
    const std::scoped_lock locked(of_->lock);
    of_->at_work[static_cast<unsigned>(of)] = false;
}
}
