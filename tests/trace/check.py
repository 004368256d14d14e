#!/usr/bin/env python3
"""Traces are what viewers understand: the format, and a picture of it.

    tests/trace/check.py                    the checks themselves; then pubsub, traced while redis clients load it
    tests/trace/check.py --scenes PROGRAM   the traces that this program writes (tests/trace/scenes.cpp)
    tests/trace/check.py FILE...            these
"""
import copy
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
sys.path.insert(0, str(HERE.parent / "examples"))
from checks import ROOT, check_all, run  # noqa: E402
from program import start  # noqa: E402
from trace_format import problems  # noqa: E402

SVG = ROOT / "runtime/trace_svg.py"
LOAD = 1_000  # messages per publisher

# --- The checks themselves -----------------------------------------------------------------------------


def good():
    """-> a page with one of each: worker 0 wakes a task, which goes on on worker 1 and receives."""
    base = {"pid": 1, "tid": 0}
    return {"displayTimeUnit": "ns", "traceEvents": [
        {**base, "ph": "M", "name": "process_name", "args": {"name": "p"}},
        {**base, "ph": "M", "name": "thread_name", "args": {"name": "worker 0"}},
        {**base, "ph": "M", "tid": 1, "name": "thread_name", "args": {"name": "worker 1"}},
        {**base, "ph": "X", "ts": 1.5, "name": "task 1", "cat": "turn", "dur": 2, "args": {"task": 1}},
        {**base, "ph": "s", "ts": 2, "name": "wake", "cat": "wake", "id": 1},
        {**base, "ph": "X", "ts": 3.5, "name": "task 3", "cat": "turn", "dur": 0, "args": {"task": 3}},
        {**base, "ph": "X", "tid": 1, "ts": 3, "name": "task 2", "cat": "turn", "dur": 2, "args": {"task": 2}},
        {**base, "ph": "f", "tid": 1, "ts": 3, "name": "wake", "cat": "wake", "id": 1, "bp": "e"},
        {**base, "ph": "i", "tid": 1, "ts": 4, "name": "receive", "cat": "io", "s": "t", "args": {"task": 2}},
        {**base, "ph": "b", "ts": 1, "name": "task 2", "cat": "task", "id": 2},
        {**base, "ph": "b", "ts": 1, "name": "ready", "cat": "task", "id": 2},
        {**base, "ph": "e", "ts": 3, "name": "ready", "cat": "task", "id": 2},
        {**base, "ph": "e", "ts": 5, "name": "task 2", "cat": "task", "id": 2}]}


PROCESS, THREAD, _, TURN, ARROW, LATER, SECOND, TIP, INSTANT, BEGIN, READY, RUNS, END = range(13)


def setting(at, **members):
    """-> a change of one event: members set, or taken away by None."""
    def change(events):
        for key, value in members.items():
            if value is None:
                del events[at][key]
            else:
                events[at][key] = value
    return change


