// The table of commands comes first, then what decides whether one may run, then what each does.
#include "session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pubsub {

constexpr std::size_t pending_bytes_max = 64u << 10;

struct session::command {
    std::string_view name;          // "client|id" is the subcommand ID of CLIENT
    int arity;                      // words, with the name; negative: at least so many
    void (session::*run)(request);  // null: only its subcommands run
    enum { plain, while_subscribed, has_subcommands } nature = plain;
};

// A subscriber that speaks RESP2 may say little else than the commands `while_subscribed`: it could not tell
// replies from messages.
std::span<const session::command> session::commands() {
    static constexpr command table[] = {
        {"ping", -1, &session::ping, command::while_subscribed},
        {"echo", 2, &session::echo},
        {"publish", 3, &session::publish},
        {"subscribe", -2, &session::subscribe, command::while_subscribed},
        {"unsubscribe", -1, &session::unsubscribe, command::while_subscribed},
        {"psubscribe", -2, &session::psubscribe, command::while_subscribed},
        {"punsubscribe", -1, &session::punsubscribe, command::while_subscribed},
        {"pubsub", -2, nullptr, command::has_subcommands},
        {"pubsub|channels", -2, &session::pubsub_channels},
        {"pubsub|numsub", -2, &session::pubsub_numsub},
        {"pubsub|numpat", 2, &session::pubsub_numpat},
        {"pubsub|help", 2, &session::help},
        {"hello", -1, &session::hello},
        {"client", -2, nullptr, command::has_subcommands},
        {"client|id", 2, &session::client_id},
        {"client|getname", 2, &session::client_getname},
        {"client|setname", 3, &session::client_setname},
        {"client|setinfo", 4, &session::client_setinfo},
        {"client|help", 2, &session::help},
        {"select", 2, &session::select},
        {"config", -2, nullptr, command::has_subcommands},
        {"config|get", -3, &session::config_get},
        {"config|help", 2, &session::help},
        {"command", -1, &session::command_list, command::has_subcommands},
        {"command|count", 2, &session::command_count},
        {"command|docs", -2, &session::command_docs},
        {"command|info", -2, &session::command_info},
        {"command|help", 2, &session::help},
        {"info", -1, &session::info},
        {"reset", 1, &session::reset, command::while_subscribed},
        {"quit", -1, &session::quit, command::while_subscribed},
        {"post", -1, &session::hang_up},
        {"host:", -1, &session::hang_up},
    };
    return table;
}

namespace {

char lower(char c) { return 'A' <= c && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
char upper(char c) { return 'a' <= c && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

std::string changed(std::string_view text, char (*change)(char)) {
    std::string result(text);
    std::transform(text.begin(), text.end(), result.begin(), change);
    return result;
}

/// Are they the same but for case? `name` is in lower case.
bool is(std::string_view word, std::string_view name) {
    return std::equal(word.begin(), word.end(), name.begin(), name.end(),
                      [](char a, char b) { return lower(a) == b; });
}

/// What an error message quotes of a client's word: not too much, and nothing behind a zero byte.
std::string_view quotable(std::string_view word, std::size_t size_max = 128) {
    return word.substr(0, std::min(word.find('\0'), size_max));
}

bool is_printable(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return '!' <= c && c <= '~'; });
}

std::string try_help(std::string_view what, request words) {
    return fmt::format("ERR {} '{}'. Try {} HELP.", what, quotable(words[1]), changed(words[0], upper));
}

std::string unknown_command(request words) {
    std::string quoted;
    for (auto word : words.subspan(1)) {
        if (quoted.size() >= 128) break;
        quoted += fmt::format("'{}' ", quotable(word, 128 - quoted.size()));
    }
    return fmt::format("ERR unknown command '{}', with args beginning with: {}", quotable(words[0]), quoted);
}
}

session::session(server& shared, subscriber out)
    : shared_(shared), out_(std::move(out)), id_(++shared.connections) {
    ++shared_.clients;
}

session::~session() {
    leave_all();
    --shared_.clients;
}

const session::command* session::find(std::string_view name) {
    for (const auto& one : commands())
        if (is(name, one.name)) return &one;
    return nullptr;
}

void session::execute(request words) {
    ++executed_;
    const command* found = words[0].find('|') == std::string_view::npos ? find(words[0]) : nullptr;
    if (found && found->nature == command::has_subcommands && words.size() > 1) {
        found = find(fmt::format("{}|{}", found->name, words[1].substr(0, 100)));  // no name is that long
        if (!found) return reply().error(try_help("unknown subcommand", words));
    }
    if (!found) return reply().error(unknown_command(words));
    if (const auto refused = refusal(*found, words.size()); !refused.empty()) return reply().error(refused);
    (this->*found->run)(words);
    if (pending_.size() > pending_bytes_max) flush();
}

