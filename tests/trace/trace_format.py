"""Is this a trace that a viewer of the "Trace Event Format" shows as it is meant?

F1  strict JSON: no number that is none, no key twice; each event has the members of its phase and no other;
F2  metadata come first: the process, and each thread that is used, once;
F3  spans of a thread are nested or disjoint; spans, arrows and instants of a thread stand in the order of time;
F4  arrows and instants lie in a span of their thread (viewers tie them to it), and an arrow leads to the beginning of
    one ("f" binds to the span that encloses it);
F5  each arrow has one beginning and one end, which is not before it;
F6  what begins for an id ("b") ends ("e") in the reverse order, and the times of an id do not go back.
"""
import decimal
import json
from collections import defaultdict

COMMON = {"ph": str, "pid": int, "tid": int, "name": str}
NUMBER = (int, decimal.Decimal)
MEMBERS = {  # of each phase: (must, may)
    "M": ({"args": dict}, {}),
    "X": ({"ts": NUMBER, "dur": NUMBER, "cat": str}, {"args": dict}),
    "i": ({"ts": NUMBER, "cat": str, "s": str, "args": dict}, {}),
    "s": ({"ts": NUMBER, "cat": str, "id": int}, {}),
    "f": ({"ts": NUMBER, "cat": str, "id": int, "bp": str}, {}),
    "b": ({"ts": NUMBER, "cat": str, "id": int}, {}),
    "e": ({"ts": NUMBER, "cat": str, "id": int}, {}),
}
VALUES = {"bp": {"e"}, "s": {"t"}}
SAFE_INTEGER = 2**53  # what a viewer in JavaScript can tell from its neighbours
SHOWN = 12


def no_constant(name):
    raise ValueError(f"{name} is no JSON")


def once(pairs):
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError(f"a key twice in {keys}")
    return dict(pairs)


def parse(text):
    """-> the events. Throws ValueError."""
    page = json.loads(text, parse_float=decimal.Decimal, parse_constant=no_constant, object_pairs_hook=once)
    if not isinstance(page, dict) or page.get("displayTimeUnit") not in ("ns", "ms"):
        raise ValueError("no object with a displayTimeUnit")
    if not isinstance(page.get("traceEvents"), list) or set(page) != {"displayTimeUnit", "traceEvents"}:
        raise ValueError("traceEvents is no list, or not alone")
    return page["traceEvents"]


def is_a(value, kind):
    return isinstance(value, kind) and not isinstance(value, bool)


def wrong_members(event):
    """-> what F1 finds in one event, or None."""
    if not isinstance(event, dict) or event.get("ph") not in MEMBERS:
        return "no phase that is known"
    must, may = MEMBERS[event["ph"]]
    must = COMMON | must
    for key, kind in must.items():
        if not is_a(event.get(key), kind):
            return f"{key} is missing or of the wrong kind"
    for key, value in event.items():
        if key not in must and not (key in may and is_a(value, may[key])):
            return f"{key} does not belong there"
        if key in VALUES and event["ph"] in "if" and value not in VALUES[key]:
            return f"{key} is {value!r}"
        if key in ("ts", "dur", "pid", "tid", "id") and not 0 <= value < SAFE_INTEGER:
            return f"{key} is out of range"
    return None if event["name"] else "name is empty"


def metadata(events):
    """F2."""
    named, first_other = defaultdict(int), None
    for at, event in enumerate(events):
        if event["ph"] != "M":
            first_other = at if first_other is None else first_other
            continue
        if first_other is not None:
            yield f"event {at}: metadata after event {first_other}"
        if set(event["args"]) != {"name"} or not isinstance(event["args"]["name"], str):
            yield f"event {at}: metadata without a name"
        named[event["name"], event["tid"] if event["name"] == "thread_name" else 0] += 1
    used = {event["tid"] for event in events if event["ph"] != "M"}
    for key in [("process_name", 0), *(("thread_name", thread) for thread in sorted(used))]:
        if key not in named:
            yield f"{key[0]} of {key[1]} is missing"
    yield from (f"{key[0]} of {key[1]} stands there {count} times" for key, count in named.items() if count != 1)
    yield from (f"{key[0]} is no metadata of ours" for key in named if key[0] not in ("process_name", "thread_name"))


def thread(events):
    """F3 and F4, of the events of one thread as (place, event)."""
    last, open_spans = 0, []
    for at, event in events:
        if event["ts"] < last:
            yield f"event {at}: goes back in time"
        last = event["ts"]
        if event["ph"] == "X":
            end = event["ts"] + event["dur"]
            open_spans = [span for span in open_spans if span[1] > event["ts"]]
            if open_spans and open_spans[-1][1] < end:
                yield f"event {at}: overlaps the span before it"
            # Kept although it may be over: what happened in its last moment has the time of its end.
            open_spans.append((event["ts"], end))
            latest = (event["ts"], end)
        elif not any(span[0] <= event["ts"] <= span[1] for span in [*open_spans, *([latest] if open_spans else [])]):
            yield f"event {at}: {event['ph']} in no span"
        elif event["ph"] == "f" and event["ts"] != latest[0]:
            yield f"event {at}: an arrow that does not lead to the beginning of a span"


def arrows(events):
    """F5."""
    ends = defaultdict(list)
    for event in events:
        if event["ph"] in "sf":
            ends[event["cat"], event["name"], event["id"]].append((event["ph"], event["ts"]))
    for key, found in ends.items():
        phases = sorted(phase for phase, _ in found)
        if phases != ["f", "s"]:
            yield f"arrow {key}: has {phases}"
        elif dict(found)["s"] > dict(found)["f"]:
            yield f"arrow {key}: ends before it begins"


def states(events):
    """F6."""
    begun, last = defaultdict(list), defaultdict(int)
    for at, event in enumerate(events):
        if event["ph"] not in "be":
            continue
        key = event["cat"], event["id"]
        if event["ts"] < last[key]:
            yield f"event {at}: the times of {key} go back"
        last[key] = event["ts"]
        if event["ph"] == "b":
            begun[key].append(event["name"])
        elif not begun[key] or begun[key].pop() != event["name"]:
            yield f"event {at}: an end without its beginning"
    yield from (f"{key}: {names} has no end" for key, names in begun.items() if names)


def problems(text):
    """-> what is wrong with this page, the first few; nothing if all is well."""
    try:
        events = parse(text)
    except (ValueError, RecursionError) as error:
        return [f"no strict JSON: {error}"]
    found = [f"event {at}: {wrong}: {event}" for at, event in enumerate(events) if (wrong := wrong_members(event))]
    if found:
        return found[:SHOWN]  # the rest reads members
    of_threads = defaultdict(list)
    for at, event in enumerate(events):
        if event["ph"] in "Xsfi":
            of_threads[event["tid"]].append((at, event))
    found = [*metadata(events), *arrows(events), *states(events)]
    for each in of_threads.values():
        found += thread(each)
    return found[:SHOWN]
