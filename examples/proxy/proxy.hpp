// proxy: a TCP proxy: each connection to it becomes one to somebody else, and bytes go both ways.
//
//   $ examples/run proxy --listen 127.0.0.1:7000 --to example.org:80      $ curl -H 'Host: example.org' 127.0.0.1:7000
//
// copy_both() does the work: it passes on a half-close in either direction, and what one side does not read is not read
// from the other either.
#pragma once

#include <runnel/serve.hpp>
#include <runnel/task.hpp>
#include <runnel/tcp.hpp>

#include <atomic>
#include <cstdint>
#include <string>

namespace proxy {

struct statistics {
    std::atomic<std::uint64_t> there{0}, back{0};  // bytes: to the target, and from it
    std::atomic<std::uint64_t> failed{0};          // connections for which there was no target
};

/// Until the runtime begins to stop. `to` is a name or an address, with a port, looked up for each connection.
runnel::task<runnel::serve_report> serve(runnel::tcp_listener listener, const std::string& to,
                                         statistics& served);
}
