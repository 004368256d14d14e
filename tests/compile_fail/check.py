#!/usr/bin/env python3
"""Misuse that must not compile, and for the right reason, on both compilers.

The first line of each file says how: `// must fail: REGEX`, or `// must fail on g++: REGEX` where only that
compiler can be made to refuse. With -DCONTROL the same file holds the right form and must compile everywhere.
"""
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
from checks import COMPILERS, INCLUDES, WARNINGS, check_all, run  # noqa: E402

FIRST_LINE = re.compile(r"// must fail(?: on (g\+\+|clang))?: (.+)")


def check(compiler, path, control):
    expected = FIRST_LINE.fullmatch(path.read_text(encoding="utf-8").split("\n")[0])
    if not expected:
        return f"{path.name}:1: the first line must be `// must fail: REGEX`"
    command = [compiler, "-std=c++20", *WARNINGS, *INCLUDES, "-fsyntax-only", str(path)]
    status, output = run(command + (["-DCONTROL"] if control else []))
    if control or not compiler.startswith(expected[1] or ""):
        return f"{path.name}: the right form does not compile with {compiler}:\n{output}" if status else None
    if not status:
        return f"{path.name}: compiles with {compiler}"
    if not re.search(expected[2], output):
        return f"{path.name}: fails with {compiler}, but not with /{expected[2]}/:\n{output}"
    return None


def main():
    return check_all(check, [(compiler, path, control) for path in sorted(HERE.glob("*.cpp"))
                             for compiler in COMPILERS for control in (False, True)])


if __name__ == "__main__":
    sys.exit(main())
