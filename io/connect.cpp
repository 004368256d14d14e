// connect_to(); see runnel/connect.hpp, whose steps these are.
#include <runnel/connect.hpp>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <optional>
#include <utility>

#include <runnel/borrow.hpp>
#include <runnel/detail/spin_lock.hpp>
#include <runnel/resolve.hpp>
#include <runnel/scope.hpp>
#include <runnel/semaphore.hpp>
#include <runnel/time.hpp>

namespace runnel {

namespace {

/// What the attempts have in common. In the frame of who waits for them.
class attempts {
public:
    attempts(std::size_t most, const tcp_options& how, std::source_location at) : tcp(how), made_at(at) {
        failures_.reserve(most);
        ends.label("attempts to connect");
    }

    void note(const address& to, result<tcp_stream>&& made) noexcept {
        {
            const std::lock_guard guard(lock_);
            if (!winner_ && !made) failures_.emplace_back(to, made.error());  // there is room
            if (!winner_ && made) winner_.emplace(std::move(*made));  // a second one closes with `made`
        }
        ends.release();
    }
    bool won() noexcept {
        const std::lock_guard guard(lock_);
        return winner_.has_value();
    }
    /// When all have ended.
    std::optional<tcp_stream>& winner() noexcept { return winner_; }
    std::vector<connect_failure>& failures() noexcept { return failures_; }

    const tcp_options tcp;
    const std::source_location made_at;
    semaphore ends{0};  // a permit for each attempt that has ended

private:
    detail::spin_lock lock_;  // guards the others
    std::optional<tcp_stream> winner_;
    std::vector<connect_failure> failures_;
};

task<> attempt(attempts& all, address to) {
    result<tcp_stream> made = co_await tcp_stream::connect(to, all.tcp, all.made_at);
    all.note(to, std::move(made));
}

/// Step 2.
std::vector<address> in_turns(const std::vector<address>& all) {
    std::vector<address> first, other;
    for (const address& each : all) (each.is_ipv6() == all.front().is_ipv6() ? first : other).push_back(each);
    std::vector<address> turns;
    turns.reserve(all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (i < first.size()) turns.push_back(first[i]);
        if (i < other.size()) turns.push_back(other[i]);
    }
    return turns;
}

/// E2.
int usefulness(std::error_code error) noexcept {
    if (error.category() != std::system_category()) return 1;  // it was taken back
    switch (error.value()) {
        case EADDRNOTAVAIL:
        case EAFNOSUPPORT:
        case ENETDOWN:
        case ENETUNREACH:
            return 2;
        case EHOSTDOWN:
        case EHOSTUNREACH:
            return 3;
        case ETIMEDOUT:
            return 4;
        case ECONNREFUSED:
        case ECONNRESET:
            return 5;
        default:
            return 6;
    }
}

std::error_code most_useful(const std::vector<connect_failure>& of) noexcept {
    const auto best = std::max_element(of.begin(), of.end(), [](const auto& a, const auto& b) {
        return usefulness(a.error) < usefulness(b.error);
    });
    return best->error;
}

/// Step 3, until one has won or all have ended; or until the task is cancelled, which is the error.
task<result<>> start_in_turn(scope& running, attempts& all, const std::vector<address>& turns,
                             std::chrono::nanoseconds delay) {
    std::size_t ended = 0;
    for (std::size_t i = 0; i < turns.size() && !all.won(); ++i) {
        running.spawn(attempt, borrow(all), turns[i]);
        if (i + 1 == turns.size()) break;
        auto one = co_await with_timeout(delay, all.ends.acquire());
        if (!one && one.error() != errc::timed_out) co_return one.error();
        if (!one) continue;
        one->forget();
        ++ended;
    }
    for (; !all.won() && ended < turns.size(); ++ended) {
        auto one = co_await all.ends.acquire();
        if (!one) co_return one.error();
        one->forget();
    }
    co_return result<>();
}

task<connected> connect_first(std::vector<address> to, connect_options how, std::source_location at) {
    if (to.empty()) co_return connected(std::make_error_code(std::errc::invalid_argument));
    const std::vector<address> turns = in_turns(to);
    attempts all(turns.size(), how.tcp(), at);
    std::error_code stopped;
    const auto race = [&](scope& running) -> task<> {
        const result<> done = co_await start_in_turn(running, all, turns, how.attempt_delay());
        stopped = done.error();
        running.cancel();  // step 4
    };
    (void)co_await scoped(race);
    if (all.winner()) co_return connected(std::move(*all.winner()), std::move(all.failures()));
    if (!stopped) stopped = most_useful(all.failures());
    co_return connected(stopped, std::move(all.failures()));
}

task<connected> connect_by_name(std::string name, connect_options how, std::source_location at) {
    result<std::vector<address>> found = co_await resolve(name);
    if (!found) co_return connected(found.error());
    co_return co_await connect_first(std::move(*found), how, at);
}
}

// The text is copied before the task begins: it may be a temporary of the caller's.
task<connected> connect_to(std::string_view name_and_port, const connect_options& how,
                           std::source_location at) {
    return connect_by_name(std::string(name_and_port), how, at);
}

task<connected> connect_to(std::vector<address> addresses, const connect_options& how,
                           std::source_location at) {
    return connect_first(std::move(addresses), how, at);
}

std::string connected::explain(std::string_view what) const {
    std::string text = "connect";
    if (!what.empty()) text.append(" to ").append(what);
    text += has_value() ? ": done" : ": " + error().message();
    for (const connect_failure& each : failures_)
        text += "\n  " + to_string(each.to) + ": " + each.error.message();
    return text;
}
}
