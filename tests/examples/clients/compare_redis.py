#!/usr/bin/env python3
"""compare_redis: do we answer like Redis 7, byte for byte?

Starts redis-server and our broker on free ports, sends both the same bytes over several connections, and
compares what comes back: first conversations that somebody thought of, then random ones. Only what must
differ is allowed for: the order in which channels are listed and patterns matched, which in Redis is that of
its hash table.

    compare_redis.py [PUBSUB_PROGRAM] [--redis redis-server] [--rounds 300] [--seed N]

PUBSUB_PROGRAM is by default the one that examples/run builds. Without a redis-server the exit status is 77.
"""
import argparse
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

SKIPPED = 77  # what Meson takes for "skipped"

# Each line is a conversation of one connection: its requests, as they are typed.
ALONE = r"""
PING
ping hello
PING a b
ECHO
ECHO hi
ECHO "a\x00b\r\n"
QUIT|PING
QUIT a b|PING
SELECT 0|SELECT 1|SELECT x|SELECT -1|SELECT 99999999999999999999|SELECT 2147483648|SELECT 01|SELECT ""
FOO
FOO a b
FOO "a\r\nb" "\x00x" "y\x00z"
"FO\r\nO" x
"FO\x00O" x
"" a
""
"ping\x00x"
client|id
HELLO|HELLO 2|HELLO 3|CLIENT GETNAME|HELLO|HELLO 2|CLIENT GETNAME
HELLO 4|HELLO 1|HELLO -3|HELLO x|HELLO ""|HELLO 03|HELLO "3\x00"|PING
HELLO 3 FOO|HELLO 3 SETNAME|HELLO 3 AUTH|HELLO 3 AUTH default|HELLO 3 "A\r\nB"|CLIENT GETNAME
HELLO 3 SETNAME me|CLIENT GETNAME
HELLO 3 SETNAME "a b"|CLIENT GETNAME
HELLO 3 SETNAME me AUTH a b|CLIENT GETNAME|PING
HELLO 3 AUTH a b SETNAME me|CLIENT GETNAME
HELLO 3 AUTH default anything setname me|CLIENT GETNAME
HELLO 2 auth DEFAULT anything
HELLO 3 SETNAME a SETNAME b FOO|CLIENT GETNAME
CLIENT|CLIENT FOO|CLIENT SETNAME|CLIENT SETNAME a b|CLIENT ID x|CLIENT GETNAME x
CLIENT SETNAME "a b"|CLIENT SETNAME "a\nb"|CLIENT SETNAME ""|CLIENT GETNAME
CLIENT SETNAME me|CLIENT GETNAME|CLIENT SETNAME ""|CLIENT GETNAME
CLIENT "FOO\r\n"
CLIENT ""|CLIENT "ID\x00x"
PUBSUB|PUBSUB FOO|PUBSUB NUMSUB|PUBSUB NUMSUB a b|PUBSUB NUMPAT|PUBSUB NUMPAT x
PUBSUB CHANNELS|PUBSUB CHANNELS a|PUBSUB CHANNELS a b|pubsub channels a b c
HELLO 3|PUBSUB NUMSUB a b|PUBSUB CHANNELS|PUBSUB NUMPAT
PUBLISH|PUBLISH a|PUBLISH a b|PUBLISH a b c
SUBSCRIBE|PSUBSCRIBE
UNSUBSCRIBE|PUNSUBSCRIBE|UNSUBSCRIBE a b|PUNSUBSCRIBE a b
HELLO 3|UNSUBSCRIBE|PUNSUBSCRIBE|UNSUBSCRIBE a b|PUNSUBSCRIBE a b
SUBSCRIBE a b a|PSUBSCRIBE a a*|UNSUBSCRIBE a zz|PUNSUBSCRIBE a* zz|UNSUBSCRIBE|PUNSUBSCRIBE|PING
SUBSCRIBE a|PING|PING x|PING x y|PUBLISH a x|PUBLISH a|CLIENT ID|CLIENT FOO|CLIENT|FOO
SUBSCRIBE a|ECHO x|HELLO 3|SELECT 0|INFO|COMMAND|CONFIG GET x|PUBSUB NUMPAT|RESET|PING
SUBSCRIBE a|QUIT|PING
SUBSCRIBE ""|UNSUBSCRIBE ""
SUBSCRIBE "a\x00\r\n"|UNSUBSCRIBE
HELLO 3|SUBSCRIBE a|PUBLISH a x|PING|PING x|PUBLISH a|PUBLISH b x|FOO|ECHO x|UNSUBSCRIBE|PING
HELLO 3|PSUBSCRIBE a*|SUBSCRIBE abc|PUBLISH abc x|HELLO 2|PING|PUBLISH abc x|RESET|PUBLISH abc x
HELLO 3|PING|PUBLISH a x|SUBSCRIBE a|PUBLISH a x|PUBLISH a y|UNSUBSCRIBE a|PUBLISH a z
RESET|RESET x|reset
HELLO 3|RESET|CLIENT GETNAME
CONFIG|CONFIG GET|CONFIG GET nosuch|CONFIG GET nosuch neither|CONFIG FOO|HELLO 3|CONFIG GET nosuch
COMMAND FOO|COMMAND COUNT x|COMMAND DOCS nosuch|COMMAND INFO nosuch neither
HELLO 3|COMMAND DOCS nosuch|COMMAND INFO nosuch
INFO nosuch|HELLO 3|INFO nosuch
PING "a b" 'c d'
PING 'it\'s'
PING "\x41\x4g\n\r\t\b\a\q\"\\"
PING a"b c"
PING "a"b
PING 'a'b
PING "a
PING 'a
PING "a\
PING a\ b
|||PING
"""

