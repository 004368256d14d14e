#!/usr/bin/env python3
"""The rules of this repository that a machine can keep.

    tests/tidy.py                   prints file:line: what is wrong, and how many rules hold
    tests/tidy.py --self-test       plants one violation per rule in a made-up tree and expects to find it
    tests/tidy.py --self-test-too   both
"""
import pathlib
import re
import sys
import tempfile
import textwrap

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "support"))
from cpp_text import Source, await_hazards  # noqa: E402

FOLDERS = ("runtime", "channel", "io", "io/tls")
MAY_SEE = {"runtime": ("runtime",), "channel": ("runtime", "channel"), "io": ("runtime", "io"),
           "io/tls": ("runtime", "io", "io/tls")}
HEAVY = re.compile(r"<(functional|iostream|thread|stop_token|fmt/.*|liburing.*)>")
MAY_BE_HEAVY = {"runtime/include/runnel/stop_token.hpp": "<stop_token>"}  # that is what it is for
SKIPPED = {"build", "builddir", ".git", "__pycache__", "subprojects"}
VERBATIM = {"tests/examples/clients/compare_redis.py"}  # holds inline commands with odd white space
TEXT = {".cpp", ".hpp", ".py", ".sh", ".md", ".build", ".txt", ".in", ""}
LINES_OF_FILE, LINES_OF_README, LINES_OF_FUNCTION, COLUMNS = 500, 120, 60, 120


class Tree:
    """The files below a root, and the C++ among them parsed once."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.files = {}
        for path in sorted(self.root.rglob("*")):
            name = path.relative_to(self.root)
            if path.is_file() and path.suffix in TEXT and not SKIPPED & set(name.parts):
                self.files[name.as_posix()] = path.read_text(encoding="utf-8")
        self.cpp = {name: Source(text) for name, text in self.files.items() if name.endswith((".cpp", ".hpp"))}

    def below(self, *folders):
        """-> (name, source) of the C++ files below these folders."""
        return [(name, source) for name, source in self.cpp.items() if name.startswith(tuple(f"{f}/" for f in folders))]

    def home_of(self, header):
        """-> the folder whose public header <runnel/...> this is, or None."""
        return next((folder for folder in FOLDERS if f"{folder}/include/{header}" in self.files), None)


def folder_of(name):
    """-> the folder of ours that a file is in: the innermost."""
    return max((folder for folder in FOLDERS if name.startswith(f"{folder}/")), key=len)


def includes(source):
    """-> (line, what) of each #include, with its brackets or quotes."""
    for number, line in enumerate(source.lines, 1):
        match = re.match(r'\s*#\s*include\s*([<"][^>"]+[>"])', line)
        if match:
            yield number, match[1]


def layering(tree):
    """Each folder includes its own headers and those of the folders it may know; liburing is io's, OpenSSL io/tls's."""
    for name, source in tree.below(*FOLDERS):
        folder = folder_of(name)
        for line, what in includes(source):
            path = what[1:-1]
            if what.startswith("<runnel/"):
                home = tree.home_of(path)
                if home not in MAY_SEE[folder]:
                    yield name, line, f"{folder} may not include {what}, a header of {home or 'nobody'}"
                if "/patterns/" in name and "/detail/" in what:
                    yield name, line, f"patterns are written with public headers only, not {what}"
            elif what.startswith('"'):
                beside = (tree.root / name).parent / path
                if not beside.resolve().is_relative_to(tree.root.resolve() / folder) or not beside.exists():
                    yield name, line, f"{what} is no private header of {folder}"
            elif path.startswith("liburing") and folder != "io":
                yield name, line, f"{folder} may not know liburing"
            elif path.startswith("openssl/") and (folder != "io/tls" or "/include/" in name):
                yield name, line, f"OpenSSL is known to the sources of io/tls, not to {name}"


def light_headers(tree):
    """Public headers leave out what is heavy, and every header of ours has #pragma once."""
    for name, source in tree.below(*FOLDERS):
        if "/include/" in name:
            for line, what in includes(source):
                if HEAVY.fullmatch(what) and MAY_BE_HEAVY.get(name) != what:
                    yield name, line, f"{what} is too heavy for a public header"
        if name.endswith(".hpp") and "#pragma once" not in source.lines:
            yield name, 1, "no #pragma once"