BAD = {
    "a time that is text": setting(TURN, ts="1.5"),
    "a time that is true": setting(TURN, ts=True),
    "a time before all": setting(TURN, ts=-1),
    "no time": setting(INSTANT, ts=None),
    "no length": setting(TURN, dur=None),
    "a negative length": setting(TURN, dur=-2),
    "no name": setting(TURN, name=None),
    "an empty name": setting(READY, name=""),
    "no process": setting(TURN, pid=None),
    "no category": setting(TURN, cat=None),
    "no phase": setting(TURN, ph=None),
    "a phase that nobody knows": setting(TURN, ph="Q"),
    "a member that does not belong there": setting(TURN, id=1),
    "an arrow without its number": setting(ARROW, id=None),
    "a number that JavaScript rounds": setting(ARROW, id=2**60),
    "an instant without its scope": setting(INSTANT, s=None),
    "an arrow that binds to what follows": setting(TIP, bp=None),
    "an arrow whose ends differ": setting(TIP, id=2),
    "an arrow with two beginnings": lambda events: events.insert(ARROW, dict(events[ARROW])),
    "an arrow without an end": lambda events: events.pop(TIP),
    "an arrow that goes back in time": setting(ARROW, ts=3.2),
    "an arrow into the midst of a span": setting(TIP, ts=4),
    "an arrow from no span": setting(TURN, dur=0.2),
    "an instant in no span": setting(INSTANT, ts=6),
    "spans that overlap": setting(LATER, ts=3, dur=2),
    "spans in the wrong order": lambda events: events.insert(LATER + 1, {**events[TURN], "ts": 1, "dur": 0}),
    "instants in the wrong order": lambda events: events.insert(INSTANT + 1, {**events[INSTANT], "ts": 3.5}),
    "no name of the process": lambda events: events.pop(PROCESS),
    "no name of a thread": lambda events: events.pop(THREAD),
    "two names of a thread": lambda events: events.insert(THREAD, dict(events[THREAD])),
    "metadata that come late": lambda events: events.append(events.pop(THREAD)),
    "metadata without a name": setting(THREAD, args={}),
    "an end without its beginning": lambda events: events.pop(READY),
    "a beginning without its end": lambda events: events.pop(END),
    "ends in the wrong order": lambda events: events.insert(RUNS, {**events.pop(END), "ts": 2}),
    "a state that goes back in time": setting(RUNS, ts=0.5),
    "an event that is none": lambda events: events.append(7),
}

BAD_TEXTS = {
    "nothing": "",
    "half a page": json.dumps(good())[:-40],
    "a number that is none": json.dumps(good()).replace("1.5", "NaN"),
    "a key twice": json.dumps(good()).replace('"dur": 2', '"dur": 2, "dur": 2', 1),
    "a comma too many": json.dumps(good()).replace("]}", ",]}"),
    "a list alone": json.dumps(good()["traceEvents"]),
    "no unit": json.dumps({"traceEvents": good()["traceEvents"]}),
}


def check_good(_):
    found = problems(json.dumps(good()))
    return f"a good trace is refused: {found}" if found else None


def check_bad(name):
    page = copy.deepcopy(good())
    BAD[name](page["traceEvents"])
    return None if problems(json.dumps(page)) else f"accepted: {name}"


def check_bad_text(name):
    return None if problems(BAD_TEXTS[name]) else f"accepted: {name}"


# --- Files ---------------------------------------------------------------------------------------------


def check_file(path):
    found = problems(pathlib.Path(path).read_text(encoding="utf-8"))
    return f"{path}:\n  " + "\n  ".join(found) if found else None


def scenes(program):
    """-> the exit status. Each trace that the program writes is a case."""
    with tempfile.TemporaryDirectory() as folder:
        status, text = run([pathlib.Path(program).resolve(), folder])
        written = sorted(pathlib.Path(folder).glob("*.json"))
        if status or not written:
            print(text)
            return 1
        return check_all(check_file, [(path,) for path in written])


# --- pubsub under load ---------------------------------------------------------------------------------


