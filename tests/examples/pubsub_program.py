#!/usr/bin/env python3
"""The pubsub example as a program: what it refuses, how it ends, and that it leaves a trace.

    tests/examples/pubsub_program.py PROGRAM
"""
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile

from program import check_refusals, start

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "trace"))
from trace_format import problems  # noqa: E402

REFUSALS = [(["--queue", size], "--queue") for size in ("0", "-1", "-5MB", "2TB", "99999999999999999999", "1.5MB", "x")]
REFUSALS += [(["--slow", "wait"], "--slow"),
             (["--trace", "/no/such/folder/x"], "cannot write the trace /no/such/folder/x: No such file or directory")]


def check_end(program, how, *options):
    server, address = start(program, *options)
    with socket.create_connection(address) as client:
        client.sendall(b"PING\r\n")
        assert client.recv(7) == b"+PONG\r\n"
        server.send_signal(how)
        assert client.recv(1) == b""
    assert server.wait(timeout=60) == 0


def check_trace(program):
    with tempfile.TemporaryDirectory() as folder:
        trace = pathlib.Path(folder) / "run.json"
        check_end(program, signal.SIGTERM, "--trace", str(trace))
        text = trace.read_text(encoding="utf-8")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
            found = subprocess.run([program, "--listen", listen, "--trace", trace], capture_output=True, timeout=60)
        assert found.returncode == 1 and b"cannot listen" in found.stderr, found
        assert trace.read_text(encoding="utf-8") == text, "who cannot begin has taken what was there"
        assert not problems(text) and '"name":"read ' in text and '"name":"complete receive"' in text, problems(text)


def main(program):
    check_refusals(program, REFUSALS)
    for how in (signal.SIGTERM, signal.SIGINT):
        check_end(program, how)
    check_trace(program)
    print("1 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
