#!/usr/bin/env python3
"""Finds coroutines whose frame g++ 12 misplaced (GCC bug 106188), in the objects of an unoptimised build.

A coroutine with an awaiting `if`, `while`, `for` or `switch` condition, in which no block around it declares a
variable, gets a hidden variable in front of its frame's two function pointers. Its handles then disagree by 8
bytes, and whatever it is resumed through, it overwrites its neighbour. Any local variable in it is the cure.

The ramp of a coroutine stores the address of its .actor at the start of the frame: that store tells.
"""
import pathlib
import re
import subprocess
import sys

# The address of the .actor is loaded (named in a comment, or by the relocation on a line of its own), then stored.
STORE = re.compile(r"leaq[ \t]+[^\n]*\(%rip\), (%r\w+)[^\n]*(?:\n[^\n]*R_X86_64[^\n]*)?[<\s](_Z\S+\.actor)\b[^\n]*\n"
                   r"[^\n]*movq[ \t]+\1, (\w*)\(%r\w+\)")
# The test of the check at run time has one: whoever does not see it here is blind.
PLANTED = "planted_misplaced_frame"


def coroutines_of(path):
    """The plain name of each coroutine in an object, and whether its frame is misplaced."""
    text = subprocess.run(["llvm-objdump-19", "-dr", "--no-show-raw-insn", path], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    found = STORE.findall(text)
    plain = subprocess.run(["c++filt"], check=True, text=True, input="\n".join(name for _, name, _ in found),
                           stdout=subprocess.PIPE).stdout
    names = [line.replace("(anonymous namespace)::", "").split("(")[0] for line in plain.splitlines()]
    return [(name, bool(offset)) for name, (_, _, offset) in zip(names, found, strict=True)]


def main(folder):
    objects = sorted(pathlib.Path(folder).rglob("*.cpp.o"))
    coroutines, misplaced, planted = 0, 0, 0
    for path in objects:
        for name, is_misplaced in coroutines_of(path):
            coroutines += 1
            if name == PLANTED:
                planted += is_misplaced
            elif is_misplaced:
                misplaced += 1
                print(f"{path}: {name}: misplaced frame: declare a local variable in this coroutine")
    if planted != 1:
        print(f"frames: {PLANTED} was not found misplaced: this check has gone blind")
    print(f"frames: {coroutines} coroutines in {len(objects)} objects, {misplaced} misplaced")
    return 1 if misplaced or planted != 1 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
