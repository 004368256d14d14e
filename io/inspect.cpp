// What can be asked, and the server around it; inspect.hpp has the rules.
#include <runnel/inspect.hpp>

#include <chrono>
#include <string>
#include <string_view>

#include <runnel/buffered_reader.hpp>
#include <runnel/context.hpp>
#include <runnel/dump.hpp>
#include <runnel/metrics.hpp>
#include <runnel/serve.hpp>
#include <runnel/unix.hpp>

namespace runnel {

namespace {
constexpr std::size_t longest_question = 256;
constexpr std::string_view help =
    "tasks    what all tasks do just now: who waits for what, since when, and where\n"
    "metrics  what the runtime has done and holds, in Prometheus' text format\n"
    "help     this\n";

std::string answer_to(std::string_view question) {
    if (question == "tasks") return dump_tasks();
    if (question == "metrics") return to_prometheus(current_metrics());
    if (question == "help") return std::string(help);
    return "there is no question '" + std::string(question) + "'; there are:\n" + std::string(help);
}

task<> answer(unix_stream& peer) {
    buffered_reader in(peer, longest_question);
    const auto question = co_await in.read_line();
    std::string text = "a question is a line of 256 bytes at most\n";
    if (question)
        text = answer_to(*question);
    else if (question.error() != std::errc::message_size)
        co_return;  // nobody asks any more
    (void)co_await peer.write_all(text);
}
}

task<result<>> inspect_at(std::string where, unsigned mode, std::source_location at) {
    auto listener = unix_listener::bind(where, unix_options().mode(mode).replace_stale(true), at);
    if (!listener) co_return listener.error();
    const auto how = serve_options()
                         .connections(4)
                         .idle_timeout(std::chrono::seconds(10))
                         .grace(std::chrono::seconds(1))
                         .linger(std::chrono::nanoseconds(0));
    const serve_report end = co_await serve(*std::move(listener), answer, how, at);
    if (end.error) co_return end.error;
    const std::error_code why = current_context().err();
    if (why && why != errc::stopping) co_return why;
    co_return result<>();
}
}
