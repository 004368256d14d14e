// session: what one client's requests mean. It does no I/O: replies go to the client's outbox.
//
// Replies are collected and go out together at flush(), so a pipeline of a thousand requests costs one entry
// there, not a thousand. Where a message could overtake a reply, the session flushes first.
//
// Invariants
//   S1  the confirmation of a subscription is queued before its first message can be;
//   S2  what is not known, malformed or not allowed answers with Redis's own words, and changes nothing;
//   S3  a session that is destroyed is subscribed to nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "broker.hpp"
#include "info.hpp"
#include "outbox.hpp"
#include "resp.hpp"

namespace pubsub {

/// Threads: one at a time.
class session {
public:
    session(server& shared, subscriber out);
    ~session();
    session(const session&) = delete;
    session& operator=(const session&) = delete;

    /// Carries out one request.
    void execute(request words);

    /// Answers a stream that is not the protocol, and ends the session.
    void protocol_error(std::string_view what);

    /// Queues the replies collected so far.
    void flush();

    /// True after QUIT or a protocol error: read no more; the outbox still delivers the last reply.
    bool ended() const { return ended_; }

private:
    struct command;
    using names = std::set<std::string, std::less<>>;
    using registration = void (broker::*)(std::string_view, const subscriber&);

    static std::span<const command> commands();
    static const command* find(std::string_view name);
    std::string refusal(const command& wanted, std::size_t size) const;
    void end();

    void ping(request words);
    void echo(request words);
    void subscribe(request words);
    void unsubscribe(request words);
    void psubscribe(request words);
    void punsubscribe(request words);
    void publish(request words);
    void pubsub_channels(request words);
    void pubsub_numsub(request words);
    void pubsub_numpat(request words);
    void client_setinfo(request words);
    void client_setname(request words);
    void client_getname(request words);
    void client_id(request words);
    void select(request words);
    void config_get(request words);
    void command_list(request words);
    void command_count(request words);
    void command_docs(request words);
    void command_info(request words);
    void info(request words);
    void hello(request words);
    void help(request words);
    void reset(request words);
    void quit(request words);
    void hang_up(request words);

    void enter(request wanted, std::string_view what, names& mine, registration join);
    void leave(request unwanted, std::string_view what, names& mine, registration part);
    void leave_all();
    void confirm(std::string_view what, const std::string_view* name);
    bool set_name(std::string_view name);
    void describe_server();
    reply_writer reply() { return {pending_, protocol_}; }
    std::size_t subscriptions() const { return channels_.size() + patterns_.size(); }

    server& shared_;
    const subscriber out_;
    const std::uint64_t id_;
    int protocol_ = 2;
    std::string name_;
    names channels_;
    names patterns_;
    std::string pending_;
    std::uint64_t executed_ = 0;  // since the last flush
    bool ended_ = false;
};
}
