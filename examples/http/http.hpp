// http: an HTTP/1.1 server that says hello and sends bodies back.
//
//   $ examples/run http --listen 127.0.0.1:8080        $ curl http://127.0.0.1:8080/
//                                                      $ curl --data-binary @file http://127.0.0.1:8080/echo
//
// What it shows is a protocol over buffered_reader: one function reads a request, line by line, one answers it, and a
// loop does so for as long as the connection is kept. serve() stands around it.
//
//   1  the request line and the headers, as lines. What is no HTTP/1 is answered with 400 and closed;
//   2  GET / answers hello, whatever is sent to /echo comes back, anything else is answered with 404;
//   3  a body is passed on in parts as it comes, whatever its length: what the client does not read, we do not either.
//      What we have no use for is read and thrown away;
//   4  the next request, perhaps sent before its answer was read; unless the client said "Connection: close", or we
//      are asked to finish.
//
// Bodies have a Content-Length; chunked ones are answered with 411. For more of HTTP take a library.
#pragma once

#include <runnel/serve.hpp>
#include <runnel/task.hpp>
#include <runnel/tcp.hpp>

#include <atomic>
#include <cstdint>

namespace http {

struct statistics {
    std::atomic<std::uint64_t> requests{0};
};

/// Serves until the runtime begins to stop or the listener is closed, and what runs then to its end, as
/// runnel::serve(). Returns that one's report.
runnel::task<runnel::serve_report> serve(runnel::tcp_listener listener, statistics& served);
}
