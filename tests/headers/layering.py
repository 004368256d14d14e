#!/usr/bin/env python3
"""A wrong include does not compile: each folder sees its own headers and those of the folders it may know.

Takes the compiler's arguments of a real source of each folder, as Meson wrote them, and compiles one-line files
with them: what may be seen must compile (the control), what may not must fail because the file is not found.
"""
import json
import pathlib
import shlex
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from checks import FOLDERS, ROOT, check_all, public_headers, run  # noqa: E402

MAY_SEE = {"runtime": {"runtime"}, "channel": {"runtime", "channel"}, "io": {"runtime", "io"},
           "io/tls": {"runtime", "io", "io/tls"}}
LIBURING = {"io"}
BUILD = ROOT / "build" / "layering"


def arguments(folder):
    """-> (directory, compiler with its include arguments) of the first source of the folder."""
    for entry in json.loads((BUILD / "compile_commands.json").read_text(encoding="utf-8")):
        source = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        if source.parent == ROOT / folder:
            words = shlex.split(entry["command"])
            return entry["directory"], words[:1] + [word for word in words if word.startswith(("-I", "-std"))]
    raise SystemExit(f"{folder} has no source in the build")


def private_headers(folder):
    """-> the names of the headers that only their own folder may include."""
    return [path.name for path in sorted((ROOT / folder).glob("*.hpp"))]


def includes():
    """-> all (folder, what it includes, whether it may), two of each kind."""
    for folder in FOLDERS:
        for other in FOLDERS:
            names = [path for _, path in public_headers([other])][:2]
            yield from ((folder, f"<{name}>", other in MAY_SEE[folder]) for name in names)
            if other != folder:
                yield from ((folder, f'"{name}"', False) for name in private_headers(other)[:2])
        # On Debian liburing stands in /usr/include, where everybody sees it: tidy.py forbids it elsewhere.
        if folder in LIBURING:
            yield folder, "<liburing.h>", True


def check(folder, include, allowed):
    directory, command = arguments(folder)
    with tempfile.TemporaryDirectory() as temporary:
        source = pathlib.Path(temporary) / "probe.cpp"
        source.write_text(f"#include {include}\n", encoding="utf-8")
        done = subprocess.run([*command, "-fsyntax-only", str(source)], cwd=directory, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if allowed and done.returncode:
        return f"{folder} cannot include {include}:\n{done.stdout}"
    if not allowed and "No such file" not in done.stdout:
        return f"{folder} can include {include}, and must not:\n{done.stdout}"
    return None


def main():
    if not (BUILD / "build.ninja").exists():
        status, output = run(["meson", "setup", str(BUILD), "-Dtests=disabled", "-Dexamples=disabled",
                              "-Dbench=disabled"])
        if status:
            print(output)
            return status
    cases = list(includes())
    for folder in FOLDERS:  # a list without both kinds would prove nothing
        if {allowed for name, _, allowed in cases if name == folder} != {True, False}:
            print(f"{folder}: no include to try")
            return 1
    return check_all(check, cases)


if __name__ == "__main__":
    sys.exit(main())
