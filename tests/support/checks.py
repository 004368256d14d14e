"""What the checking scripts share: the tree, the compilers, running cases side by side, the last line."""
import os
import pathlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("runtime", "channel", "io", "io/tls")
COMPILERS = ("g++", "clang++-19")
INCLUDES = [f"-I{ROOT / folder / 'include'}" for folder in FOLDERS]
WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror"]


def public_headers(folders=FOLDERS):
    """-> every header that gets installed, as (folder, path below include/)."""
    for folder in folders:
        base = ROOT / folder / "include"
        for path in sorted(base.rglob("*.hpp")):
            yield folder, path.relative_to(base).as_posix()


def run(command, text=""):
    """-> (exit status, everything it printed)."""
    done = subprocess.run(command, input=text, text=True, errors="replace", cwd=ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout


def check_all(check, cases):
    """Calls check(*case) for all cases, as many at once as RUNNEL_JOBS says; each gives None or what is wrong.

    Prints what is wrong and the line with the counts. -> the exit status.
    """
    cases = list(cases)
    with ThreadPoolExecutor(int(os.environ.get("RUNNEL_JOBS") or os.cpu_count())) as pool:
        problems = [problem for problem in pool.map(lambda case: check(*case), cases) if problem]
    for problem in problems:
        print(problem.rstrip())
    print(f"{len(cases) - len(problems)} passed, {len(problems)} failed")
    return 1 if problems else 0
