#!/usr/bin/env python3
"""Draws a part of a trace (<runnel/trace.hpp>) as an SVG: who ran where, who woke whom, why the others waited.

A lane per worker: turns, coloured by the name of their task; arrows from a wake-up to the turn that it led to; below
each lane a tick for what happened to channels (above the line) and descriptors (below). Then a line per task: thick
while it runs, amber while it is ready, thin while it waits. Everything has a title: rest the pointer on it.
"""
import argparse
import bisect
import json
import re
import sys
from collections import Counter, namedtuple
from xml.sax import saxutils

COLOURS = ("#3b78c4", "#2c9c6a", "#c2583f", "#8a5cc0", "#b8860b", "#2a9aa8", "#c04f8c", "#6b7a3a")
LANE, TASK, LEFT, RIGHT, TOP, GAP = 62, 20, 104, 36, 62, 18  # heights and margins, in pixels
BAR = 24                                                    # of a turn
TURNS = 36                                                  # about as many turns as a busy window has
STYLE = """
text{font:11px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#333}
.title{font-size:14px;font-weight:600;fill:#111}.lane{font-weight:600}.small{font-size:10px;fill:#666}
.in{fill:#fff;font-size:10px;pointer-events:none}.grid{stroke:#e6e8eb}.base{stroke:#ccd1d6}
.driver{fill:#c9ced4}.arrow{fill:none;stroke:#555;stroke-opacity:.55}.head{fill:#555;fill-opacity:.75}
.io{stroke:#555;stroke-width:1.4}.object{stroke:#b0367a;stroke-width:1.8}
.ready{fill:#f2b632}.waits{fill:#dfe3e8}.why{font-size:9px;fill:#777;stroke:#fff;stroke-width:3;paint-order:stroke}
"""

Span = namedtuple("Span", "worker begin end name task waits driver")
Arrow = namedtuple("Arrow", "worker time to_worker to_time")
Tick = namedtuple("Tick", "worker time name io args")
State = namedtuple("State", "task begin end name")


def escape(text):
    """-> it as text of XML, in which most control characters have no place, escaped or not."""
    return saxutils.escape(re.sub(r"[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", "\ufffd", text))


class Refused(Exception):
    """The trace, or what is wanted of it, makes no picture."""


