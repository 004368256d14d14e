#include "pubsub/session.hpp"

#include <doctest/doctest.h>

#include <string>

#include "fake_client.hpp"

using pubsub::server;
using support::fake_client;

namespace {

const std::string not_now =
    ": only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n";

/// Requests are typed with \n, replies are read with \n: the tests stay legible.
std::string ask(fake_client& client, std::string_view requests) {
    std::string heard = client.ask(requests);
    std::erase(heard, '\r');
    return heard;
}

std::string ask(std::string_view requests) {
    server shared;
    fake_client client(shared);
    return ask(client, requests);
}
}

TEST_CASE("session: PING and ECHO answer") {
    CHECK(ask("PING\n") == "+PONG\n");
    CHECK(ask("ping hello\n") == "$5\nhello\n");
    CHECK(ask("ECHO hello\n") == "$5\nhello\n");
}

TEST_CASE("session: a subscriber gets what another client publishes") {
    server shared;
    fake_client reader(shared), writer(shared);
    CHECK(ask(reader, "SUBSCRIBE news\n") == "*3\n$9\nsubscribe\n$4\nnews\n:1\n");
    CHECK(ask(writer, "PUBLISH news hello\n") == ":1\n");
    CHECK(ask(reader, "") == "*3\n$7\nmessage\n$4\nnews\n$5\nhello\n");
    CHECK(ask(writer, "PUBLISH other hello\n") == ":0\n");
}

TEST_CASE("session: a subscription by pattern says which pattern matched") {
    server shared;
    fake_client reader(shared), writer(shared);
    CHECK(ask(reader, "PSUBSCRIBE n* h?\n") ==
          "*3\n$10\npsubscribe\n$2\nn*\n:1\n*3\n$10\npsubscribe\n$2\nh?\n:2\n");
    CHECK(ask(writer, "PUBLISH news hello\n") == ":1\n");
    CHECK(ask(reader, "") == "*4\n$8\npmessage\n$2\nn*\n$4\nnews\n$5\nhello\n");
}

TEST_CASE("session: who is subscribed twice over gets a message twice, and counts twice") {
    server shared;
    fake_client reader(shared), writer(shared);
    ask(reader, "SUBSCRIBE a a\nPSUBSCRIBE *\n");
    CHECK(ask(writer, "PUBLISH a x\n") == ":2\n");
    CHECK(ask(reader, "") == "*3\n$7\nmessage\n$1\na\n$1\nx\n*4\n$8\npmessage\n$1\n*\n$1\na\n$1\nx\n");
}

TEST_CASE("session: unsubscribing says how many subscriptions remain") {
    CHECK(ask("SUBSCRIBE a b\nUNSUBSCRIBE b zz\n") ==
          "*3\n$9\nsubscribe\n$1\na\n:1\n*3\n$9\nsubscribe\n$1\nb\n:2\n"
          "*3\n$11\nunsubscribe\n$1\nb\n:1\n*3\n$11\nunsubscribe\n$2\nzz\n:1\n");
}

TEST_CASE("session: UNSUBSCRIBE alone leaves all channels but no pattern") {
    CHECK(ask("UNSUBSCRIBE\nPUNSUBSCRIBE\n") ==
          "*3\n$11\nunsubscribe\n$-1\n:0\n*3\n$12\npunsubscribe\n$-1\n:0\n");
    server shared;
    fake_client reader(shared);
    ask(reader, "SUBSCRIBE a b\nPSUBSCRIBE c*\n");
    CHECK(ask(reader, "UNSUBSCRIBE\n") ==
          "*3\n$11\nunsubscribe\n$1\na\n:2\n*3\n$11\nunsubscribe\n$1\nb\n:1\n");
    CHECK(shared.broker.publish("a", "x") == 0);
    CHECK(shared.broker.publish("cc", "x") == 1);
}

TEST_CASE("session: a client that leaves is subscribed to nothing") {
    server shared;
    {
        fake_client reader(shared);
        ask(reader, "SUBSCRIBE a\nPSUBSCRIBE *\n");
        CHECK(shared.broker.publish("a", "x") == 2);
    }
    CHECK(shared.broker.publish("a", "x") == 0);
    CHECK(shared.broker.count().channels == 0);
    CHECK(shared.broker.pattern_count() == 0);
}

TEST_CASE("session: in RESP2 a subscriber may do little else") {
    CHECK(ask("SUBSCRIBE a\nPUBLISH a x\nCLIENT ID\nPING\nPING x\n") ==
          "*3\n$9\nsubscribe\n$1\na\n:1\n"
          "-ERR Can't execute 'publish'" +
              not_now.substr(0, not_now.size() - 2) + "\n-ERR Can't execute 'client|id'" +
              not_now.substr(0, not_now.size() - 2) + "\n*2\n$4\npong\n$0\n\n*2\n$4\npong\n$1\nx\n");
}

