#!/usr/bin/env python3
"""The echo example as a program: what it says, how it ends, and with which status.

    tests/examples/echo_program.py PROGRAM [sanitized]
"""
import signal
import socket
import subprocess
import sys
import time


def run(program, *options):
    """-> (status, stdout, lines on stderr) of a program that ends by itself."""
    done = subprocess.run([program, *options], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr.splitlines()


def start(program):
    """-> the running program, and where it listens."""
    server = subprocess.Popen([program, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    host, port = server.stdout.readline().removeprefix("listening on ").strip().rsplit(":", 1)
    return server, (host, int(port))


def check_refusals(program):
    status, text, _ = run(program, "--help")
    assert status == 0 and "--listen" in text and "--workers" in text, text
    for options, part in [(["--nonsense"], "nonsense"), (["--workers", "many"], "workers"),
                          (["--listen", "nowhere"], "nowhere: Invalid argument"),
                          (["--listen", "192.0.2.1:1"], "192.0.2.1:1: Cannot assign requested address")]:
        status, text, lines = run(program, *options)
        assert (status, text, len(lines)) == (1, "", 1) and part in lines[0], (options, status, text, lines)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, _, lines = run(program, "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
        assert status == 1 and len(lines) == 1 and "Address already in use" in lines[0], lines


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
    check_refusals(program)
    for how in (signal.SIGTERM, signal.SIGINT):
        check_end(program, how, "sanitized" in options)
    print("1 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
