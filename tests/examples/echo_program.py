#!/usr/bin/env python3
"""The echo example as a program: what it says, how it ends, and with which status.

    tests/examples/echo_program.py PROGRAM [sanitized]
"""
import signal
import socket
import sys
import time

from program import check_refusals, start


def check_end(program, how, sanitized):
    server, address = start(program)
    with socket.create_connection(address) as idle, socket.create_connection(address) as asks:
        asks.sendall(b"hello\n")
        assert asks.recv(6) == b"hello\n"
        began = time.monotonic()
        server.send_signal(how)
        last_words = server.communicate(timeout=60)[0]
        took = time.monotonic() - began
        assert server.returncode == 0, server.returncode
        assert last_words == "served 2 connections, 6 bytes\n", last_words
        assert sanitized or took < 0.1, f"{how.name} took {took * 1000:.0f} ms"
        assert idle.recv(1) == b"" and asks.recv(1) == b""


def main(program, *options):
    check_refusals(program, [])
    for how in (signal.SIGTERM, signal.SIGINT):
        check_end(program, how, "sanitized" in options)
    print("1 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