TEST_CASE("session: in RESP3 a subscriber may do everything, and messages are pushes") {
    server shared;
    fake_client client(shared);
    ask(client, "HELLO 3\n");
    CHECK(ask(client, "SUBSCRIBE a\nPUBLISH a x\nPING\nECHO b\n") ==
          ">3\n$9\nsubscribe\n$1\na\n:1\n>3\n$7\nmessage\n$1\na\n$1\nx\n:1\n+PONG\n$1\nb\n");
}

TEST_CASE("session: HELLO chooses the protocol and describes the server") {
    CHECK(ask("HELLO 3\nCLIENT GETNAME\n") ==
          "%7\n$6\nserver\n$5\nredis\n$7\nversion\n$6\n7.0.15\n$5\nproto\n:3\n$2\nid\n:1\n"
          "$4\nmode\n$10\nstandalone\n$4\nrole\n$6\nmaster\n$7\nmodules\n*0\n_\n");
    CHECK(ask("HELLO\n").starts_with("*14\n$6\nserver\n"));
    CHECK(ask("HELLO 2\nCLIENT GETNAME\n").ends_with("$-1\n"));
}

TEST_CASE("session: HELLO refuses what it does not know, and then changes nothing") {
    CHECK(ask("HELLO 4\n") == "-NOPROTO unsupported protocol version\n");
    CHECK(ask("HELLO x\n") == "-ERR Protocol version is not an integer or out of range\n");
    CHECK(ask("HELLO 3 what\nCLIENT GETNAME\n") == "-ERR Syntax error in HELLO option 'what'\n$-1\n");
    CHECK(ask("HELLO 3 SETNAME\n") == "-ERR Syntax error in HELLO option 'SETNAME'\n");
}

TEST_CASE("session: HELLO takes a name, and the default user with any password") {
    CHECK(ask("HELLO 2 AUTH default any SETNAME me\nCLIENT GETNAME\n").ends_with("$2\nme\n"));
    CHECK(ask("HELLO 2 AUTH me any\n") == "-WRONGPASS invalid username-password pair or user is disabled.\n");
}

TEST_CASE("session: a client may have a name without blanks") {
    CHECK(ask("CLIENT GETNAME\nCLIENT SETNAME me\nCLIENT GETNAME\n") == "$-1\n+OK\n$2\nme\n");
    CHECK(ask("CLIENT SETNAME 'a b'\n") ==
          "-ERR Client names cannot contain spaces, newlines or special characters.\n");
    CHECK(ask("CLIENT SETNAME me\nCLIENT SETNAME ''\nCLIENT GETNAME\n") == "+OK\n+OK\n$-1\n");
}

TEST_CASE("session: what client libraries say when they connect is answered") {
    CHECK(ask("CLIENT SETINFO lib-name redis-py\nCLIENT SETINFO LIB-VER 5.0\nSELECT 0\n") ==
          "+OK\n+OK\n+OK\n");
    CHECK(ask("CLIENT SETINFO color red\n") == "-ERR Unrecognized option 'color'\n");
    CHECK(ask("CLIENT SETINFO lib-ver 'a b'\n") ==
          "-ERR lib-ver cannot contain spaces, newlines or special characters.\n");
    CHECK(ask("CONFIG GET save\nCOMMAND\nCOMMAND DOCS\nCOMMAND INFO a b\n") == "*0\n*0\n*0\n*2\n$-1\n$-1\n");
    CHECK(ask("CLIENT ID\n") == ":1\n");
}

TEST_CASE("session: there is one database") {
    CHECK(ask("SELECT 1\n") == "-ERR DB index is out of range\n");
    CHECK(ask("SELECT 2147483648\n") ==
          "-ERR value is out of range, value must between -2147483648 and 2147483647\n");
    CHECK(ask("SELECT x\n") == "-ERR value is not an integer or out of range\n");
}

TEST_CASE("session: PUBSUB tells who listens to what") {
    server shared;
    fake_client one(shared), two(shared), asker(shared);
    ask(one, "SUBSCRIBE a b\n");
    ask(two, "SUBSCRIBE a\nPSUBSCRIBE x* y*\n");
    CHECK(ask(asker, "PUBSUB NUMSUB a b c\n") == "*6\n$1\na\n:2\n$1\nb\n:1\n$1\nc\n:0\n");
    CHECK(ask(asker, "PUBSUB NUMPAT\n") == ":2\n");
    CHECK(ask(asker, "PUBSUB CHANNELS a*\n") == "*1\n$1\na\n");
    CHECK(ask(asker, "PUBSUB CHANNELS\n").starts_with("*2\n"));
}

