// simulated_hosts: what resolve() finds in a simulation: a table that the test fills, and never the system.
//
// "localhost" is there from the beginning; services are the few that a program may name without a machine around it.
// What a name has when it is asked for counts, not what it has when the delay is over: so does a resolver's cache.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include <runnel/detail/driver.hpp>

#include "../name_lookup.hpp"

namespace runnel::detail {

class simulated_hosts {
public:
    struct entry {
        entry(result<addresses> a, nanoseconds_t d) : answer(std::move(a)), delay(d) {}
        result<addresses> answer;
        nanoseconds_t delay;
    };

    simulated_hosts();
    void set(std::string_view name, entry what);
    void forget(std::string_view name);

    /// The answer, with the port of the service, and how long it takes.
    entry look_up(const name_query& what) const;

private:
    std::map<std::string, entry, std::less<>> names_;  // in lower case
};
}
