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
STORE = re.compile(r"lea +[^\n]*\(%rip\),(%r\w+)[^\n]*(?:\n[^\n]*R_X86_64[^\n]*)?[<\s](_Z\S+\.actor)\b[^\n]*\n"
                   r"[^\n]*mov +\1,(\w*)\(%r\w+\)")


def main(folder):
    objects = sorted(pathlib.Path(folder).rglob("*.cpp.o"))
    coroutines, misplaced = 0, 0
    for path in objects:
        text = subprocess.run(["objdump", "-dr", "--no-show-raw-insn", path], check=True, text=True,
                              stdout=subprocess.PIPE).stdout
        for _, name, offset in STORE.findall(text):
            coroutines += 1
            if offset:
                misplaced += 1
                plain = subprocess.run(["c++filt", name], check=True, text=True, stdout=subprocess.PIPE).stdout
                name = plain.replace("(anonymous namespace)::", "").split("(")[0]
                print(f"{path}: {name}: misplaced frame: declare a local variable in this coroutine")
    print(f"frames: {coroutines} coroutines in {len(objects)} objects, {misplaced} misplaced")
    return 1 if misplaced else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
