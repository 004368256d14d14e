#!/usr/bin/env python3
"""The proxy example as a program: what goes through it arrives, and so does the end of it.

    tests/examples/proxy_program.py PROGRAM

socat and nc are the clients; one that is not installed is skipped, and the reason is printed.
"""
import hashlib
import shutil
import signal
import socket
import subprocess
import sys
import threading

from program import check_refusals, start

SIZE = 64 * 1024 * 1024


class Target:
    """Listens, and answers each connection with a function of its own."""

    def __init__(self, answer):
        self.answer = answer
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "%s:%d" % self.listener.getsockname()
        threading.Thread(target=self.accept_all, daemon=True).start()

    def accept_all(self):
        while True:
            peer, _ = self.listener.accept()
            threading.Thread(target=self.talk, args=[peer], daemon=True).start()

    def talk(self, peer):
        with peer:
            self.answer(peer)


def echo(peer):
    while part := peer.recv(1 << 18):
        peer.sendall(part)


def digest(peer):
    """Answers when the client has finished, and not before."""
    seen = hashlib.sha256()
    while part := peer.recv(1 << 18):
        seen.update(part)
    peer.sendall(seen.hexdigest().encode())


def greet(peer):
    """Finishes first, and reads on."""
    peer.sendall(b"who is there?\n")
    peer.shutdown(socket.SHUT_WR)
    said.append(peer.recv(100))


said = []


def through(target, command, text):
    """-> what a client gets back through a proxy to the target, which then ends as it should."""
    server, (host, port) = start(PROGRAM, "--to", target if isinstance(target, str) else target.address)
    try:
        command = [word.format(host=host, port=port) for word in command]
        done = subprocess.run(command, input=text, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, (command, done.returncode, done.stderr)
        server.send_signal(signal.SIGTERM)
        last_words = server.communicate(timeout=60)[0]
        assert server.returncode == 0, server.returncode
        return done.stdout, last_words
    finally:
        server.kill()


SOCAT = ["socat", "-t", "60", "-", "TCP:{host}:{port}"]


def much_there_and_back():
    sent = hashlib.shake_256(b"there and back").digest(SIZE)
    back, words = through(Target(echo), SOCAT, sent)
    assert hashlib.sha256(back).digest() == hashlib.sha256(sent).digest(), len(back)
    assert words == f"served 1 connections, {SIZE} bytes there, {SIZE} back; 0 found no target\n", words


def much_before_the_answer():
    """The client's half-close goes through, or there would be no answer."""
    sent = hashlib.shake_256(b"before").digest(SIZE)
    back, _ = through(Target(digest), SOCAT, sent)
    assert back.decode() == hashlib.sha256(sent).hexdigest(), back


def a_target_that_finishes_first():
    """The target's half-close goes through, and what the client says after it too."""
    command = ["socat", "-t", "60", "SYSTEM:cat >&2; echo it is me", "TCP:{host}:{port}"]
    through(Target(greet), command, b"")
    assert said == [b"it is me\n"], said


def no_target():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        nowhere = "127.0.0.1:%d" % gone.getsockname()[1]
    back, words = through(nowhere, ["nc", "-N", "{host}", "{port}"], b"hello")
    assert back == b"" and words.endswith("1 found no target\n"), (back, words)


def ends_with_a_connection_open():
    server, address = start(PROGRAM, "--to", Target(echo).address)
    with socket.create_connection(address) as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"
        server.send_signal(signal.SIGTERM)
        assert client.recv(1) == b""
        assert server.wait(timeout=60) == 0


def main():
    passed = 0
    check_refusals(PROGRAM, [])
    for test, client in ((much_there_and_back, "socat"), (much_before_the_answer, "socat"),
                         (a_target_that_finishes_first, "socat"), (no_target, "nc"),
                         (ends_with_a_connection_open, "")):
        if not client or shutil.which(client):
            test()
            passed += 1
        else:
            print(f"skipped: {test.__name__}: {client} is not installed")
    print(f"{passed + 1} passed, 0 failed")
    return 0


if __name__ == "__main__":
    PROGRAM = sys.argv[1]
    sys.exit(main())
