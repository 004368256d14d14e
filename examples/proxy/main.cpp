// The program around the proxy: its options, and how it ends.
#include "proxy.hpp"

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
    std::fprintf(stderr, "proxy: %s\n", why.c_str());
    return 1;
}

rn::task<> serve(rn::tcp_listener listener, std::string to, proxy::statistics& served) {
    std::printf("listening on %s\n", to_string(listener.local_address()).c_str());
    std::fflush(stdout);
    const rn::serve_report end = co_await proxy::serve(std::move(listener), to, served);
    const auto number = [](std::uint64_t of) { return static_cast<unsigned long long>(of); };
    std::printf("served %llu connections, %llu bytes there, %llu back; %llu found no target\n",
                number(end.counts.accepted), number(served.there), number(served.back),
                number(served.failed));
}

int run(const std::string& listen, std::string to, unsigned workers) {
    auto listener = rn::tcp_listener::bind(listen);
    if (!listener) return fail("cannot listen on " + listen + ": " + listener.error().message());
    proxy::statistics served;
    const auto how = rn::options().name("proxy").workers(workers);
    return rn::run(how, serve, std::move(*listener), std::move(to), rn::borrow(served));
}
}

int main(int argc, char** argv) try {
    std::string listen = "127.0.0.1:7000", to = "127.0.0.1:7777";
    unsigned workers = 0;
    CLI::App app("A TCP proxy: each connection to it becomes one to --to.", "proxy");
    app.add_option("--listen", listen, "Address and port; port 0 takes a free one")->capture_default_str();
    app.add_option("--to", to, "Name or address, and port")->capture_default_str();
    app.add_option("--workers", workers, "Threads; 0 is one per processor")->capture_default_str();
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        std::printf("%s", app.help().c_str());
        return 0;
    }
    return run(listen, std::move(to), workers);
} catch (const std::exception& error) {  // a bad option, or a system that lacks what the runtime needs
    return fail(error.what());
}
