#!/usr/bin/env python3
"""Counts the test cases in Meson's test log: doctest's own count, or one for a program that has none."""
import json
import re
import sys

SUMMARY = re.compile(r"^\[doctest\] test cases: *(\d+) \| *(\d+) passed \| *(\d+) failed", re.M)


def count(test):
    """-> (passed, failed) of one program; one that died before its summary failed at least once."""
    good = test["result"] == "OK"
    summary = SUMMARY.search(test.get("stdout") or "")
    if not summary:
        return (1, 0) if good else (0, 1)
    passed, failed = int(summary[2]), int(summary[3])
    return passed, failed if good else max(failed, 1)


def main(log):
    with open(log, encoding="utf-8") as lines:
        counts = [count(json.loads(line)) for line in lines]
    passed, failed = (sum(column) for column in zip(*counts)) if counts else (0, 0)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