/// Why the command may not run now; empty if it may.
std::string session::refusal(const command& wanted, std::size_t size) const {
    const auto words = static_cast<std::int64_t>(size);
    if (wanted.arity >= 0 ? words != wanted.arity : words < -wanted.arity)
        return fmt::format("ERR wrong number of arguments for '{}' command", wanted.name);
    if (protocol_ == 2 && subscriptions() > 0 && wanted.nature != command::while_subscribed)
        return fmt::format(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET "
            "are allowed in this context",
            wanted.name);
    return {};
}

void session::protocol_error(std::string_view what) {
    ++shared_.protocol_errors;
    reply().error(fmt::format("ERR {}", what));
    end();
}

void session::flush() {
    shared_.commands += std::exchange(executed_, 0);
    out_->reply(std::exchange(pending_, {}), protocol_);
}

void session::end() {
    flush();
    out_->finish();
    ended_ = true;
}

// Publishing and subscribing

void session::publish(request words) {
    if (subscriptions() > 0) flush();  // the message may come back to this client, and then before the count
    const auto receivers = shared_.broker.publish(words[1], words[2]);
    reply().integer(static_cast<std::int64_t>(receivers));
}

void session::subscribe(request words) {
    enter(words.subspan(1), "subscribe", channels_, &broker::subscribe);
}

void session::psubscribe(request words) {
    enter(words.subspan(1), "psubscribe", patterns_, &broker::subscribe_pattern);
}

void session::unsubscribe(request words) {
    leave(words.subspan(1), "unsubscribe", channels_, &broker::unsubscribe);
}

void session::punsubscribe(request words) {
    leave(words.subspan(1), "punsubscribe", patterns_, &broker::unsubscribe_pattern);
}

void session::enter(request wanted, std::string_view what, names& mine, registration join) {
    std::vector<std::string_view> added;
    for (auto name : wanted) {
        if (mine.emplace(name).second) added.push_back(name);
        confirm(what, &name);
    }
    flush();  // S1
    for (auto name : added) (shared_.broker.*join)(name, out_);
}

void session::leave(request unwanted, std::string_view what, names& mine, registration part) {
    const auto drop = [&](names::iterator one) {
        (shared_.broker.*part)(*one, out_);
        return mine.extract(one);
    };
    if (unwanted.empty() && mine.empty()) confirm(what, nullptr);
    while (unwanted.empty() && !mine.empty()) {
        const auto dropped = drop(mine.begin());
        const std::string_view name = dropped.value();
        confirm(what, &name);
    }
    for (auto name : unwanted) {
        if (const auto one = mine.find(name); one != mine.end()) drop(one);
        confirm(what, &name);
    }
}

void session::leave_all() {
    for (const auto& name : channels_) shared_.broker.unsubscribe(name, out_);
    for (const auto& name : patterns_) shared_.broker.unsubscribe_pattern(name, out_);
    channels_.clear();
    patterns_.clear();
}

/// Tells the client what it is subscribed to now. No name: it was asked to leave all, and there was none.
void session::confirm(std::string_view what, const std::string_view* name) {
    auto out = reply();
    out.push(3);
    out.bulk(what);
    name ? out.bulk(*name) : out.null();
    out.integer(static_cast<std::int64_t>(subscriptions()));
}

void session::pubsub_channels(request words) {
    if (words.size() > 3)
        return reply().error(try_help("unknown subcommand or wrong number of arguments for", words));
    const auto found = words.size() == 3 ? shared_.broker.channels(words[2]) : shared_.broker.channels();
    auto out = reply();
    out.array(found.size());
    for (const auto& name : found) out.bulk(name);
}

void session::pubsub_numsub(request words) {
    const auto asked = words.subspan(2);
    auto out = reply();
    out.array(2 * asked.size());
    for (auto name : asked) {
        out.bulk(name);
        out.integer(static_cast<std::int64_t>(shared_.broker.subscriber_count(name)));
    }
}

void session::pubsub_numpat(request) {
    reply().integer(static_cast<std::int64_t>(shared_.broker.pattern_count()));
}

// The connection

void session::ping(request words) {
    if (words.size() > 2) return reply().error("ERR wrong number of arguments for 'ping' command");
    auto out = reply();
    if (protocol_ == 2 && subscriptions() > 0) {
        out.array(2);
        out.bulk("pong");
        out.bulk(words.size() == 2 ? words[1] : "");
    } else if (words.size() == 2) {
        out.bulk(words[1]);
    } else {
        out.simple("PONG");
    }
}

