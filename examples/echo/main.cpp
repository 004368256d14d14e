// The program around the echo server: its options, and how it ends.
#include "echo.hpp"

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
    std::fprintf(stderr, "echo: %s\n", why.c_str());
    return 1;
}

rn::task<> serve(rn::tcp_listener listener, echo::statistics& served) {
    std::printf("listening on %s\n", to_string(listener.local_address()).c_str());
    std::fflush(stdout);
    co_await echo::serve(std::move(listener), served);
}

int run(const std::string& listen, unsigned workers) {
    auto listener = rn::tcp_listener::bind(listen);
    if (!listener) return fail("cannot listen on " + listen + ": " + listener.error().message());
    echo::statistics served;
    const auto how = rn::options().name("echo").workers(workers);
    const int status = rn::run(how, serve, std::move(*listener), rn::borrow(served));
    std::printf("served %llu connections, %llu bytes\n", static_cast<unsigned long long>(served.connections),
                static_cast<unsigned long long>(served.bytes));
    return status;
}
}

int main(int argc, char** argv) try {
    std::string listen = "127.0.0.1:7777";
    unsigned workers = 0;
    CLI::App app("A TCP server that sends back what it gets.", "echo");
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
