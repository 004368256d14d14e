"""A service of the examples as a program: what the tests of each begin with."""
import socket
import subprocess


def run(program, *options):
    """-> (status, stdout, lines on stderr) of a program that ends by itself."""
    done = subprocess.run([program, *options], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr.splitlines()


def start(program, *options):
    """-> the running program, and where it listens."""
    server = subprocess.Popen([program, "--listen", "127.0.0.1:0", *options], stdout=subprocess.PIPE, text=True)
    host, port = server.stdout.readline().removeprefix("listening on ").strip().rsplit(":", 1)
    return server, (host, int(port))


def check_refusals(program, refusals):
    """Each of (options, part of the message) ends it with status 1 and one line on stderr; --help does not."""
    status, text, _ = run(program, "--help")
    assert status == 0 and "--listen" in text and "--workers" in text, text
    refusals = [(["--nonsense"], "nonsense"), (["--workers", "many"], "workers"),
                (["--listen", "nowhere"], "nowhere: Invalid argument"),
                (["--listen", "192.0.2.1:1"], "192.0.2.1:1: Cannot assign requested address"), *refusals]
    for options, part in refusals:
        status, text, lines = run(program, *options)
        assert (status, text, len(lines)) == (1, "", 1) and part in lines[0], (options, status, text, lines)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, _, lines = run(program, "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
        assert status == 1 and len(lines) == 1 and "Address already in use" in lines[0], lines
