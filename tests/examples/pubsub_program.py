#!/usr/bin/env python3
"""The pubsub example as a program: what it refuses, and how it ends.

    tests/examples/pubsub_program.py PROGRAM
"""
import signal
import socket
import sys

from program import check_refusals, start

REFUSALS = [(["--queue", size], "--queue") for size in ("0", "-1", "-5MB", "2TB", "99999999999999999999", "1.5MB", "x")]
REFUSALS += [(["--slow", "wait"], "--slow"),
             (["--trace", "/no/such/folder/x"], "cannot write the trace /no/such/folder/x: No such file or directory")]


def check_end(program, how):
    server, address = start(program)
    with socket.create_connection(address) as client:
        client.sendall(b"PING\r\n")
        assert client.recv(7) == b"+PONG\r\n"
        server.send_signal(how)
        assert client.recv(1) == b""
    assert server.wait(timeout=60) == 0


def main(program):
    check_refusals(program, REFUSALS)
    for how in (signal.SIGTERM, signal.SIGINT):
        check_end(program, how)
    print("1 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
