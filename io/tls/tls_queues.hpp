// tls_queues: the bytes between OpenSSL and a transport, and the BIO by which OpenSSL sees them.
//
// Reading takes from `incoming` and asks to try again when that is empty; writing adds to `produced`, always. Neither
// ever ends: that the transport has ended is tls_session's to know. The memory goes as soon as a queue is empty.
#pragma once

#include <openssl/bio.h>

#include <cstddef>
#include <span>
#include <string>

namespace runnel::detail {

struct tls_queues {
    std::string incoming;
    std::size_t taken = 0;  // of incoming
    std::string produced;

    /// Throws std::bad_alloc.
    void feed(std::span<const std::byte> received);
};

/// Gives the memory back, too.
inline void free_string(std::string& what) noexcept { std::string().swap(what); }

/// A BIO on these, which must outlive it. Null: no memory.
BIO* make_bio(tls_queues& on) noexcept;
}
