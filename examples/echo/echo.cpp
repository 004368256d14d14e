// One task accepts; each connection has its own.
#include "echo.hpp"

#include <runnel/borrow.hpp>
#include <runnel/scope.hpp>

#include <utility>

namespace rn = runnel;

namespace echo {
namespace {

rn::task<> talk(rn::tcp_stream peer, statistics& served) {
    ++served.connections;
    while (auto chunk = co_await peer.recv()) {  // an error when the peer has finished, or we have to
        if (!co_await peer.write_all(*chunk)) co_return;  // the peer is gone
        served.bytes += chunk->size();
    }
}
}

rn::task<> serve(rn::tcp_listener listener, statistics& served) {
    rn::task_set connections;
    while (auto peer = co_await listener.accept())
        connections.spawn(talk, std::move(*peer), rn::borrow(served));
    co_await connections.join();
}
}
