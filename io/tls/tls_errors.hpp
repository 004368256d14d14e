// tls_errors: what OpenSSL says, as error codes.
#pragma once

#include <string>
#include <system_error>

namespace runnel::detail {

/// What the last call of this thread has failed with; empties the thread's queue of errors. not_enough_memory when it
/// holds none, for that is what OpenSSL says nothing of.
std::error_code take_openssl_error() noexcept;

/// Of an X509_V_ERR_…, which is no X509_V_OK.
std::error_code certificate_error(long verified) noexcept;
}
