// The program around the broker: options, the listener, and how it ends.
#include <fmt/format.h>

#include <runnel/runtime.hpp>
#include <runnel/tcp.hpp>
#include <runnel/trace.hpp>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <exception>
#include <map>
#include <string>
#include <system_error>
#include <utility>

#include "pubsub.hpp"

namespace rn = runnel;
using namespace std::chrono_literals;

namespace {

struct command_line {
    std::string listen = "127.0.0.1:6380";
    unsigned workers = 0;
    pubsub::outbox_options queues;
    std::string trace;
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
    app.add_option("--trace", given.trace,
                   "File for a trace of the last events before the end, for ui.perfetto.dev")
        ->type_name("FILE");
}

std::string cannot_write(const std::string& file, const std::string& why) {
    return fmt::format("cannot write the trace {}: {}", file, why);
}

/// Gives the exit status.
rn::task<int> work(command_line given, rn::tcp_listener listener) {
    if (!given.trace.empty()) rn::trace::start();
    fmt::print("listening on {}\n", to_string(listener.local_address()));
    std::fflush(stdout);
    co_await pubsub::serve(given.queues, std::move(listener));
    if (given.trace.empty()) co_return 0;
    rn::trace::stop();
    const auto written = rn::trace::write(given.trace);
    co_return written ? 0 : fail(cannot_write(given.trace, written.error().message()));
}

/// Better told now than after hours of service. What an earlier run has left there stays until then. An error, or 0.
int make_file(const std::string& path) {
    std::FILE* const file = std::fopen(path.c_str(), "a");
    return file != nullptr && std::fclose(file) == 0 ? 0 : errno;
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
    if (const int error = given.trace.empty() ? 0 : make_file(given.trace); error != 0)
        return fail(cannot_write(given.trace, std::generic_category().message(error)));
    auto listener = rn::tcp_listener::bind(given.listen);
    if (!listener)
        return fail(fmt::format("cannot listen on {}: {}", given.listen, listener.error().message()));
    auto how = rn::options().name("pubsub").workers(given.workers).grace(5s);
    if (!given.trace.empty()) how.slow_turn(10s);  // writing it takes a while, and nobody is held up by then
    return rn::run(how, work, given, std::move(*listener));
} catch (const std::exception& error) {  // a bad option, or a system that lacks what the runtime needs
    return fail(error.what());
}