RAW = [
    b"*1\r\n$4\r\nPING\r\n", b"*0\r\n*-1\r\n*-5\r\nPING\r\n", b"*1\r\nfoo\r\n", b"*1\r\n\r\n",
    b"*1\r\n\n\r\n", b"*x\r\n", b"*\r\n", b"*01\r\n", b"*-0\r\n", b"*+1\r\n", b"* 1\r\n", b"*1 \r\n",
    b"*2147483648\r\n", b"*99999999999999999999\r\n", b"*9223372036854775807\r\n",
    b"*9223372036854775808\r\n", b"*-9223372036854775808\r\nPING\r\n", b"*-9223372036854775809\r\nPING\r\n",
    b"*2147483647\r\n", b"*1000000\r\n$500000000\r\nabc", b"*1\r\n$x\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$\r\n",
    b"*1\r\n$04\r\nPING\r\n", b"*1\r\n$536870912\r\n", b"*1\r\n$536870913\r\n",
    b"*1\r\n$99999999999999999999\r\n", b"*1\r\n$4\r\nPINGxxPING\r\n", b"*1\rx$4\rxPINGxxPING\r\n",
    b"*1\r\n:4\r\n", b"*2\r\n$4\r\nPING\r\n*1\r\n$1\r\na\r\n", b"*2\r\n$4\r\nPING\r\n$0\r\n\r\n",
    b"*1\r\n$0\r\n\r\n", b"$4\r\nPING\r\n", b"\r\nPING\r\n", b"\n\n\nPING\n", b"\r\r\nPING\n",
    b"PING\rPING\r\n", b"PING", b"*1\r\n$4\r\nPI", b"*1\r\n$4\r\nPING", b"POST / HTTP/1.1\r\nPING\r\n",
    b"Host: localhost\r\nPING\r\n", b"PING\r\n*x\r\nPING\r\n", b"\xff\xfe\r\n", b"PING \xff\r\n",
    b"+OK\r\n", b"-ERR\r\n", b"*1\r\n$" + b"1" * 100 + b"\r\n", b"*" + b"1" * 100 + b"\r\n",
    b"a" * 65000 + b"\r\n", b"PING " + b"a" * 65000 + b"\r\n",
    b"*2\r\n$4\r\nECHO\r\n$70000\r\n" + b"x" * 70000 + b"\r\nPING\r\n", b"PING\r\n" * 5000,
    b"  PING   \r\n\tPING\tx\t\r\n",
]


