// The categories of TLS's errors, and which of OpenSSL's they are.
#include "tls_errors.hpp"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include <runnel/tls_context.hpp>

#include <iterator>

namespace runnel {

namespace {

// In the order of tls_errc, whose first is 1.
constexpr const char* texts[] = {
    "the connection has ended without a farewell: bytes may be missing",
    "the certificate is another host's",
    "the certificate has expired",
    "the certificate is not valid yet",
    "the certificate is self-signed",
    "the certificate's authority is not trusted",
    "the certificate is refused",
    "the peer asks for answers and takes none",
};
static_assert(std::size(texts) == static_cast<std::size_t>(tls_errc::flooded));

class tls_category_type final : public std::error_category {
public:
    const char* name() const noexcept override { return "tls"; }
    std::string message(int value) const override {
        const auto place = static_cast<std::size_t>(value) - 1;
        return place < std::size(texts) ? texts[place] : "unknown error";
    }
};

class openssl_category_type final : public std::error_category {
public:
    const char* name() const noexcept override { return "openssl"; }
    std::string message(int value) const override {
        const char* const reason = ERR_reason_error_string(static_cast<unsigned>(value));
        return reason != nullptr ? reason : "error " + std::to_string(static_cast<unsigned>(value));
    }
};
}

const std::error_category& tls_category() noexcept {
    static const tls_category_type the_one;
    return the_one;
}

const std::error_category& openssl_category() noexcept {
    static const openssl_category_type the_one;
    return the_one;
}

// The oldest entry of the queue is the cause; the others say on whose behalf it was.
std::error_code detail::take_openssl_error() noexcept {
    const unsigned long error = ERR_get_error();
    ERR_clear_error();
    if (error == 0) return std::make_error_code(std::errc::not_enough_memory);
    if (ERR_SYSTEM_ERROR(error)) return {ERR_GET_REASON(error), std::generic_category()};
    if (ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE)
        return std::make_error_code(std::errc::not_enough_memory);
    return {static_cast<int>(error), openssl_category()};
}

std::error_code detail::certificate_error(long verified) noexcept {
    switch (verified) {
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH:
            return tls_errc::wrong_host;
        case X509_V_ERR_CERT_HAS_EXPIRED:
            return tls_errc::expired;
        case X509_V_ERR_CERT_NOT_YET_VALID:
            return tls_errc::not_yet_valid;
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
            return tls_errc::self_signed;
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        case X509_V_ERR_CERT_UNTRUSTED:
            return tls_errc::unknown_authority;
        default:
            return tls_errc::certificate_refused;
    }
}
}
