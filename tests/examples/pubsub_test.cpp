// The whole broker, over sockets. Its clients are plain blocking ones, so that they do not depend on what is
// tested.
#include "pubsub/pubsub.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <runnel/runtime.hpp>
#include <runnel/tcp.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace rn = runnel;
using namespace std::chrono_literals;

namespace {

/// A broker at a free port of this process, until stop().
class running_broker {
public:
    explicit running_broker(pubsub::outbox_options queues = {}) {
        auto listener = rn::tcp_listener::bind("127.0.0.1:0").value();
        port_ = listener.local_address().port();
        service_ = runtime_->spawn(pubsub::serve, queues, std::move(listener));
    }

    /// As SIGTERM does. True if everything ended in time.
    bool stop() {
        const bool stopped = runtime_->stop().has_value();
        runtime_.reset();
        return stopped;
    }

    std::uint16_t port() const { return port_; }

private:
    std::optional<rn::runtime> runtime_{std::in_place, rn::options().workers(2).grace(1h)};
    rn::join_handle<> service_;
    std::uint16_t port_ = 0;
};

bool connect_to(const running_broker& broker, int fd) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(broker.port());
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
}

bool takes_clients(const running_broker& broker) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool taken = connect_to(broker, fd);
    ::close(fd);
    return taken;
}

