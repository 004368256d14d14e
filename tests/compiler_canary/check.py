#!/usr/bin/env python3
"""Tries the compilers: what runnel relies on must hold in every build, what is known to bite is looked at again.

The programs here are built by both compilers, plain and with sanitizers, and run; a failure fails. Those in
bites/ show what g++ 12 gets wrong: whether it still does is only reported.
"""
import os
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
from checks import COMPILERS, check_all, run  # noqa: E402

ASAN, TSAN = "-fsanitize=address,undefined", "-fsanitize=thread"
BUILDS = [("-O0",), ("-O2",), ("-O2", ASAN), ("-O2", TSAN)]
MORE_BUILDS = [("-O1",), ("-O3",), ("-O0", ASAN), ("-O0", TSAN), ("-O2", "-fPIC"), ("-O2", "-flto")]


def build_and_run(compiler, options, source):
    """-> (exit status, output) of the compiler if that failed, else of the program."""
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / "program"
        command = [compiler, "-std=c++20", "-Wall", "-Wextra", "-g1", "-pthread", *options]
        status, output = run([*command, str(source), "-o", str(program)])
        return (status, output) if status else run([str(program)])


def check(compiler, options, source):
    status, output = build_and_run(compiler, options, source)
    if status:
        return f"{source.stem}, {compiler} {' '.join(options)}: status {status}\n{output[-3000:]}"
    return None


def report_bites():
    """Prints which compiler gets which of them wrong; that is no failure."""
    for source in sorted(HERE.glob("bites/*.cpp")):
        what = source.read_text(encoding="utf-8").split("\n")[0].removeprefix("// bites: ")
        results = (build_and_run(compiler, ["-O0", "-w"], source)[0] for compiler in COMPILERS)
        words = [f"{compiler} {'BITES' if wrong else 'right'}" for compiler, wrong in zip(COMPILERS, results)]
        print(f"{', '.join(words)}: {source.stem}: {what}", flush=True)


def main():
    report_bites()
    builds = BUILDS + (MORE_BUILDS if os.environ.get("RUNNEL_TEST_LEVEL") == "full" else [])
    return check_all(check, [(compiler, options, source) for source in sorted(HERE.glob("*.cpp"))
                             for options in builds for compiler in COMPILERS])


if __name__ == "__main__":
    sys.exit(main())
