// The program around the HTTP server: its options, and how it ends.
#include "http.hpp"

#include <runnel/borrow.hpp>
#include <runnel/runtime.hpp>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>
#include <utility>

namespace rn = runnel;

namespace {

int fail(const std::string& why) {
    std::fprintf(stderr, "http: %s\n", why.c_str());
    return 1;
}

rn::task<> serve(rn::tcp_listener listener, http::statistics& served) {
    std::printf("listening on %s\n", to_string(listener.local_address()).c_str());
    std::fflush(stdout);
    const rn::serve_report end = co_await http::serve(std::move(listener), served);
    std::printf("served %llu connections, %llu requests\n",
                static_cast<unsigned long long>(end.counts.accepted),
                static_cast<unsigned long long>(served.requests));
}

int run(const std::string& listen, unsigned workers) {
    auto listener = rn::tcp_listener::bind(listen);
    if (!listener) return fail("cannot listen on " + listen + ": " + listener.error().message());
    http::statistics served;
    const auto how = rn::options().name("http").workers(workers);
    return rn::run(how, serve, std::move(*listener), rn::borrow(served));
}
}

int main(int argc, char** argv) try {
    std::string listen = "127.0.0.1:8080";
    unsigned workers = 0;
    CLI::App app("An HTTP server: hello at /, and at /echo what it gets.", "http");
    app.add_option("--listen", listen, "Address and port; port 0 takes a free one")->capture_default_str();
    app.add_option("--workers", workers, "Threads; 0 is one per processor")->capture_default_str();
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        std::printf("%s", app.help().c_str());
        return 0;
    }
    return run(listen, workers);
} catch (const std::exception& error) {  // a bad option, or a system that lacks what the runtime needs
    return fail(error.what());
}
