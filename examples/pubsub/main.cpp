// The program around the broker: options, the listener, and how it ends.
#include <fmt/format.h>

#include <runnel/runtime.hpp>
#include <runnel/tcp.hpp>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <exception>
#include <map>
#include <string>
#include <utility>

#include "pubsub.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;

namespace {

struct command_line {
    std::string listen = "127.0.0.1:6380";
    unsigned workers = 0;
    pubsub::outbox_options queues;
};

int fail(const std::string& why) {
    fmt::print(stderr, "pubsub: {}\n", why);
    return 1;
}

void describe(CLI::App& app, command_line& given) {
    const std::map<std::string, pubsub::slow_policy> policies{
        {"drop-oldest", pubsub::slow_policy::drop_oldest}, {"disconnect", pubsub::slow_policy::disconnect}};
    app.add_option("--listen", given.listen, "Address and port; port 0 takes a free one")
        ->capture_default_str();
    app.add_option("--workers", given.workers, "Threads; 0 is one per processor")->capture_default_str();
    app.add_option("--queue", given.queues.limit,
                   "Bytes that may wait for one subscriber, such as 32MB; 1TB at most")
        ->transform(CLI::AsSizeValue(false))
        ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 40))  // -1 has become a very large number
        ->default_str("32MB");
    app.add_option("--slow", given.queues.slow, "What to do when they are more: drop-oldest or disconnect")
        ->transform(CLI::CheckedTransformer(policies))
        ->default_str("drop-oldest");
}

rn::task<> serve(pubsub::outbox_options queues, rn::tcp_listener listener) {
    fmt::print("listening on {}\n", to_string(listener.local_address()));
    std::fflush(stdout);
    co_await pubsub::serve(queues, std::move(listener));
}
}

int main(int argc, char** argv) try {
    command_line given;
    CLI::App app("A publish/subscribe broker for Redis clients, RESP2 and RESP3.", "pubsub");
    describe(app, given);
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        fmt::print("{}", app.help());
        return 0;
    }
    auto listener = rn::tcp_listener::bind(given.listen);
    if (!listener)
        return fail(fmt::format("cannot listen on {}: {}", given.listen, listener.error().message()));
    const auto how = rn::options().name("pubsub").workers(given.workers).grace(5s);
    return rn::run(how, serve, given.queues, std::move(*listener));
} catch (const std::exception& error) {  // a bad option, or a system that lacks what the runtime needs
    return fail(error.what());
}
