// See simulated_names.hpp.
#include "simulated_names.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include <runnel/detail/check.hpp>

namespace runnel::detail {

namespace {
unix_address from_native(native_address a) noexcept {
    unix_address made;
    made.assign(a.data, a.bytes);
    return made;
}

bool is_unix(native_address a) noexcept {
    sa_family_t family = AF_UNSPEC;
    if (a.bytes >= sizeof family) std::memcpy(&family, a.data, sizeof family);
    return family == AF_UNIX;
}
}

bool is_local(const address& a) noexcept { return is_unix({a.native(), sizeof(sa_family_t)}); }

address unnamed_local() noexcept {
    const sa_family_t family = AF_UNIX;
    address made;
    made.assign(&family, sizeof family);
    return made;
}

const simulated_names::entry* simulated_names::look_up(const unix_address& name) const noexcept {
    const auto found = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const entry& each) { return each.there && each.name == name; });
    return found != entries_.end() ? &*found : nullptr;
}

int simulated_names::bind(native_address to, address& made) {
    if (!is_unix(to)) return -EINVAL;
    check(entries_.size() < 65535, "simulation: more than 65,535 Unix addresses were bound");
    unix_address name = from_native(to);
    if (name.is_unnamed()) {
        char chosen[8];
        std::snprintf(chosen, sizeof chosen, "%05zx", entries_.size());
        name = unix_address::abstract(chosen).value();
    }
    if (look_up(name) != nullptr) return -EADDRINUSE;
    entries_.push_back({name, true});
    made = unnamed_local().with_port(static_cast<std::uint16_t>(entries_.size()));
    return 0;
}

int simulated_names::find(native_address to, address& found) const {
    if (!is_unix(to)) return -EINVAL;
    const unix_address name = from_native(to);
    if (name.is_unnamed()) return -EINVAL;
    const entry* there = look_up(name);
    if (there == nullptr) return name.is_abstract() ? -ECONNREFUSED : -ENOENT;
    found = unnamed_local().with_port(static_cast<std::uint16_t>(there - entries_.data() + 1));
    return 0;
}

int simulated_names::remove(native_address path) {
    address found;
    if (const int status = find(path, found); status < 0) return status;
    entries_[found.port() - 1U].there = false;
    return 0;
}

/// Rule 2.
void simulated_names::leave(const address& bound) noexcept {
    if (bound.port() == 0) return;
    entry& left = entries_[bound.port() - 1U];
    if (left.name.is_abstract()) left.there = false;
}

unix_address simulated_names::name_of(const address& a) const {
    return a.port() != 0 ? entries_[a.port() - 1U].name : unix_address();
}
}