TEST_CASE("session: an unknown command is quoted with its arguments, but not at length") {
    CHECK(ask("FOO\n") == "-ERR unknown command 'FOO', with args beginning with: \n");
    CHECK(ask("foo a 'b c'\n") == "-ERR unknown command 'foo', with args beginning with: 'a' 'b c' \n");
    CHECK(ask("foo \"a\\nb\"\n") == "-ERR unknown command 'foo', with args beginning with: 'a b' \n");
    CHECK(ask("client|id\n") == "-ERR unknown command 'client|id', with args beginning with: \n");
    CHECK(ask("foo " + std::string(200, 'a') + " b\n") ==
          "-ERR unknown command 'foo', with args beginning with: '" + std::string(128, 'a') + "' \n");
}

TEST_CASE("session: an unknown subcommand points to HELP, which lists the others") {
    CHECK(ask("PUBSUB FOO\n") == "-ERR unknown subcommand 'FOO'. Try PUBSUB HELP.\n");
    CHECK(ask("client " + std::string(200, 'a') + "\n") ==
          "-ERR unknown subcommand '" + std::string(128, 'a') + "'. Try CLIENT HELP.\n");
    CHECK(ask("PUBSUB CHANNELS a b\n") ==
          "-ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.\n");
    CHECK(ask("CONFIG HELP\n") == "*3\n+CONFIG <subcommand>, which is one of\n+GET\n+HELP\n");
}

TEST_CASE("session: a wrong number of words is refused by name") {
    for (const std::string line :
         {"ping a b", "echo", "publish a", "subscribe", "client", "pubsub", "config", "reset x"}) {
        const auto name = line.substr(0, line.find(' '));
        CHECK(ask(line + "\n") == "-ERR wrong number of arguments for '" + name + "' command\n");
    }
    CHECK(ask("CLIENT SETNAME\n") == "-ERR wrong number of arguments for 'client|setname' command\n");
    CHECK(ask("PUBSUB NUMPAT x\n") == "-ERR wrong number of arguments for 'pubsub|numpat' command\n");
}

TEST_CASE("session: RESET makes a client as good as new") {
    server shared;
    fake_client client(shared);
    ask(client, "HELLO 3 SETNAME me\nSUBSCRIBE a\nPSUBSCRIBE *\n");
    CHECK(ask(client, "RESET\nCLIENT GETNAME\nPING\n") == "+RESET\n$-1\n+PONG\n");
    CHECK(shared.broker.publish("a", "x") == 0);
}

TEST_CASE("session: QUIT says OK and hangs up") {
    server shared;
    fake_client client(shared);
    CHECK(ask(client, "SUBSCRIBE a\nQUIT\nPING\n") == "*3\n$9\nsubscribe\n$1\na\n:1\n+OK\n");
    CHECK(client.hung_up());
}

TEST_CASE("session: a browser that was made to talk to us is not listened to") {
    server shared;
    fake_client browser(shared);
    CHECK(ask(browser, "POST / HTTP/1.1\nHost: 127.0.0.1\n\nPING\n") == "");
    CHECK(browser.hung_up());
}

TEST_CASE("session: a protocol error is told to the client, and ends only its session") {
    server shared;
    fake_client broken(shared), sound(shared);
    CHECK(ask(broken, "PING\n*1\r\nfoo\r\nPING\n") == "+PONG\n-ERR Protocol error: expected '$', got 'f'\n");
    CHECK(broken.hung_up());
    CHECK(ask(sound, "PING\n") == "+PONG\n");
}

TEST_CASE("session: INFO tells the truth, in sections") {
    server shared({}, 6380);
    fake_client reader(shared), asker(shared);
    ask(reader, "SUBSCRIBE a\n");
    ask(asker, "PUBLISH a x\nPUBLISH b x\n");
    const auto all = ask(asker, "INFO\n");
    for (const std::string line :
         {"redis_version:7.0.15", "tcp_port:6380", "connected_clients:2", "total_connections_received:2",
          "total_commands_processed:3", "pubsub_channels:1", "pubsub_messages_published:2",
          "pubsub_messages_delivered:1", "pubsub_messages_dropped:0", "queue_limit_bytes:33554432"}) {
        CAPTURE(line);
        CHECK(all.find("\n" + line + "\n") != std::string::npos);
    }
    CHECK(ask(asker, "INFO CLIENTS\n") == "$32\n# Clients\nconnected_clients:2\n\n");
    CHECK(ask(asker, "INFO nosuch\n") == "$0\n\n");
    CHECK(ask(asker, "HELLO 3\nINFO clients\n").ends_with("=36\ntxt:# Clients\nconnected_clients:2\n\n"));
}

TEST_CASE("session: the replies to a pipeline are queued together") {
    server shared;
    fake_client client(shared);
    client.hear();  // the writer finds nothing and goes to sleep
    client.say("PING\nPING\nPING\n");
    CHECK(client.wakes() == 1);
    CHECK(client.queue().reply_bytes() == 21);
}
