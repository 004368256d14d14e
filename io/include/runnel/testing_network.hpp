// testing_network: what a test does to the simulated network while its program runs.
//
//   rn::testing::cut(listener.local_address());      // a partition: nothing passes, in neither direction
//   co_await rn::sleep_for(30s);
//   rn::testing::heal(listener.local_address());     // what waited is sent anew
//
// The program under test, or the test around it, calls these in a simulation (testing.hpp); elsewhere they abort.
// An address names the connections that have it at one of their ends: that of a listener all that were made
// through it, that of a client (tcp_stream::local_address) his alone. Settings for the whole run, latency, small
// buffers, resets by chance, are in testing::network.
#pragma once

#include <chrono>
#include <string_view>
#include <system_error>
#include <vector>

#include "address.hpp"

namespace runnel::testing {

/// Nothing passes any more, in neither direction, and connects hang. A connection that waits 924 s for an
/// acknowledgment, a connect that waits 127 s, ends with ETIMEDOUT, as on Linux. Datagrams are lost.
void cut(const address& at);

/// Undoes cut(): what was written meanwhile arrives, connects are tried again within seconds. With neither
/// end cut any more, that is.
void heal(const address& at);

/// Resets the connections that there are: both ends get ECONNRESET, what is under way is lost.
void reset_all(const address& at);

/// The other side of these connections is gone and has not said so, for both of their ends: what is written is
/// swallowed until the buffer is full, nothing ever arrives. New connections are as usual.
void vanish(const address& at);

/// What resolve() answers for this name from now on, `delay` after it was asked: these addresses, in this order, with
/// whatever port is asked for. A name that nothing was said of is not found; "localhost" is the loopback's.
void set_name(std::string_view name, std::vector<address> addresses, std::chrono::nanoseconds delay = {});
/// That it fails: make_error_code(resolve_errc::temporary_failure), after 10 s, is a name server that never answers.
void set_name_error(std::string_view name, std::error_code why, std::chrono::nanoseconds delay = {});
void forget_name(std::string_view name);
}