def load(folder):
    """-> the trace of a broker with two subscribers and four publishers, as text."""
    status, text = run(["examples/run", "--path", "pubsub"])
    if status:
        raise AssertionError(text)
    path = pathlib.Path(folder) / "pubsub.json"
    server, (_, port) = start(ROOT / text.splitlines()[-1], "--workers", "2", "--trace", path)
    cli = ["redis-cli", "-p", str(port)]
    listening = [subprocess.Popen([*cli, *how], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                 for how in (["subscribe", "news"], ["psubscribe", "n*"])]
    try:
        deadline = time.monotonic() + 20
        while not ("1" in run([*cli, "pubsub", "numsub", "news"])[1] and run([*cli, "pubsub", "numpat"])[1] == "1\n"):
            assert time.monotonic() < deadline, "nobody subscribes"
        status, text = run(["redis-benchmark", "-p", str(port), "-c", "4", "-n", str(4 * LOAD), "-q",
                            "publish", "news", "hello"])
        assert status == 0, text
        server.terminate()
        assert server.wait(timeout=60) == 0
    finally:
        for each in [*listening, server]:
            each.kill()
            each.wait()
    return path.read_text(encoding="utf-8")


def missing(text):
    """-> what the trace of the broker should tell, and does not."""
    events = json.loads(text)["traceEvents"]
    found = Counter((event["ph"], re.sub(r" \d+", "", event["name"])) for event in events)
    for key in [("X", "read"), ("X", "write"), ("X", "accept"), ("X", "driver and timers"), ("s", "wake"),
                ("i", "submit receive"), ("i", "complete receive"), ("i", "send"), ("i", "complete accept"),
                ("b", "to receive (descriptor)"), ("b", "ready")]:
        if not found[key]:
            yield f"no {key} in the trace of pubsub: {found}"
    if not any(key[0] == "b" and key[1].startswith("for an event ('outbox changed' of pubsub.cpp:") for key in found):
        yield f"no wait for an outbox: {found}"
    if found["X", "read"] < LOAD or found["s", "wake"] < LOAD:
        yield f"less than the messages: {found}"


def check_picture(trace, arguments, expected):
    """Draws it: well-formed, small, with these parts. `expected` text alone: refused with that message."""
    status, text = run([sys.executable, str(SVG), str(trace), *arguments])
    if isinstance(expected, str):
        good_refusal = status == 1 and len(text.splitlines()) == 1 and expected in text
        return None if good_refusal else f"trace_svg {arguments}: {status} {text[:500]}"
    if status:
        return f"trace_svg {arguments}: {text}"
    titles = "\n".join(each.text for each in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}title"))
    absent = [part for part in expected if not re.search(part, titles, re.MULTILINE)]
    if absent or len(text) > 300_000:
        return f"trace_svg {arguments}: {absent} not in {titles[:2000]} ({len(text)} bytes)"
    return None


def check_odd_names(_):
    """Labels are any text: a picture of them is XML all the same, and it is said what could not be written."""
    page = good()
    page["traceEvents"][TURN]["name"] = 'a <b> & "c" \x01\x0b 1'
    with tempfile.TemporaryDirectory() as folder:
        trace = pathlib.Path(folder) / "odd.json"
        trace.write_text(json.dumps(page), encoding="utf-8")
        return (check_picture(trace, [], [r'^a <b> & "c" \ufffd\ufffd 1: '])
                or check_picture(trace, ["-o", "/dev/full"], "/dev/full: No space left on device"))


def check_load(_):
    with tempfile.TemporaryDirectory() as folder:
        text = load(folder)
        found = [*problems(text), *missing(text)]
        trace = pathlib.Path(folder) / "pubsub.json"
        parts = [r"^read \d+: .* µs, then waits to receive", r"^write \d+: ", r"^(complete|submit) receive \(task \d+"]
        (pathlib.Path(folder) / "odd.json").write_text("{}", encoding="utf-8")
        for arguments, expected in (([], parts), (["--for", "2ms", "--tasks", "3", "--width", "600"], parts),
                                    (["--from", "100s"], "no task runs")):
            found.append(check_picture(trace, arguments, expected))
        found.append(check_picture(trace.with_name("odd.json"), [], "no trace of runnel"))
        found.append(check_picture(trace.with_name("none.json"), [], "No such file"))
        found = [each for each in found if each]
        return "\n".join(found) if found else None


def main(arguments):
    if arguments[:1] == ["--scenes"]:
        return scenes(arguments[1])
    if arguments:
        return check_all(check_file, [(path,) for path in arguments])
    cases = [(check_good, ""), *((check_bad, name) for name in BAD), *((check_bad_text, name) for name in BAD_TEXTS),
             (check_odd_names, ""), (check_load, "")]
    return check_all(lambda check, name: check(name), cases)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
