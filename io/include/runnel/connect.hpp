// connect: a connection to a name: whichever of its addresses answers first ("happy eyeballs", RFC 8305).
//
//   auto peer = co_await rn::with_timeout(5s, rn::connect_to("example.org:443"));
//   if (!peer) co_return log(peer.explain());
//       // connect to example.org:443: connection refused
//       //   [2001:db8::1]:443: network is unreachable
//       //   192.0.2.1:443: connection refused
//
//   1  the name is looked up (resolve.hpp): addresses of both families, the best first;
//   2  they are put in turns: one of the first's family, one of the other, and so on, so that a machine whose IPv6
//      leads nowhere waits for one attempt, not for all of them;
//   3  an attempt is started, and the next 250 ms later; or at once, when one has failed;
//   4  the first that connects wins. The others are cancelled, and closed before this returns;
//   5  when all have failed, the most useful of their errors is the error, and all of them are told.
//
//   E1  at most one connection comes out; every other socket of the attempts is closed by then;
//   E2  the error says most of the peer: refused (there is a machine) before timed_out, and that before
//       unreachable (here is no way to this family at all); an error of ours (no descriptors) before all.
//
// Not taken: two lookups, one per family, the connects starting with whichever answer comes first (the rest of RFC
// 8305): getaddrinfo() asks for both at the same time, and sorts what it has got.
#pragma once

#include <chrono>
#include <source_location>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <runnel/result.hpp>
#include <runnel/task.hpp>

#include "address.hpp"
#include "tcp.hpp"

namespace runnel {

/// How to connect to a name.
class connect_options {
public:
    /// From one attempt to the next while none has ended (step 3). Default 250 ms.
    connect_options& attempt_delay(std::chrono::nanoseconds time) noexcept { return delay_ = time, *this; }
    connect_options& tcp(const tcp_options& how) noexcept { return tcp_ = how, *this; }

    std::chrono::nanoseconds attempt_delay() const noexcept { return delay_; }
    const tcp_options& tcp() const noexcept { return tcp_; }

private:
    std::chrono::nanoseconds delay_ = std::chrono::milliseconds(250);
    tcp_options tcp_;
};

/// What became of one address.
struct connect_failure {
    connect_failure(const address& where, std::error_code why) noexcept : to(where), error(why) {}
    address to;
    std::error_code error;
};

/// The connection; or why there is none.
class [[nodiscard]] connected : public result<tcp_stream> {
public:
    connected(tcp_stream&& peer, std::vector<connect_failure>&& failures) noexcept
        : result(std::move(peer)), failures_(std::move(failures)) {}
    connected(std::error_code why, std::vector<connect_failure>&& failures = {}) noexcept
        : result(why), failures_(std::move(failures)) {}

    /// The addresses that were tried and did not answer, in the order in which that was known: also of a connection.
    const std::vector<connect_failure>& failures() const noexcept { return failures_; }
    /// All of that in words: a line, and one more for each address. `what` is what was to be reached.
    std::string explain(std::string_view what = {}) const;

    /// The same with another error: what a with_timeout() around it makes of one that came too late.
    connected with_error(std::error_code other) noexcept { return {other, std::move(failures_)}; }

private:
    std::vector<connect_failure> failures_;
};

/// Connects to "example.org:443", or to anything else that resolve() takes.
/// Returns       the connection; the error of resolve(), or the most useful one of the attempts (E2).
/// Throws        std::bad_alloc.
/// Cancellation  a cancel point; lookup and attempts end at once, and are closed. A with_timeout() around it is for the
///               whole, and failures() then tells whom we were waiting for.
/// Threads       a task's. The text is copied by the call.
/// Cost          a lookup; a task and a socket for each attempt.
task<connected> connect_to(std::string_view name_and_port, const connect_options& how = {},
                           std::source_location at = std::source_location::current());
/// The same to addresses that are known: steps 2 to 5. invalid_argument when there are none.
task<connected> connect_to(std::vector<address> addresses, const connect_options& how = {},
                           std::source_location at = std::source_location::current());
}
