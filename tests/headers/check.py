#!/usr/bin/env python3
"""Each public header stands alone on both compilers, twice in a row, and weighs what budget.txt allows.

Those in detail/ take turns at the compilers, unless all are asked for.

The weight is the lines that `g++ -std=c++20 -E` leaves without blank ones and markers: what every user pays for every file that includes it.
"""
import os
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from checks import COMPILERS, INCLUDES, WARNINGS, check_all, public_headers, run  # noqa: E402

BUDGET = pathlib.Path(__file__).with_name("budget.txt")
STANDARD = ["-std=c++20", "-x", "c++"]


def budgets():
    """-> {header name, or "default", or "<chrono>": lines}."""
    lines = (line.split("#")[0].split() for line in BUDGET.read_text(encoding="utf-8").splitlines())
    return {line[0]: int(line[1]) for line in lines if line}


def compiles(compiler, header):
    text = f"#include <runnel/{header}>\n" * 2 + f'static_assert(__cplusplus >= 202002L, "C++20");\n'
    status, output = run([compiler, *STANDARD, *WARNINGS, *INCLUDES, "-fsyntax-only", "-"], text)
    return f"{header} does not compile alone with {compiler}:\n{output}" if status else None


def weigh(header, allowed):
    text = f"#include <runnel/{header}>\n"
    status, output = run(["g++", *STANDARD, *INCLUDES, "-E", "-"], text)
    if status:
        return f"{header} cannot be preprocessed:\n{output}"
    lines = sum(line.strip() != "" and not line.startswith("#") for line in output.splitlines())
    kind = "<chrono>" if re.search(r'^# \d+ ".*/chrono"', output, re.MULTILINE) else "default"
    limit = allowed.get(header, allowed[kind])
    mark = "" if header in allowed else f" ({kind})"
    print(f"{header:32} {lines:7} of {limit:6}{mark}", flush=True)
    return f"{header} weighs {lines} lines, {limit} are allowed" if lines > limit else None


def main():
    headers = [path.removeprefix("runnel/") for _, path in public_headers()]
    allowed = budgets()
    unknown = allowed.keys() - set(headers) - {"default", "<chrono>"}
    full = os.environ.get("RUNNEL_TEST_LEVEL") == "full"
    cases = [(compiles, compiler, header) for number, header in enumerate(headers) for compiler in COMPILERS
             if full or not header.startswith("detail/") or compiler == COMPILERS[number % 2]]
    cases += [(weigh, header, allowed) for header in headers if not header.startswith("detail/")]
    cases += [(lambda name: f"budget.txt names {name}, which does not exist", name) for name in sorted(unknown)]
    return check_all(lambda function, *rest: function(*rest), cases)


if __name__ == "__main__":
    sys.exit(main())
