#!/usr/bin/env python3
"""Lists the tasks of a hung program from its core file by the gdb script: g++ -O0 and clang -O2, or all four."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
from checks import COMPILERS, INCLUDES, ROOT, check_all, run  # noqa: E402

SCRIPT = ROOT / "runtime/gdb/runnel.py"
LIBRARY = sorted(ROOT.glob("runtime/*.cpp")) + [HERE / "no_io.cpp"]
LINES = (HERE / "hang.cpp").read_text().splitlines()


def line_of(text):
    return 1 + next(number for number, line in enumerate(LINES) if text in line)


def expected():
    """What the list must say, as expressions, in this order."""
    start_of_waiters = line_of("all.spawn(wants_too")
    return [
        r"runnel: 4 tasks",
        r"1 task running or ready to run",
        rf"1 task 'holder' waiting\n    hang.cpp:{line_of('co_await never.wait()')}\n  started at hang.cpp:{line_of('all.spawn(holds')}",
        rf"2 tasks waiting\n    hang.cpp:{line_of('rn::task<> wants(')}\n    hang.cpp:{line_of('rn::task<> wants_too(')}\n"
        rf"  started at hang.cpp:{start_of_waiters}",
    ]


def check(compiler, level):
    with tempfile.TemporaryDirectory() as folder:
        program, core = f"{folder}/hang", f"{folder}/core"
        status, text = run([compiler, "-std=c++20", "-g", level, *INCLUDES, f"-I{ROOT / 'runtime'}", *map(str, LIBRARY),
                            str(HERE / "hang.cpp"), "-o", program, "-pthread"])
        if status:
            return f"{compiler} {level}: {text}"
        # gdb writes the core itself: where the kernel puts one is the machine's affair.
        run(["gdb", "-batch", "-nx", "-ex", "run", "-ex", f"generate-core-file {core}", program])
        text = subprocess.run(["gdb", "-batch", "-nx", program, core, "-ex", f"source {SCRIPT}", "-ex", "runnel tasks"],
                              text=True, capture_output=True, check=False).stdout
        missing = [each for each in expected() if not re.search(each, text)]
        return f"{compiler} {level}: not listed: {missing}\n{text}" if missing else None


def why_not_here():
    """Where programs must not be traced (some containers), gdb cannot run one. -> what it says, or nothing."""
    _, text = run(["gdb", "-batch", "-nx", "-ex", "run", "/bin/true"])
    return "" if "exited normally" in text else text.strip().splitlines()[-1] if text.strip() else "it says nothing"


if __name__ == "__main__":
    if reason := why_not_here():
        print(f"skipped: gdb cannot run a program here: {reason}")
        sys.exit(77)
    every = [(compiler, level) for level in ("-O0", "-O2") for compiler in COMPILERS]
    sys.exit(check_all(check, every if os.environ.get("RUNNEL_TEST_LEVEL") == "full" else every[::3]))