class blocking_client {
public:
    explicit blocking_client(const running_broker& broker, int receive_buffer = 0) {
        fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const timeval patience{20, 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (receive_buffer) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
        REQUIRE(connect_to(broker, fd_));
    }
    ~blocking_client() { ::close(fd_); }
    blocking_client(const blocking_client&) = delete;
    blocking_client& operator=(const blocking_client&) = delete;

    /// False when the broker takes no more for `patience`, or has hung up.
    bool say(std::string_view bytes, std::chrono::seconds patience = 20s) {
        const timeval limit{patience.count(), 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        while (!bytes.empty()) {
            const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) return false;
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
        return true;
    }

    /// What comes, up to and with `end`; without `end`, until the broker hangs up.
    std::string hear(std::string_view end = {}) {
        while (end.empty() || heard_.find(end) == std::string::npos) {
            char buffer[16384];
            const auto got = ::recv(fd_, buffer, sizeof buffer, 0);
            if (got <= 0) return std::exchange(heard_, {}) + (got < 0 ? "<failed>" : "");
            heard_.append(buffer, static_cast<std::size_t>(got));
        }
        const auto size = heard_.find(end) + end.size();
        std::string first = heard_.substr(0, size);
        heard_.erase(0, size);
        return first;
    }

    std::string ask(std::string_view request, std::string_view end = "\r\n") {
        say(request);
        return hear(end);
    }

    /// A number of INFO.
    long info(const std::string& name) {
        const auto text = ask("INFO\r\n", "slow_policy:");
        hear("\r\n\r\n");
        return std::stol(text.substr(text.find("\n" + name + ":") + name.size() + 2));
    }

private:
    int fd_;
    std::string heard_;
};

std::string publish(std::string_view payload) {  // an inline request could not be as long
    return fmt::format("*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n${}\r\n{}\r\n", payload.size(), payload);
}

std::string message(std::string_view payload) {
    return fmt::format("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n${}\r\n{}\r\n", payload.size(), payload);
}
}

TEST_CASE("pubsub: clients subscribe and publish") {
    running_broker broker;
    blocking_client reader(broker), writer(broker);
    CHECK(reader.ask("SUBSCRIBE c\r\n", ":1\r\n") == "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    CHECK(writer.ask("PUBLISH c hello\r\n") == ":1\r\n");
    CHECK(reader.hear("hello\r\n") == message("hello"));
    CHECK(broker.stop());
}

TEST_CASE("pubsub: 10,000 messages of two publishers: nothing is missing, the order of each is kept") {
    running_broker broker;
    blocking_client reader(broker);
    reader.ask("SUBSCRIBE c\r\n", ":1\r\n");
    const auto publish_all = [&](char who) {
        blocking_client writer(broker);
        std::string all;
        for (int i = 0; i < 5000; ++i) all += fmt::format("PUBLISH c {}:{}\r\n", who, i);
        writer.say(all + "QUIT\r\n");
        writer.hear();
    };
    {
        std::jthread a(publish_all, 'a'), b(publish_all, 'b');
        int next[] = {0, 0};
        for (int i = 0; i < 10000; ++i) {
            reader.hear("\r\nc\r\n");
            reader.hear("\r\n");
            const auto payload = reader.hear("\r\n");
            int& wanted = next[payload[0] - 'a'];
            REQUIRE(payload.substr(2) == fmt::format("{}\r\n", wanted));
            ++wanted;
        }
    }
    CHECK(broker.stop());
}

TEST_CASE("pubsub: a protocol error is answered, and closes only that connection") {
    running_broker broker;
    blocking_client broken(broker), sound(broker);
    broken.say("*1\r\nx\r\n" +
               std::string(100'000, 'x'));  // what it says after its error must not hide the answer
    CHECK(broken.hear() == "-ERR Protocol error: expected '$', got 'x'\r\n");
    CHECK(sound.ask("PING\r\n") == "+PONG\r\n");
    CHECK(broker.stop());
}

TEST_CASE("pubsub: QUIT hangs up, and so does the end of what a client says") {
    running_broker broker;
    blocking_client quitter(broker);
    quitter.say("PING\r\nQUIT\r\nPING\r\n");
    CHECK(quitter.hear() == "+PONG\r\n+OK\r\n");
    CHECK(broker.stop());
}

TEST_CASE("pubsub: a slow subscriber loses its oldest messages, and stalls nobody") {
    constexpr int messages = 400;
    const std::string body(100'000, 'x');
    running_broker broker({.limit = 1'000'000, .slow = pubsub::slow_policy::drop_oldest});
    blocking_client slow(broker, 4096), fast(broker), writer(broker);
    slow.ask("SUBSCRIBE c\r\n", ":1\r\n");
    fast.ask("SUBSCRIBE c\r\n", ":1\r\n");
    for (int i = 0; i < messages; ++i) {
        CHECK(writer.ask(publish(fmt::format("{}:{}", i, body))) == ":2\r\n");
        CHECK(fast.hear(body + "\r\n").find(fmt::format("\r\n{}:", i)) != std::string::npos);
    }
    const auto dropped = writer.info("pubsub_messages_dropped");
    CHECK(dropped > 0);
    writer.say("PUBLISH c end\r\n");
    const auto rest = slow.hear("end\r\n");
    long arrived = 0;
    for (std::size_t at = 0; (at = rest.find("message", at)) != std::string::npos; ++at) ++arrived;
    CHECK(arrived + dropped == messages + 1);
    CHECK(rest.find(fmt::format("\r\n{}:", messages - 1)) != std::string::npos);
    CHECK(broker.stop());
}

TEST_CASE("pubsub: by the other policy a slow subscriber is dropped") {
    const std::string body(100'000, 'x');
    running_broker broker({.limit = 1'000'000, .slow = pubsub::slow_policy::disconnect});
    blocking_client slow(broker, 4096), writer(broker);
    slow.ask("SUBSCRIBE c\r\n", ":1\r\n");
    std::string reply;
    for (int i = 0; i < 1000 && reply != ":0\r\n"; ++i) reply = writer.ask(publish(body));
    CHECK(reply == ":0\r\n");
    CHECK(writer.info("pubsub_clients_dropped") == 1);
    slow.hear();
    CHECK(broker.stop());
}

TEST_CASE("pubsub: a client that reads no replies is not read either") {
    running_broker broker;
    blocking_client client(broker, 4096), other(broker);
    const auto request = fmt::format("ECHO {}\r\n", std::string(10'000, 'x'));
    int said = 0;
    while (said < 10'000 && client.say(request, 1s)) ++said;
    CHECK(said < 10'000);  // 100 MB would be the kernel's and ours
    CHECK(other.ask("PING\r\n") == "+PONG\r\n");
    for (int i = 0; i < said; ++i) {
        client.hear("x\r\n");
    }
    CHECK(broker.stop());
}

TEST_CASE("pubsub: when it stops it takes no new clients; the others get what is queued for them, and then "
          "the end") {
    running_broker broker;
    blocking_client reader(broker, 4096), idle(broker), writer(broker);
    reader.ask("SUBSCRIBE c\r\n", ":1\r\n");
    idle.ask("PING\r\n");
    const std::string body(1'000'000, 'x');
    for (int i = 0; i < 10; ++i) writer.ask(publish(body));
    std::jthread stopping([&] { CHECK(broker.stop()); });
    while (takes_clients(broker)) std::this_thread::yield();  // and new ones are refused at once
    CHECK(reader.hear().size() == 10 * message(body).size());
    CHECK(idle.hear().empty());
}