def lengths(tree):
    """Files, functions, READMEs and lines are short enough to be read."""
    for name, source in tree.below(*FOLDERS, "examples", "bench"):
        lines = source.text.count("\n")
        if lines > LINES_OF_FILE:
            yield name, LINES_OF_FILE, f"{lines} lines, a file has at most {LINES_OF_FILE}"
        for line, function, length in source.functions():
            if length > LINES_OF_FUNCTION:
                yield name, line, f"{function} has {length} lines, a function has at most {LINES_OF_FUNCTION}"
    for name, text in tree.files.items():
        lines = text.count("\n")
        if name.endswith("/README.md") and name.split("/")[0] in FOLDERS and lines > LINES_OF_README:
            yield name, LINES_OF_README, f"{lines} lines, at most {LINES_OF_README}"
    for name, source in tree.cpp.items():
        for number, line in enumerate(source.lines, 1):
            if len(line) > COLUMNS:
                yield name, number, f"{len(line)} columns, at most {COLUMNS}"


WEAK = re.compile(r"memory_order(?:_|::)(relaxed|acquire|release|acq_rel|consume)\b")
REASON = re.compile(r"\b(relaxed|acquires?|releases?|acq_rel|pairs?|paired|partner|orders?|ordering|publish\w*"
                    r"|visible|sees?|owners?|locks?|locked|synchroni[sz]\w*|only|alone)\b")


def memory_orders(tree):
    """Each order weaker than seq_cst says what it pairs with, or why it needs nothing; there are no fences."""
    for name, source in tree.below(*FOLDERS):
        for match in WEAK.finditer(source.code):
            line = source.line_at(match.start())
            near = " ".join(source.comments.get(number, "") for number in range(line - 3, line + 1))
            if not REASON.search(near):
                yield name, line, f"memory_order {match[1]} without its reason within 3 lines above"
    for name, source in tree.cpp.items():
        for match in re.finditer(r"\batomic_thread_fence\b", source.code):
            yield name, source.line_at(match.start()), "a stand-alone fence: ThreadSanitizer does not see it"


def head_comments(tree):
    """Each file of ours opens by saying what it is; outside the library a header speaks for its source too."""
    for name, source in tree.below(*FOLDERS, "examples", "bench", "tests/support"):
        spoken_for = not name.startswith(FOLDERS) and name[:-4] + ".hpp" in tree.files and name.endswith(".cpp")
        if not spoken_for and not re.match(r"// \S", source.text):
            yield name, 1, "does not open with a comment that says what the file is"


def clean_text(tree):
    """No white space at the end of a line, no tabs, no notes to self."""
    note = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
    for name, text in tree.files.items():
        for number, line in enumerate(text.split("\n"), 1):
            if line != line.rstrip() and name not in VERBATIM:
                yield name, number, "white space at the end of the line"
            if "\t" in line and name not in VERBATIM:
                yield name, number, "a tab"
            if note.search(line):
                yield name, number, f"{note.search(line)[0]}: do it, or write down why not"
        if text and not text.endswith("\n"):
            yield name, text.count("\n") + 1, "no newline at the end"


CODE_BLOCK = re.compile(r"^(?P<mark><!-- code: [^\n]*)?\n(?P<fence>```(?:cpp|c\+\+)\n(?P<body>.*?)^```$)", re.M | re.S)


def documented_code(tree):
    """C++ in the READMEs and guides stands in a compiled file, which the line before the block names."""
    builds = "\n".join(text for name, text in tree.files.items() if name.endswith("meson.build"))
    for name, text in tree.files.items():
        if not re.fullmatch(r"README\.md|docs/.*\.md|(runtime|channel|io|examples)/(\w+/)*README\.md", name):
            continue
        for block in CODE_BLOCK.finditer("\n" + text):
            line = text[:block.start("fence") - 1].count("\n") + 1
            mark = re.fullmatch(r"<!-- code: (none: \S.*|\S+) -->", block["mark"] or "")
            if not mark:
                yield name, line, "a code block needs <!-- code: FILE --> or <!-- code: none: REASON --> above it"
            elif not mark[1].startswith("none: "):
                problem = compare(tree, builds, mark[1], block["body"])
                if problem:
                    yield name, line, problem


def compare(tree, builds, file, body):
    """-> what keeps `body` from being a verbatim part of the compiled `file`, or None."""
    if not file.startswith(("examples/", "tests/docs/")) or file not in tree.files:
        return f"{file} is no file below examples/ or tests/docs/"
    if pathlib.Path(file).stem not in builds:
        return f"{file} is compiled by no meson.build"
    want = textwrap.dedent(body).rstrip().split("\n")
    lines = tree.files[file].split("\n")
    for start in range(len(lines) - len(want) + 1):
        if textwrap.dedent("\n".join(lines[start:start + len(want)])).split("\n") == want:
            return None
    return f"the code differs from {file}"


