#!/usr/bin/env python3
"""The http example as a program, and what curl, nc and wrk say to it.

    tests/examples/http_program.py PROGRAM

A client that is not installed is skipped, and the reason is printed.
"""
import hashlib
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile

from program import check_refusals, start

BIG = 64 * 1024 * 1024


def ask(*command, text=b""):
    done = subprocess.run(command, input=text, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, (command, done)
    return done.stdout


def several_requests_on_one_connection(url):
    shown = ask("curl", "-s", "-w", " %{http_code} %{num_connects}\n", url + "/", url + "/", url + "/nowhere")
    assert shown == b"hello\n 200 1\nhello\n 200 0\nnot found\n 404 0\n", shown


def a_connection_that_is_to_be_closed(url):
    head = ask("curl", "-s", "-i", "-H", "Connection: close", url + "/")
    assert b"\r\nConnection: close\r\n" in head and head.endswith(b"\r\n\r\nhello\n"), head
    assert ask("curl", "-s", "--http1.0", url + "/") == b"hello\n"


def a_big_body(url):
    """With Expect: 100-continue, which curl sends by itself."""
    with tempfile.TemporaryDirectory() as folder:
        sent = pathlib.Path(folder) / "sent"
        sent.write_bytes(hashlib.shake_256(b"a big body").digest(BIG))
        back = pathlib.Path(folder) / "back"
        shown = ask("curl", "-s", "-o", back, "-w", "%{http_code}", "--data-binary", f"@{sent}", url + "/echo")
        assert shown == b"200", shown
        assert back.read_bytes() == sent.read_bytes()


def a_body_without_a_length(url):
    shown = ask("curl", "-s", "-w", "%{http_code}", "-T", "-", url + "/echo", text=b"of unknown length")
    assert shown == b"411", shown


def requests_in_one_piece(address):
    """nc sends them all before it reads: they are answered in their order."""
    asked = b"GET / HTTP/1.1\r\n\r\nPOST /echo HTTP/1.1\r\ncontent-length: 3\r\n\r\nabcGET / HTTP/1.0\r\n\r\n"
    text = ask("nc", *address, text=asked)
    bodies = re.findall(rb"HTTP/1.1 200 OK\r\nContent-Length: \d+\r\n(?:Connection: close\r\n)?\r\n(hello\n|abc)", text)
    assert bodies == [b"hello\n", b"abc", b"hello\n"], text
    assert ask("nc", *address, text=b"what?\r\n").startswith(b"HTTP/1.1 400 Bad Request\r\n")


def clients_that_go_away(url, address):
    """In the midst of a head, of a body, and of an answer that nobody reads. The others notice nothing."""
    for words in (b"GET / HT", b"POST /echo HTTP/1.1\r\nContent-Length: 1000\r\n\r\nabc",
                  b"POST /echo HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + bytes(50000)):
        with socket.create_connection(address) as gone:
            gone.sendall(words)
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
    late = subprocess.run(["curl", "-s", "--max-time", "0.3", "--limit-rate", "1K", "--data-binary", "x" * 100_000,
                           url + "/echo"], capture_output=True, timeout=60, check=False)
    assert late.returncode == 28, late  # curl's own limit has ended it
    assert ask("curl", "-s", url + "/") == b"hello\n"


def many_requests(url):
    text = ask("wrk", "-t", "1", "-c", "50", "-d", "1", url + "/").decode()
    assert "Socket errors" not in text and "Non-2xx" not in text, text
    found = re.search(r"(\d+) requests in", text)
    assert found and int(found[1]) > 100, text


def check(program):
    server, (host, port) = start(program)
    url = f"http://{host}:{port}"
    tests = {several_requests_on_one_connection: ("curl", [url]),
             a_connection_that_is_to_be_closed: ("curl", [url]),
             a_big_body: ("curl", [url]),
             a_body_without_a_length: ("curl", [url]),
             clients_that_go_away: ("curl", [url, (host, port)]),
             requests_in_one_piece: ("nc", [(host, str(port))]),
             many_requests: ("wrk", [url])}
    passed = 0
    try:
        for test, (client, arguments) in tests.items():
            if shutil.which(client):
                test(*arguments)
                passed += 1
            else:
                print(f"skipped: {test.__name__}: {client} is not installed")
        with socket.create_connection((host, port)):  # an idle one does not keep it from ending
            server.send_signal(signal.SIGTERM)
            assert server.wait(timeout=60) == 0
    finally:
        server.kill()
    return passed


def main(program):
    check_refusals(program, [])
    print(f"{check(program) + 1} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