def bulks(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def built_program():
    root = pathlib.Path(__file__).resolve().parents[3]
    said = subprocess.run([root / "examples/run", "--path", "pubsub"], stdout=subprocess.PIPE, text=True, check=True)
    return str(root / said.stdout.strip())


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(command, port, program=None):
    process = subprocess.Popen(command, executable=program, stdout=subprocess.DEVNULL)
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return process
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"{command[0]} does not listen")


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.barriers = 0

    def until_end(self, pieces):
        """Sends, half-closes, -> all that comes."""
        heard = b""
        try:
            for piece in pieces:
                self.socket.sendall(piece)
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # hung up already; what it said is still there
        try:
            while data := self.socket.recv(1 << 16):
                heard += data
        except ConnectionResetError:
            pass
        self.socket.close()
        return heard

    def until_barrier(self, data):
        """Sends, then a PING that every state answers, -> what comes before its answer."""
        self.barriers += 1
        mark = b"barrier-%d" % self.barriers
        self.socket.sendall(data + bulks(b"PING", mark))
        heard = b""
        while not heard.endswith(mark + b"\r\n"):
            more = self.socket.recv(1 << 16)
            if not more:
                return heard + b"<hung up>"
            heard += more
        return heard


def frame_end(data, at):
    """-> where the reply that begins there ends."""
    line_end = data.index(b"\r\n", at) + 2
    kind, line = data[at:at + 1], data[at + 1:line_end - 2]
    if kind in b"$=" and line != b"-1":
        return line_end + int(line) + 2
    if kind in b"*>%~":
        at = line_end
        for _ in range(max(int(line), 0) * (2 if kind == b"%" else 1)):
            at = frame_end(data, at)
        return at
    return line_end


def frames(data):
    at, found = 0, []
    while at < len(data):
        try:
            end = frame_end(data, at)
        except (ValueError, IndexError):
            end = len(data)
        found.append(data[at:end])
        at = end
    return found


def comparable(data):
    """The replies with what may differ made equal: client ids, lists in the order of a hash table."""
    result, run = [], []
    data = re.sub(rb"(\$2\r\nid\r\n):\d+", rb"\1:N", data)
    for frame in frames(data):
        if b"\r\npmessage\r\n" in frame[:20]:
            run.append(frame)  # several patterns that match one message
            continue
        result += sorted(run)
        run = []
        if re.match(rb"\*\d+\r\n\$\d+\r\nch:", frame):  # PUBSUB CHANNELS
            head, _, rest = frame.partition(b"\r\n")
            frame = head + b"".join(sorted(frames(rest)))
        result.append(frame)
    return result + sorted(run)


class Comparison:
    def __init__(self, ours, theirs):
        self.ports = (ours, theirs)
        self.done = self.different = 0

    def check(self, sent, ours, theirs):
        self.done += 1
        if comparable(ours) == comparable(theirs):
            return
        self.different += 1
        print(f"sent:  {sent!r:.2000}\nours:  {ours!r:.1000}\nredis: {theirs!r:.1000}\n")

    def alone(self, pieces):
        self.check(pieces, *(Connection(port).until_end(pieces) for port in self.ports))

    def together(self, steps, count):
        """Steps of (connection's number, bytes); afterwards each connection must have heard the same."""
        heard = []
        for port in self.ports:
            connections = [Connection(port) for _ in range(count)]
            said = [b""] * count
            for who, data in steps:
                said[who] += connections[who].until_barrier(data)
            for who in range(count):
                said[who] += connections[who].until_barrier(b"")
            for connection in connections:
                connection.socket.close()
            heard.append(said)
            self.wait_until_empty(port)
        for who, (ours, theirs) in enumerate(zip(*heard)):
            self.check([data for w, data in steps if w == who] + [b"<others>"] + list(steps), ours, theirs)

    @staticmethod
    def wait_until_empty(port):
        connection = Connection(port)
        question = bulks(b"PUBSUB", b"CHANNELS") + bulks(b"PUBSUB", b"NUMPAT")
        while not connection.until_barrier(question).startswith(b"*0\r\n:0"):
            time.sleep(0.001)
        connection.socket.close()


def cut(rng, data):
    """-> the bytes in pieces, as a network might."""
    pieces = []
    while data:
        size = rng.choice((1, 2, 5, 17, 400, 5000))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def random_word(rng, most=6):
    return bytes(rng.choice(b"abcAB*?[]^-\\ \r\n'\"\x01\x80\xff") for _ in range(rng.randrange(most)))