def awaits(tree):
    """No expression that g++ 12 miscompiles when it awaits; `// g++12-ok: reason` at it or above allows one."""
    for name, source in tree.below(*FOLDERS, "examples", "tests", "bench"):
        if name.startswith("tests/compiler_canary/"):
            continue
        for line, last, what in await_hazards(source):
            near = " ".join(source.comments.get(number, "") for number in range(line - 1, last + 1))
            if not re.search(r"g\+\+12-ok: \S", near):
                yield name, line, f"{what} in an awaiting expression: g++ 12 miscompiles it; name it first"


def listed(tree):
    """Each source is compiled: some meson.build (or script, for programs of its own) names it."""
    builds = "\n".join(text for name, text in tree.files.items() if name.endswith(("meson.build", ".py", "fuzz.sh")))
    for name, _ in tree.below(*FOLDERS, "examples", "bench", "tests"):
        if name.endswith(".cpp") and not name.startswith(("tests/compile_fail/", "tests/compiler_canary/")):
            if not re.search(rf"\b{re.escape(pathlib.Path(name).stem)}(\.cpp)?['\"\s]", builds):
                yield name, 1, "no meson.build names it"


CONFORMANCE = re.compile(r"docs/conformance(\.md|/\w+\.md)")
TEST_NAME = re.compile(r'\bTEST_CASE\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+)\)')
OUR_TEST = re.compile(r"`([^`]+)` \((\w+\.cpp)\)")


def conformance(tree):
    """Each row of the tables of other people's tests names tests that there are, in the files that it says, or why not."""
    names = {(pathlib.Path(file).name, "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', match[1])))
             for file, source in tree.below("tests") for match in TEST_NAME.finditer(source.text)}
    names |= {(pathlib.Path(file).name, "does not compile") for file, _ in tree.below("tests/compile_fail")}
    for page in filter(CONFORMANCE.fullmatch, tree.files):
        for line, row in enumerate(tree.files[page].split("\n"), 1):
            if row.startswith("|") and not set(row) <= set("|-"):
                for problem in wrong_row([cell.strip() for cell in row.strip("|").split("|")], names):
                    yield page, line, problem


def wrong_row(cells, names):
    """-> what is wrong with a row of such a table."""
    if len(cells) != 3 or not all(cells):
        yield "a row has three cells: whose test | the rule | ours"
    elif cells[1:] != ["the rule", "ours"]:
        ours = OUR_TEST.findall(cells[2])
        if not re.match(r"none: \S", cells[2]) and (not ours or OUR_TEST.sub("", cells[2]).strip(" ,")):
            yield "the last cell is `name of a test` (file.cpp), …, or none: REASON"
        for name, file in ours:
            if (file, name) not in names:
                yield f"there is no test '{name}' in {file}"


RULES = (layering, light_headers, lengths, memory_orders, head_comments, clean_text, documented_code, awaits, listed,
         conformance)


def check(root):
    """Prints what is wrong; -> (rules that hold, rules that do not)."""
    tree, failed = Tree(root), 0
    for rule in RULES:
        problems = list(rule(tree))
        failed += bool(problems)
        for name, line, message in problems:
            print(f"{name}:{line}: {message}")
    return len(RULES) - failed, failed


def self_test():
    """-> (planted violations that were found, those that were not); also expects the good tree to be clean."""
    from tidy_cases import BAD, GOOD  # noqa: E402  (only needed here)

    missed = 0
    for number, (rule, name, text, line) in enumerate([("", "", "", 0), *BAD]):
        with tempfile.TemporaryDirectory() as root:
            for file, content in {**GOOD, **({name: text} if name else {})}.items():
                path = pathlib.Path(root) / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content, encoding="utf-8")
            found = {(each.__name__, *problem[:2]) for each in RULES for problem in each(Tree(root))}
        if found != ({(rule, name, line)} if name else set()):
            print(f"self-test {number}: planted {rule} at {name}:{line}, found {sorted(found)} in\n{text[:200]}")
            missed += 1
    return len(BAD) + 1 - missed, missed


def main(options):
    passed = failed = 0
    steps = []
    if "--self-test" not in options:
        steps.append(lambda: check(pathlib.Path(__file__).resolve().parents[1]))
    if options:
        steps.append(self_test)
    for step in steps:
        good, bad = step()
        passed, failed = passed + good, failed + bad
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
