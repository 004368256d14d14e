// name_lookup: what resolve() (runnel/resolve.hpp, whose steps these are) is made of, with its seam for tests.
//
//   name_lookups  who is asked, and how many may ask at once (step 2). The process has one that asks the system; a test
//                 makes one whose name server never answers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <runnel/address.hpp>
#include <runnel/result.hpp>
#include <runnel/semaphore.hpp>
#include <runnel/task.hpp>

namespace runnel::detail {

using addresses = std::vector<address>;

struct name_query {
    name_query(std::string_view n, std::string_view s) : name(n), service(s) {}
    std::string name, service;
};

/// Blocks. Called on a thread of the pool; may throw.
using look_up_function = result<addresses> (*)(const name_query& what);

class name_lookups {
public:
    name_lookups(look_up_function ask, std::uint64_t at_once) : ask_(ask), places_(at_once) {
        places_.label("lookups of names");
    }
    /// Steps 1 to 4.
    task<result<addresses>> resolve(name_query what);

private:
    const look_up_function ask_;
    semaphore places_;
};

/// That of the process; never destroyed, for a lookup may outlive main() (N1).
name_lookups& system_lookups();
/// Its question: getaddrinfo().
result<addresses> ask_system(const name_query& what);

/// "name:service", "[v6]:service"; invalid_argument.
result<name_query> split_name(std::string_view name_and_port);
/// Step 1: what needs no lookup; else not_found. Errors of what can be no name at all.
result<address> in_digits(const name_query& what);
/// "443" -> 443; not_found when it is no number, unknown_service when it is no port.
result<std::uint16_t> port_in_digits(std::string_view text) noexcept;
}
