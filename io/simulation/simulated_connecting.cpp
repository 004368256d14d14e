// How simulated connections come about, and what a test does to them; see simulated_network.hpp, whose steps of
// connecting are named here, and runnel/testing_network.hpp.
#include <algorithm>
#include <cerrno>

#include <runnel/detail/check.hpp>
#include <runnel/resolve.hpp>
#include <runnel/testing_network.hpp>

#include "simulated_network.hpp"

namespace runnel::detail {

namespace {
constexpr nanoseconds_t second = 1'000'000'000;
constexpr nanoseconds_t connect_time = 127 * second;  // tcp_syn_retries = 6
}

// --- Connecting ------------------------------------------------------------------------------------

int simulated_network::begin_connect(simulated_request& request, simulated_socket& socket) {
    if (socket.is == simulated_socket::connected) return -EISCONN;
    if (socket.is != simulated_socket::fresh) return -EINVAL;
    if (is_local(socket.local)) return begin_local_connect(request, socket);
    address to;
    to.assign(request.action->data, request.action->bytes);
    to = destination(to);
    if (to.is_ipv4() != socket.local.is_ipv4()) return -EAFNOSUPPORT;
    if (const int status = sockets_.bind_for(socket, to); status < 0) return status;
    socket.is = simulated_socket::connecting;
    note(what::asked, to.port(), socket.local.port());
    const wish one{&request, request.serial, socket.local, to, second};
    if (strikes(how().refusals()))
        answer(one, ECONNREFUSED);
    else
        send_wish(one);
    return 0;
}

void simulated_network::send_wish(const wish& one) {
    at(now() + latency(), [this, one] {
        if (!one.over()) wish_arrives(one);
    });
}

/// Step 1.
void simulated_network::wish_arrives(const wish& one) {
    if (is_cut(one.from, one.to)) return send_wish_again(one);
    const std::vector<simulated_socket*> all = sockets_.listeners(one.to);
    if (all.empty()) return answer(one, ECONNREFUSED);
    simulated_socket& listener = *all[choose(static_cast<std::uint32_t>(all.size()))];
    if (is_cut(one.from, listener.local) || listener.to_accept.size() > listener.backlog)
        return send_wish_again(one);
    queue(one, listener);
}

void simulated_network::send_wish_again(wish one) {
    if (one.pause == second) at(now() + connect_time, [this, one] { connect_ends(one, ETIMEDOUT); });
    const nanoseconds_t pause = one.pause;
    one.pause *= 2;
    at(now() + pause, [this, one] {
        if (!one.over()) wish_arrives(one);
    });
}

/// Step 2.
void simulated_network::queue(const wish& one, simulated_socket& listener) {
    const address seen_from = as_seen_by(listener.local, one.from);
    const address seen_as = as_seen_by(listener.local, one.to);
    const auto number = static_cast<std::uint32_t>(connections_.size());
    simulated_connection& made = connections_.emplace_back(
        static_cast<simulated_medium&>(*this), number, one.from, one.to, seen_from, seen_as, listener.local);
    simulated_socket& socket = *one.request->on;
    socket.stream = &made.near;
    made.near.holder = &socket;
    const nanoseconds_t known = now() + made.latency();
    made.far.send_not_before(known);
    at(known, [this, one, &made] {
        if (!made.passable()) at(now() + connect_time, [this, one] { connect_ends(one, ETIMEDOUT); });
        made.when_passable([this, one] { connect_ends(one, 0); });
    });
    listener.to_accept.push_back(&made.far);
    try_waiting(listener);
}

void simulated_network::answer(const wish& one, int error) {
    at(now() + latency(), [this, one, error] { connect_ends(one, error); });
}

void simulated_network::connect_ends(const wish& one, int error) {
    if (one.over()) return;  // step 3 when its descriptor is closed
    note(error != 0 ? what::refused : what::connected, one.from.port(), static_cast<std::uint64_t>(error));
    if (keeps_log()) {
        const char* how = error == 0 ? "connected" : error == ECONNREFUSED ? "refused" : "given up";
        log(text_of(one.from) + " -> " + text_of(one.to) + ": " + how);
    }
    simulated_socket& socket = *one.request->on;
    std::erase(socket.out, one.request);
    if (error == 0) socket.is = simulated_socket::connected;
    end(*one.request, error);
}

void simulated_network::refuse_queued(simulated_socket& listener) {
    for (stream_end* each : std::exchange(listener.to_accept, {})) {
        each->abort(false);
        each->close();
    }
}

// --- What is done to it ----------------------------------------------------------------------------

bool simulated_network::is_cut(const address& a, const address& b) const noexcept {
    return std::any_of(cuts_.begin(), cuts_.end(), [&](const address& cut) { return cut == a || cut == b; });
}

template <class Act>
void simulated_network::for_connections(const address& at, const char* done, Act act) {
    note(what::done, at.port(), 0);
    if (keeps_log()) log(to_string(at) + " " + done);
    for (simulated_connection& each : connections_)
        if (each.concerns(at)) act(each);
}

void simulated_network::cut(const address& at) {
    if (!is_cut(at, at)) cuts_.push_back(at);
    for_connections(at, "is cut off", [](simulated_connection& each) { each.cut(); });
}

void simulated_network::heal(const address& at) {
    std::erase(cuts_, at);
    for_connections(at, "is connected again", [&](simulated_connection& each) {
        const bool still = std::any_of(cuts_.begin(), cuts_.end(),
                                       [&](const address& other) { return each.concerns(other); });
        if (!still) each.heal();
    });
}

void simulated_network::reset_all(const address& at) {
    for_connections(at, "gets its connections reset", [](simulated_connection& each) { each.reset_now(); });
}

void simulated_network::vanish(const address& at) {
    for_connections(at, "has vanished", [](simulated_connection& each) { each.vanish(); });
}
}

namespace runnel::testing {

namespace {
detail::simulated_network& network_here() {
    detail::simulated_world* world = detail::current_world();
    detail::check(world != nullptr, "testing: the network is only that of a simulation");
    return static_cast<detail::simulated_network&>(*world);  // there is no other world
}
}

void cut(const address& at) { network_here().cut(at); }
void heal(const address& at) { network_here().heal(at); }
void reset_all(const address& at) { network_here().reset_all(at); }
void vanish(const address& at) { network_here().vanish(at); }

void set_name(std::string_view name, std::vector<address> addresses, std::chrono::nanoseconds delay) {
    if (addresses.empty()) return set_name_error(name, make_error_code(resolve_errc::no_address), delay);
    network_here().hosts().set(name, {std::move(addresses), delay.count()});
}
void set_name_error(std::string_view name, std::error_code why, std::chrono::nanoseconds delay) {
    detail::check(static_cast<bool>(why), "testing: a name fails with an error, not with none");
    network_here().hosts().set(name, {why, delay.count()});
}
void forget_name(std::string_view name) { network_here().hosts().forget(name); }
}
