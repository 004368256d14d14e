#!/usr/bin/env python3
"""Many idle connections to the echo example: what each costs, whether all answer, how it ends.

    tests/io/idle_connections.py PROGRAM [sanitized]

1,000 connections, or 10,000 when RUNNEL_TEST_LEVEL is full, from this process to PROGRAM:
  - each costs the server at most 1 KiB of memory of its own (not when a sanitizer keeps records). The workers' pools,
    which are filled when many ask at once, come on top of that for 1,000; 10,000 outweigh them;
  - while nothing arrives, the server sleeps: less than 5 wake-ups in a second;
  - then each of them is answered, with its own bytes;
  - SIGTERM ends it within a second with all connections open, status 0, and a true count.
"""
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import time

BYTES_EACH_MAX = 1024
POOLS = 1 << 20
WAKE_UPS_MAX = 5
WARM_UP = 50  # connections that are not counted: the first ones fill pools


def raise_descriptor_limit(wanted):
    """-> whether so many descriptors may be open in one process; the server inherits the limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < wanted:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return True


def own_memory(pid):
    """-> bytes of anonymous memory that the process occupies."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this kernel does not tell RssAnon")


def wake_ups(pid):
    """-> how often the threads of the process have gone to sleep so far."""
    text = "".join(path.read_text(encoding="ascii") for path in pathlib.Path(f"/proc/{pid}/task").glob("*/status"))
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("voluntary_ctxt_switches"))


def connect(address, count):
    """-> connections that the server has taken: each has been answered once."""
    sockets = []
    for _ in range(count):
        one = socket.create_connection(address)
        one.settimeout(60)
        sockets.append(one)
    for one in sockets:
        one.sendall(b"?")
    for one in sockets:
        assert one.recv(1) == b"?"
    return sockets


def ask_all(sockets):
    for number, one in enumerate(sockets):
        one.sendall(b"connection %06d\n" % number)
    for number, one in enumerate(sockets):
        answer = b""
        while len(answer) < 18:
            part = one.recv(18 - len(answer))
            assert part, f"connection {number} was closed"
            answer += part
        assert answer == b"connection %06d\n" % number, answer


def check(server, address, count, sanitized):
    first = connect(address, WARM_UP)
    before = own_memory(server.pid)
    sockets = first + connect(address, count)
    each = (own_memory(server.pid) - before) / count
    most = BYTES_EACH_MAX + (POOLS / count if count < 10_000 else 0)
    time.sleep(0.2)
    awake = wake_ups(server.pid)
    time.sleep(1)
    awake = wake_ups(server.pid) - awake
    print(f"{count} idle connections: {each:.0f} bytes each, {awake} wake-ups in a second")
    assert sanitized or each <= most, f"{each:.0f} bytes for each idle connection"
    # ThreadSanitizer has a thread of its own that wakes up ten times a second.
    assert sanitized or awake < WAKE_UPS_MAX, f"{awake} wake-ups in a second without work"
    ask_all(sockets)

    began = time.monotonic()
    server.send_signal(signal.SIGTERM)
    last_words = server.communicate(timeout=60)[0]
    took = time.monotonic() - began
    print(f"ended after {took * 1000:.0f} ms with status {server.returncode}: {last_words.strip()}")
    assert server.returncode == 0
    assert sanitized or took < 1, f"SIGTERM took {took:.1f} s"
    assert f"served {count + WARM_UP} connections" in last_words


def main(program, *options):
    count = 10_000 if os.environ.get("RUNNEL_TEST_LEVEL") == "full" else 1_000
    if not raise_descriptor_limit(count + WARM_UP + 100):
        print(f"skipped: the limit of descriptors does not allow {count} connections")
        return 77
    # Meson lets malloc() fill what it gives, so that memory counts which nobody has used.
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_PERTURB_"}
    with subprocess.Popen([program, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True,
                          env=environment) as server:
        try:
            host, port = server.stdout.readline().removeprefix("listening on ").strip().rsplit(":", 1)
            check(server, (host, int(port)), count, "sanitized" in options)
        finally:
            server.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
