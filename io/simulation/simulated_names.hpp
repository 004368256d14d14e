// simulated_names: the Unix addresses of a simulated machine.
//
// Inside the simulation every address is an `address`. A Unix one is of the system's family for them, with a number in
// the place of the port, and the names are here: so what goes by port and host (who listens there, is it taken) needs
// no second form.
//
//   1  each bind gets a new number, as each file gets an inode: who binds a name that was removed gets another;
//   2  a path outlives its socket, and then nobody listens there; an abstract name goes with its socket;
//   3  number 0 is unnamed.
//
// There are no directories, and no permissions: a path is a name.
#pragma once

#include <string>
#include <vector>

#include <runnel/address.hpp>
#include <runnel/detail/socket_calls.hpp>
#include <runnel/unix_address.hpp>

namespace runnel::detail {

bool is_local(const address& a) noexcept;
address unnamed_local() noexcept;

class simulated_names {
public:
    // As the system's calls: 0, or -errno.
    int bind(native_address to, address& made);
    int find(native_address to, address& found) const;
    int remove(native_address path);
    /// The socket that was bound to it is closed.
    void leave(const address& bound) noexcept;

    unix_address name_of(const address& a) const;

private:
    struct entry {
        unix_address name;
        bool there;
    };
    const entry* look_up(const unix_address& name) const noexcept;
    std::vector<entry> entries_;  // number n is at n - 1
};
}