NAMES = (b"PING", b"ECHO", b"foo", b"CLIENT", b"client", b"HELLO", b"PUBSUB", b"SELECT", b"QUIT", b"RESET")


def random_stream(rng):
    """-> well-formed, damaged and meaningless requests. No zero bytes: Redis waits for ever after one."""
    stream = b""
    for _ in range(rng.randrange(1, 8)):
        name = rng.choice(NAMES)
        request = bulks(name, *(random_word(rng) for _ in range(rng.randrange(3))))
        if rng.random() < 0.3:
            request = b" ".join([name] + [random_word(rng) for _ in range(2)]) + rng.choice((b"\n", b"\r\n"))
        if rng.random() < 0.1:
            at = rng.randrange(len(request))
            damage = rng.choice((b"", b"1", b"-", b"\r\n", b"*", b"$", b"\x07"))
            request = request[:at] + damage + request[at + 1:]
        stream += request
    return stream


def random_pattern(rng):
    return b"ch:" * rng.randrange(2) + bytes(rng.choice(b"abc*?[]^-\\:h") for _ in range(rng.randrange(7)))


def random_steps(rng, count):
    """-> a conversation of several connections about a few channels."""
    names = [b"ch:" + bytes(rng.choice(b"abc[]*?^-\\") for _ in range(rng.randrange(4))) for _ in range(5)]
    steps = []
    for _ in range(rng.randrange(5, 40)):
        kind = rng.randrange(10)
        name, word = rng.choice(names), random_word(rng)
        some = [rng.choice(names) for _ in range(rng.randrange(1, 4))]
        patterns = [random_pattern(rng) for _ in range(rng.randrange(1, 3))]
        request = {
            0: bulks(b"SUBSCRIBE", *some),
            1: bulks(b"PSUBSCRIBE", *patterns),
            2: bulks(b"UNSUBSCRIBE", *some),
            3: bulks(b"PUNSUBSCRIBE", *patterns),
            4: bulks(b"HELLO", rng.choice((b"2", b"3"))),
            5: bulks(b"PUBSUB", b"CHANNELS", random_pattern(rng)),
            6: bulks(b"PUBSUB", b"NUMSUB", *some),
            7: bulks(b"RESET") if rng.random() < 0.2 else bulks(b"PUBSUB", b"NUMPAT"),
        }.get(kind, bulks(b"PUBLISH", name, word))
        steps.append((rng.randrange(count), request))
    return steps


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", nargs="?")
    parser.add_argument("--redis", default="redis-server")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    args = parser.parse_args()
    # The package redis-tools has the server under another name, and it asks for the name by which it was called.
    redis_program = shutil.which(args.redis) or shutil.which("redis-check-rdb")
    if not redis_program:
        print(f"skipped: there is no {args.redis} to compare with")
        return SKIPPED
    program = args.program or built_program()

    ours, theirs = free_port(), free_port()
    redis = ["redis-server", "--port", str(theirs), "--bind", "127.0.0.1", "--save", "", "--databases", "1"]
    servers = [start([program, "--listen", f"127.0.0.1:{ours}"], ours), start(redis, theirs, redis_program)]
    try:
        print(f"seed {args.seed}")
        rng = random.Random(args.seed)
        comparison = Comparison(ours, theirs)
        for line in ALONE.strip("\n").split("\n"):
            requests = re.split(r"(?<!^client)\|", line)  # "client|id" is one word
            comparison.alone(["\r\n".join(requests).encode() + b"\r\n"])
        for data in RAW:
            comparison.alone([data])
            if len(data) < 1000:
                comparison.alone([data[i:i + 1] for i in range(len(data))])
        for _ in range(args.rounds):
            comparison.alone(cut(rng, random_stream(rng)))
            comparison.together(random_steps(rng, 3), 3)
    finally:
        for server in servers:
            server.send_signal(signal.SIGTERM)
            server.wait()
    print(f"{comparison.done - comparison.different} passed, {comparison.different} failed")
    return 1 if comparison.different else 0


if __name__ == "__main__":
    sys.exit(main())
