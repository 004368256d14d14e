"""gdb: `runnel tasks` lists all tasks of a process, or of its core file, as dump_tasks() does.

    gdb PROGRAM CORE -ex 'source …/share/runnel/gdb/runnel.py' -ex 'runnel tasks'

It needs debug information of the library and of the program (-g), and nothing of either runs: the slab of task
blocks is walked from its newest chunk (task_slab.hpp), a parked task by its frames: each begins with two pointers
to code, and its promise follows, which begins with who awaits it and where (P1 of task.hpp).
"""
import collections

import gdb

STATES = {0: "running or ready to run", 1: "waiting", 2: "running or ready to run", 3: "waiting for the kernel"}
WAITING = (1, 3)
FRAMES_MAX = 32
POINTERS_BEFORE_PROMISE = 2
NUMBER_BITS = 52
NUMBER_MASK = (1 << NUMBER_BITS) - 1  # the rest is the index of its name (task_names.hpp)


def atomic(value):
    """The value in a std::atomic or a relaxed<>."""
    fields = [field.name for field in value.type.strip_typedefs().fields()]
    for inner in ("value_", "word_"):
        if inner in fields:
            return atomic(value[inner])
    if "_M_base" in fields:  # of a bool
        return atomic(value["_M_base"])
    if "_M_b" in fields:  # of a pointer
        return value["_M_b"]["_M_p"]
    if "_M_i" in fields:
        return value["_M_i"]
    base = next(field for field in value.type.fields() if field.is_base_class)
    return atomic(value.cast(base.type))


def place(where):
    """FILE:LINE without folders, of a std::source_location."""
    known = where["_M_impl"]
    if not int(known):
        return "?"
    known = known.dereference()
    return f"{known['_M_file_name'].string().rsplit('/', 1)[-1]}:{int(known['_M_line'])}"


def is_ours(where):
    """A coroutine of the library around the user's."""
    known = where["_M_impl"]
    if not int(known):
        return True
    path = known.dereference()["_M_file_name"].string()
    function = known.dereference()["_M_function_name"].string().split("(")[0]
    return "include/runnel/" in path or "runnel::detail::" in function


def chain(leaf):
    """Where each coroutine stands, the innermost first."""
    promise_type = gdb.lookup_type("runnel::detail::promise_base")
    pointer = gdb.lookup_type("void").pointer()
    places, frame = [], int(leaf["_M_fr_ptr"])
    while frame and len(places) < FRAMES_MAX:
        promise = gdb.Value(frame + POINTERS_BEFORE_PROMISE * pointer.sizeof).cast(promise_type.pointer()).dereference()
        if not is_ours(promise["await_at"]):
            places.append(place(promise["await_at"]))
        frame = int(promise["continuation"]["_M_fr_ptr"])
    return tuple(places)


def blocks():
    """All task blocks that are in use."""
    chunk = atomic(gdb.parse_and_eval("'runnel::detail::(anonymous namespace)::chunks'"))
    while int(chunk):
        of_chunk = chunk.dereference()["blocks"]
        for index in range(of_chunk.type.range()[1] + 1):
            block = of_chunk[index]
            if int(atomic(block["runtime"])) and int(atomic(block["kind"])) and not int(atomic(block["ended"])):
                yield block
        chunk = chunk.dereference()["next"]


def name_of(block):
    """'session' of name_task(), in quotes, or nothing."""
    index = int(atomic(block["id"])) >> NUMBER_BITS
    text = atomic(gdb.parse_and_eval("'runnel::detail::(anonymous namespace)::names'")[index]) if index else None
    return f"'{text.string()}' " if index and int(text) else ""


def describe(block):
    """-> what makes a task alike to others: its name and state, its chain, its start."""
    state = int(atomic(block["word"])) & 3
    thread = str(atomic(block["kind"])).endswith("thread")
    places = chain(block["leaf"]) if state in WAITING and not thread else ()
    start = atomic(block["spawned_at"])
    return name_of(block) + ("a plain thread, " if thread else "") + STATES[state], places, "" if is_ours(start) else place(start)


class Runnel(gdb.Command):
    """Commands for programs that use runnel."""

    def __init__(self):
        super().__init__("runnel", gdb.COMMAND_DATA, prefix=True)


class Tasks(gdb.Command):
    """Lists all tasks, those that are alike in one group: `runnel tasks`."""

    def __init__(self):
        super().__init__("runnel tasks", gdb.COMMAND_DATA)

    def invoke(self, _argument, _from_tty):
        groups = collections.defaultdict(list)
        language = gdb.parameter("language")
        gdb.execute("set language c++")  # the frame that was chosen may be one of C
        try:
            for block in blocks():
                groups[describe(block)].append(int(atomic(block["id"])) & NUMBER_MASK)
        finally:
            gdb.execute(f"set language {language}")
        print(f"runnel: {sum(map(len, groups.values()))} tasks")
        for (state, places, start), numbers in sorted(groups.items(), key=lambda group: min(group[1])):
            print(f"\n{len(numbers)} {'task' if len(numbers) == 1 else 'tasks'} {state}")
            for each in places:
                print(f"    {each}")
            if start:
                print(f"  started at {start}")
            shown = ", ".join(map(str, sorted(numbers)[:8])) + (", …" if len(numbers) > 8 else "")
            print(f"  {'number' if len(numbers) == 1 else 'numbers'} {shown}")


Runnel()
Tasks()