class Trace:
    """What is in a file of trace::write(), in microseconds from its first event on."""

    def __init__(self, text):
        try:
            events = json.loads(text)["traceEvents"]
            self.start = min((e["ts"] for e in events if "ts" in e), default=0)
            self.process = next((e["args"]["name"] for e in events if e["name"] == "process_name"), "")
            self.workers = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
            self.spans, self.ticks, self.titles = [], [], {}
            begun, open_states, ends, self.states = {}, {}, {}, []
            for e in events:
                self._add(e, begun, ends, open_states)
            self.arrows = [Arrow(*begun[each], *ends[each]) for each in begun if each in ends]
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(f"this is no trace of runnel ({type(error).__name__}: {error})") from error
        self.spans.sort(key=lambda span: span.begin)

    def _add(self, e, begun, ends, open_states):
        phase, time = e["ph"], e.get("ts", self.start) - self.start
        if phase == "X":
            args = e.get("args", {})
            self.spans.append(Span(e["tid"], time, time + e["dur"], e["name"], args.get("task"), args.get("waits"),
                                   e["cat"] == "driver"))
        elif phase in "sf":
            (begun if phase == "s" else ends)[e["id"]] = (e["tid"], time)
        elif phase == "i":
            self.ticks.append(Tick(e["tid"], time, e["name"], e["cat"] == "io", e["args"]))
        elif phase == "b":
            open_states.setdefault(e["id"], []).append((time, e["name"]))
        elif phase == "e":
            begin, name = open_states[e["id"]].pop()
            if open_states[e["id"]]:
                self.states.append(State(e["id"], begin, time, name))
            else:
                self.titles[e["id"]] = name

    def turns(self):
        return [span for span in self.spans if not span.driver]

    def busy_window(self, length):
        """-> (begin, end) of the window with most wake-ups, across workers above all; of `length`, or one that is fit.

        One that a single turn fills by half (mostly its worker was off the processor) counts for less.
        """
        begins = [span.begin for span in self.turns()]
        if not begins:
            raise Refused("there is no turn of a task in this trace")
        if length is None:
            count = min(TURNS, len(begins)) - 1
            lengths = sorted(begins[i + count] - begins[i] for i in range(len(begins) - count))
            length = max(lengths[len(lengths) // 4] * 1.1, 1.0)
        plain = sorted(arrow.time for arrow in self.arrows)
        across = sorted(arrow.time for arrow in self.arrows if arrow.worker != arrow.to_worker)

        long = [span for span in self.turns() if span.end - span.begin > length / 2]

        def worth(begin):
            end = begin + length
            inside = [bisect.bisect(times, end) - bisect.bisect_left(times, begin) for times in (plain, across)]
            filled = any(min(span.end, end) - max(span.begin, begin) > length / 2 for span in long)
            return (inside[0] + 4 * inside[1]) / (4 if filled else 1)

        best = max(begins, key=worth)
        return best - length * 0.02, best + length * 0.98


def role(title):
    """-> "read" of "read 1025": what a task is coloured by."""
    return re.sub(r" \d+$", "", title)


def duration(text):
    """-> microseconds of "250us", "1.5ms", "2s", or of a plain number of milliseconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(us|ms|s|)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: say 250us, 1.5ms or 2s")
    return float(match[1]) * {"us": 1, "ms": 1e3, "": 1e3, "s": 1e6}[match[2]]


def shown(time):
    """-> "12.35 ms" of a time in microseconds."""
    if time < 1e3:
        return f"{time:.3g} µs"
    return f"{time / 1e3:.7g} ms" if time < 1e6 else f"{time / 1e6:.9g} s"


class Picture:
    """The part of a trace from `begin` to `end`."""

    def __init__(self, trace, begin, end, width, tasks):
        self.trace, self.begin, self.end, self.width = trace, begin, end, width
        self.turns = [s for s in trace.turns() if s.end >= begin and s.begin <= end]
        if not self.turns:
            raise Refused(f"no task runs from {shown(begin)} to {shown(end)} of this trace")
        times = Counter()
        for span in self.turns:
            times[role(span.name)] += 1
        self.colours = {name: COLOURS[i % len(COLOURS)] for i, (name, _) in enumerate(times.most_common())}
        self.workers = sorted(trace.workers)
        self.tasks = self._busiest(tasks)
        self.tasks_top = TOP + LANE * len(self.workers) + GAP
        self.bottom = self.tasks_top + TASK * len(self.tasks)
        self.parts = []

    def _busiest(self, count):
        """-> those with most turns in sight, in the order in which they run first."""
        turns = Counter(span.task for span in self.turns)
        chosen = {task for task, _ in turns.most_common(count)}
        return list(dict.fromkeys(span.task for span in self.turns if span.task in chosen))

    def x(self, time):
        inside = min(max(time, self.begin), self.end)
        return round(LEFT + (inside - self.begin) / (self.end - self.begin) * (self.width - LEFT - RIGHT), 1)

    def y(self, worker):
        return TOP + LANE * self.workers.index(worker) + 20

    def inside(self, time):
        return self.begin <= time <= self.end

    def put(self, element):
        self.parts.append(element)

    def box(self, kind, begin, end, y, height, title, colour=None):
        """A rectangle that is seen however short its time was."""
        left, right = self.x(begin), self.x(end)
        fill = f' fill="{colour}"' if colour else f' class="{kind}"'
        self.put(f'<rect x="{left:g}" y="{y:g}" width="{max(right - left, 1.2):.4g}" height="{height}" rx="1.5"{fill}>'
                 f"<title>{escape(title)}</title></rect>")

    def text(self, x, y, what, kind="", anchor="start"):
        place = f' text-anchor="{anchor}"' if anchor != "start" else ""
        self.put(f'<text x="{x:g}" y="{y:g}"{place}{f" class={chr(34)}{kind}{chr(34)}" if kind else ""}>{escape(what)}</text>')

    def draw(self, title):
        """-> the whole SVG."""
        self.axis()
        self.heading(title)
        for worker in self.workers:
            self.text(LEFT - 12, self.y(worker) + BAR / 2 + 4, self.trace.workers[worker], "lane", "end")
            self.put(f'<line class="base" x1="{LEFT}" x2="{self.width - RIGHT}" y1="{self.y(worker) + BAR + 9}" '
                     f'y2="{self.y(worker) + BAR + 9}"/>')
        self.spans()
        self.ticks()
        self.arrows()
        self.task_lines()
        height = self.bottom + 34
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {height}" width="{self.width}" '
                f'height="{height}">\n<style>{STYLE}</style>\n<rect width="100%" height="100%" fill="#fff"/>\n'
                + "\n".join(self.parts) + "\n</svg>\n")

    def axis(self):
        """Lines at round times."""
        rough = (self.end - self.begin) / 8
        power = 10 ** len(str(int(rough))) / 10 if rough >= 1 else 0.1
        step = next(power * by for by in (1, 2, 5, 10) if power * by >= rough)
        at = -(-self.begin // step) * step
        while at <= self.end:
            x = self.x(at)
            self.put(f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP - 6}" y2="{self.bottom + 6}"/>')
            self.text(x, self.bottom + 20, shown(round(at, 3)), "small", "middle")
            at += step

    def heading(self, title):
        self.text(LEFT, 20, title, "title")
        x = LEFT
        for name, colour in self.colours.items():
            self.put(f'<rect x="{x}" y="32" width="11" height="11" rx="2" fill="{colour}"/>')
            self.text(x + 16, 42, name)
            x += 34 + 6.2 * len(name)
        for kind, name in (("driver", "driver and timers"), ("ready", "ready, not yet running"), ("waits", "waits")):
            self.put(f'<rect x="{x:g}" y="32" width="11" height="11" rx="2" class="{kind}"/>')
            self.text(x + 16, 42, name)
            x += 34 + 6.0 * len(name)
        seen = {tick.io for tick in self.trace.ticks if self.inside(tick.time)}
        for io, kind, name in ((False, "object", "channel"), (True, "io", "descriptor")):
            if io not in seen:
                continue
            self.put(f'<line class="{kind}" x1="{x:g}" x2="{x:g}" y1="32" y2="43"/>')
            self.text(x + 8, 42, name)
            x += 26 + 6.0 * len(name)

    def spans(self):
        for span in self.trace.spans:
            if span.end < self.begin or span.begin > self.end:
                continue
            y, lasted = self.y(span.worker), shown(span.end - span.begin)
            if span.driver:
                self.box("driver", span.begin, span.end, y + 5, BAR - 10, f"{span.name}: {lasted}")
                continue
            then = f", then waits {span.waits}" if span.waits else ""
            self.box("", span.begin, span.end, y, BAR, f"{span.name}: {lasted}{then}", self.colours[role(span.name)])
            room = self.x(span.end) - self.x(span.begin)
            for label in (span.name, role(span.name), str(span.task)):
                if 5.6 * len(label) + 4 < room:
                    self.text(self.x(span.begin) + room / 2, y + BAR / 2 + 3.5, label, "in", "middle")
                    break

    def ticks(self):
        for tick in self.trace.ticks:
            if not self.inside(tick.time):
                continue
            x, y = self.x(tick.time), self.y(tick.worker) + BAR + 9
            details = ", ".join(f"{key} {value}" for key, value in tick.args.items())
            end = y + 6 if tick.io else y - 6
            self.put(f'<line class="{"io" if tick.io else "object"}" x1="{x:g}" x2="{x:g}" y1="{y}" y2="{end}">'
                     f"<title>{escape(tick.name)} ({escape(details)})</title></line>")

    def arrows(self):
        """On one lane an arc above it; else a curve from the lower edge of one to the upper edge of the other."""
        for arrow in self.trace.arrows:
            if not (self.inside(arrow.time) and self.inside(arrow.to_time)):
                continue
            x1, x2 = self.x(arrow.time), self.x(arrow.to_time)
            y1, y2 = self.y(arrow.worker), self.y(arrow.to_worker)
            if y1 == y2:
                lift = min(16, 5 + (x2 - x1) / 6)
                path, tip = f"M{x1:g} {y1}C{x1:g} {y1 - lift:.3g} {x2:g} {y1 - lift:.3g} {x2:g} {y2 - 3}", -1
            else:
                tip = -1 if y2 > y1 else 1
                y1, y2 = (y1 + BAR, y2) if y2 > y1 else (y1, y2 + BAR)
                middle = (y1 + y2) / 2
                path = f"M{x1:g} {y1}C{x1:g} {middle:g} {x2:g} {middle:g} {x2:g} {y2 + 3 * tip}"
            self.put(f'<path class="arrow" d="{path}"/><path class="head" d="M{x2:g} {y2}l-2.2 {5 * tip}h4.4z"/>')

    def reason(self, waits, y):
        """What a task waits for, once, where most room is."""
        longest = max(waits, key=lambda s: self.x(s.end) - self.x(s.begin), default=None)
        if longest:
            left, right = self.x(longest.begin), self.x(longest.end)
            if right - left > 4.6 * len(longest.name) + 12:
                self.text((left + right) / 2, y, longest.name, "why", "middle")

    def task_lines(self):
        for number, task in enumerate(self.tasks):
            y = self.tasks_top + TASK * number
            title = self.trace.titles.get(task) or next(s.name for s in self.turns if s.task == task)
            self.text(LEFT - 12, y + 11, title, "", "end")
            states = [s for s in self.trace.states if s.task == task and s.end >= self.begin and s.begin <= self.end]
            for state in states:
                ready = state.name == "ready"
                self.box("ready" if ready else "waits", state.begin, state.end, y + (4 if ready else 6),
                         8 if ready else 4, f"{title}: {state.name}, {shown(state.end - state.begin)}")
            self.reason([s for s in states if s.name != "ready"], y + 11)
            for span in self.turns:
                if span.task == task:
                    self.box("", span.begin, span.end, y + 2, 12, f"{span.name} on {self.trace.workers[span.worker]}: "
                             f"{shown(span.end - span.begin)}", self.colours[role(span.name)])


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", help="a file that trace::write() has written")
    parser.add_argument("-o", "--output", metavar="SVG", help="default: to the standard output")
    parser.add_argument("--from", dest="begin", type=duration, metavar="TIME",
                        help="the first moment, such as 12.5ms, counted from the first event (default: a busy one)")
    parser.add_argument("--for", dest="length", type=duration, metavar="TIME",
                        help=f"how much time (default: what some {TURNS} turns take)")
    parser.add_argument("--tasks", type=int, default=10, metavar="N", help="lines of tasks, the busiest (default: 10)")
    parser.add_argument("--width", type=int, default=1120, metavar="PIXELS", help="(default: 1120)")
    parser.add_argument("--title", help="(default: the name of the runtime)")
    given = parser.parse_args()
    if given.length == 0 or given.tasks < 0 or given.width < 400:
        parser.error("--for and --tasks want something, --width at least 400")
    return given


def main():
    given = arguments()
    try:
        with open(given.trace, encoding="utf-8") as file:
            trace = Trace(file.read())
        begin, end = trace.busy_window(given.length)
        if given.begin is not None:
            begin, end = given.begin, given.begin + (given.length or end - begin)
        svg = Picture(trace, begin, end, given.width, given.tasks).draw(given.title or trace.process)
        if given.output:
            with open(given.output, "w", encoding="utf-8") as file:
                file.write(svg)
        else:
            sys.stdout.write(svg)
    except (Refused, OSError, UnicodeDecodeError) as error:
        what = f"{error.filename or given.output or 'output'}: {error.strerror}" if isinstance(error, OSError) else f"{given.trace}: {error}"
        print(f"trace_svg: {what}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