void session::echo(request words) { reply().bulk(words[1]); }

void session::hello(request words) {
    words = words.subspan(1);
    std::int64_t version = protocol_;
    if (!words.empty()) {
        const auto number = parse_integer(words[0]);
        if (!number) return reply().error("ERR Protocol version is not an integer or out of range");
        if (*number < 2 || *number > 3) return reply().error("NOPROTO unsupported protocol version");
        version = *number;
        words = words.subspan(1);
    }
    while (!words.empty()) {
        if (is(words[0], "auth") && words.size() >= 3) {
            if (words[1] != "default")  // who is let in with any password, as none is set
                return reply().error("WRONGPASS invalid username-password pair or user is disabled.");
            words = words.subspan(3);
        } else if (is(words[0], "setname") && words.size() >= 2) {
            if (!set_name(words[1])) return;
            words = words.subspan(2);
        } else {
            return reply().error(fmt::format("ERR Syntax error in HELLO option '{}'", quotable(words[0])));
        }
    }
    protocol_ = static_cast<int>(version);
    describe_server();
}

void session::describe_server() {
    auto out = reply();
    out.map(7);
    out.bulk("server"), out.bulk("redis");
    out.bulk("version"), out.bulk(redis_dialect);
    out.bulk("proto"), out.integer(protocol_);
    out.bulk("id"), out.integer(static_cast<std::int64_t>(id_));
    out.bulk("mode"), out.bulk("standalone");
    out.bulk("role"), out.bulk("master");
    out.bulk("modules"), out.array(0);
}

void session::client_id(request) { reply().integer(static_cast<std::int64_t>(id_)); }

void session::client_getname(request) { name_.empty() ? reply().null() : reply().bulk(name_); }

void session::client_setname(request words) {
    if (set_name(words[2])) reply().simple("OK");
}

/// False, with the reply written, if a client may not be called that.
bool session::set_name(std::string_view name) {
    const bool valid = is_printable(name);
    if (valid)
        name_ = name;
    else
        reply().error("ERR Client names cannot contain spaces, newlines or special characters.");
    return valid;
}

/// Younger clients introduce themselves with the name and version of their library, which tells us nothing.
void session::client_setinfo(request words) {
    const auto option = words[2];
    if (!is(option, "lib-name") && !is(option, "lib-ver"))
        return reply().error(fmt::format("ERR Unrecognized option '{}'", quotable(option)));
    if (!is_printable(words[3]))
        return reply().error(fmt::format("ERR {} cannot contain spaces, newlines or special characters.",
                                         changed(option, lower)));
    reply().simple("OK");
}

void session::select(request words) {
    using range = std::numeric_limits<std::int32_t>;
    const auto index = parse_integer(words[1]);
    if (!index) return reply().error("ERR value is not an integer or out of range");
    if (*index < range::min() || *index > range::max())
        return reply().error(fmt::format("ERR value is out of range, value must between {} and {}",
                                         range::min(), range::max()));
    if (*index != 0) return reply().error("ERR DB index is out of range");
    reply().simple("OK");
}

void session::reset(request) {
    leave_all();
    protocol_ = 2;
    name_.clear();
    reply().simple("RESET");
}

void session::quit(request) {
    reply().simple("OK");
    end();
}

/// These words begin lines of HTTP: a web page makes a browser talk to us, and its next line might PUBLISH.
void session::hang_up(request) {
    out_->close();
    ended_ = true;
}

// What clients ask about the server. Much of it is empty here, but an answer lets them go on.

void session::config_get(request) { reply().map(0); }

void session::command_list(request) { reply().array(0); }

void session::command_docs(request) { reply().map(0); }

void session::command_info(request words) {
    auto out = reply();
    out.array(words.size() - 2);
    for (std::size_t i = 2; i < words.size(); ++i) out.null();
}

void session::command_count(request) {
    const auto all = commands();
    reply().integer(std::count_if(all.begin(), all.end(), [](const command& one) {
        return one.name.find('|') == std::string_view::npos;
    }));
}

void session::info(request words) {
    std::vector<std::string> sections;
    for (auto word : words.subspan(1)) sections.push_back(changed(word, lower));
    reply().verbatim(info_text(shared_, sections));
}

void session::help(request words) {
    const auto prefix = changed(words[0], lower) + "|";
    std::vector<std::string> lines{changed(words[0], upper) + " <subcommand>, which is one of"};
    for (const auto& one : commands())
        if (one.name.starts_with(prefix)) lines.push_back(changed(one.name.substr(prefix.size()), upper));
    auto out = reply();
    out.array(lines.size());
    for (const auto& line : lines) out.simple(line);
}
}
