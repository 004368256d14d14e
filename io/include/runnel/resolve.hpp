// resolve: the addresses behind a name.
//
//   auto found = co_await rn::with_timeout(2s, rn::resolve("example.org:443"));
//   if (!found) co_return found.error();         // resolve_errc::not_found, temporary_failure, …, timed_out
//   for (const rn::address& each : *found) …     // of both families, the system's preference first
//
// The system's getaddrinfo() blocks for as long as name servers are silent, so it is called on a thread of the
// runtime's blocking pool:
//
//   1  an address in digits, and a port in digits, is an answer by itself: nobody is asked;
//   2  the task waits for one of 32 places, which are the process's: as many lookups run at once, whatever name
//      servers do, and the rest of the pool is left to others;
//   3  the lookup runs; the task waits for it. When that wait ends early (cancelled, or too late), the lookup runs on
//      by itself, and keeps its place until the system has given up;
//   4  in a simulation the answer comes from the test's table instead (testing_network.hpp), and the system is never
//      asked.
//
//   N1  a lookup owns its arguments and its place: it may outlive who asked, and its runtime.
//
// The places are of the process because what they protect is: there is one resolv.conf, and when its servers are
// dead they are so for every runtime. Not taken: a resolver of our own on UDP (it would have to know nsswitch,
// mDNS, search lists and systemd-resolved, or differ from every other program of the machine); a cache (the system
// has one where one is wanted, and knows how long an answer is good for).
#pragma once

#include <cstdint>
#include <string_view>
#include <system_error>
#include <vector>

#include <runnel/result.hpp>
#include <runnel/task.hpp>

#include "address.hpp"

namespace runnel {

/// Why a name has no addresses. What is wrong with the system rather than the name comes as its own errors.
enum class resolve_errc {
    not_found = 1,      // there is no such name
    no_address,         // the name exists, and has no address
    temporary_failure,  // no name server has answered: try again
    server_failure,     // a name server has answered that it cannot
    unknown_service,    // there is no such service, or its port is none
    invalid_name,       // no name: empty, too long, or with a zero byte in it
};

const std::error_category& resolve_category() noexcept;
inline std::error_code make_error_code(resolve_errc code) noexcept {
    return {static_cast<int>(code), resolve_category()};
}
}

template <>
struct std::is_error_code_enum<runnel::resolve_errc> : std::true_type {};

namespace runnel {

/// Looks up "example.org:443", "example.org:https", "192.0.2.1:80", "[2001:db8::1]:443".
/// Returns       at least one address, in the order in which they should be tried (RFC 6724); resolve_errc;
///               invalid_argument for a text without a port.
/// Throws        std::bad_alloc.
/// Cancellation  a cancel point, but for addresses in digits; ends the wait at once, not the lookup (step 3).
/// Order         those that wait for a place get it first come, first served.
/// Threads       a task's. The text is copied by the call.
/// Cost          a thread of the blocking pool while it runs; nothing of the kind for digits.
task<result<std::vector<address>>> resolve(std::string_view name_and_port);
/// The same of a name ("example.org", "2001:db8::1") and a service ("https") or port ("443").
task<result<std::vector<address>>> resolve(std::string_view name, std::string_view service);
task<result<std::vector<address>>> resolve(std::string_view name, std::uint16_t port);
}
