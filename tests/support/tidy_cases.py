"""The made-up trees of tidy's self-test: one that keeps all rules, and what to plant in it, one at a time."""

LIGHT = "// {0}: what it is.\n#pragma once\n"


def function(lines):
    return "// long: a function.\nint f() {\n" + "    g();\n" * (lines - 2) + "}\n"


def conforming(row):
    return f"# a page\n\n| Go's test | the rule | ours |\n|---|---|---|\n{row}\n"


def await_in(statement):
    """A coroutine whose line 3 starts the statement."""
    return f"// a: an example.\ntask<> f() {{\n    {statement}\n}}\n"


GOOD = {
    "runtime/include/runnel/task.hpp": LIGHT.format("task"),
    "runtime/include/runnel/detail/seam.hpp": LIGHT.format("seam"),
    "runtime/worker.hpp": LIGHT.format("worker"),
    "runtime/worker.cpp": """// worker: runs tasks.
#include "worker.hpp"
#include <runnel/task.hpp>
void run() {
    // relaxed: a hint only
    x.load(std::memory_order_relaxed);
    y.store(1, std::memory_order_release);  // pairs with the acquire in stop()
    z.store(1'000'000);  // and not std::memory_order_relaxed
    puts("std::memory_order_relaxed atomic_thread_fence");
}
""",
    "channel/include/runnel/channel.hpp": LIGHT.format("channel") + "#include <runnel/task.hpp>\n",
    "channel/include/runnel/detail/core.hpp": LIGHT.format("core"),
    "io/include/runnel/tcp.hpp": LIGHT.format("tcp") + "class alignas(64) a {\n" + "    int x;\n" * 70 + "};\n",
    "io/tcp.cpp": "// tcp: sockets.\n#include <liburing.h>\n#include <runnel/detail/seam.hpp>\n",
    "examples/meson.build": "executable('echo', 'echo.cpp')\n",
    "meson.build": "files('worker.cpp', 'tcp.cpp', 'a.cpp', 'go_test.cpp')\n",
    "examples/echo.cpp": """// echo: an example.
task<> echo() {
    auto f = [x] { return x; };
    co_await run(f);
    co_await run([&] { return y ? 1 : 2; });
    co_await run([this, &x] { return pair{1, 2}; });
    if (co_await g(x && y)) co_return;
    if (x && !co_await g()) co_return;
    if (x && y) co_await g();
    const bool both = x(1) && co_await g();
    co_await g(x ? 20s : y);
    co_return co_await f() == 23 ? 0 : 1;
    const bool ok = co_await g() && z;
    while (auto n = co_await in.recv()) use(n ? 1 : 2, agg{1});
    if (!co_await out.send(a[i])) co_return;
    auto g = [x]() -> task<> { co_await h(x); };
    auto k = [=]() -> task<int> {
        co_return co_await h(x);
    };
    int z = x ? 1 : 2;
    co_await list(std::string{}, T(1));
    switch (co_await pick()) {
        case 1: z = x ? 1 : 2; break;
    }
    auto h = co_await f() ? g(1) : g(2);  // g++12-ok: an int
    for (agg a{1}; co_await b();) use(a);
}
""",
    "tests/io/go_test.cpp": '''TEST_CASE("Go: (a) rule") {
}
TEST_CASE("Go: a name "
          "in two pieces") {
}
''',
    "docs/conformance.md": """# a page
Text with a | in it.

| Go's test | the rule | ours |
|---|---|---|
| a_test.go: TestA | x | `Go: (a) rule` (go_test.cpp), `Go: a name in two pieces` (go_test.cpp) |
| a_test.go: TestB | x | none: no reason |
""",
    "docs/conformance/more.md": """# another
| Tokio's test | the rule | ours |
|---|---|---|
| a.rs: a | x | `does not compile` (wrong.cpp) |
""",
    "tests/compile_fail/wrong.cpp": "// must fail: no\n",
    "README.md": """# made up
<!-- code: examples/echo.cpp -->
```cpp
int z = x ? 1 : 2;
co_await list(std::string{}, T(1));
```
<!-- code: none: shows what not to do -->
```cpp
nonsense
```
""",
}

# (rule, file, its text, the line where it must be found)
BAD = [
    ("layering", "channel/a.cpp", "// a: x.\n#include <runnel/tcp.hpp>\n", 2),
    ("layering", "io/a.cpp", "// a: x.\n#include <runnel/channel.hpp>\n", 2),
    ("layering", "runtime/a.cpp", "// a: x.\n#include <runnel/nothing.hpp>\n", 2),
    ("layering", "runtime/a.cpp", "// a: x.\n#include <liburing.h>\n", 2),
    ("layering", "io/a.cpp", "// a: x.\n#include <openssl/ssl.h>\n", 2),
    ("layering", "channel/a.cpp", '// a: x.\n#include "../runtime/worker.hpp"\n', 2),
    ("layering", "channel/a.cpp", '// a: x.\n#include "worker.hpp"\n', 2),
    ("layering", "channel/patterns/a.cpp", "// a: x.\n#include <runnel/detail/core.hpp>\n", 2),
    ("light_headers", "io/include/runnel/a.hpp", LIGHT.format("a") + "#include <functional>\n", 3),
    ("light_headers", "io/include/runnel/a.hpp", LIGHT.format("a") + "#include <fmt/core.h>\n", 3),
    ("light_headers", "io/include/runnel/detail/a.hpp", LIGHT.format("a") + "#include <liburing.h>\n", 3),
    ("light_headers", "io/a.hpp", "// a: x.\n", 1),
    ("lengths", "runtime/a.cpp", "// a: x.\n" + "int x;\n" * 500, 500),
    ("lengths", "runtime/a.cpp", function(61), 2),
    ("lengths", "runtime/a.cpp", function(61).replace("int f() {", "namespace a { struct b { int f() noexcept {")
     + "};}\n", 2),
    ("lengths", "io/README.md", "a\n" * 121, 120),
    ("lengths", "tests/io/a.cpp", "// " + "a" * 118 + "\n", 1),
    ("memory_orders", "runtime/a.cpp", "// a: x.\n\n\n\nint i = x.load(std::memory_order_acquire);\n", 5),
    ("memory_orders", "runtime/a.cpp", "// a: x.\n\n\n// fast\nx.load(std::memory_order::relaxed);\n", 5),
    ("memory_orders", "tests/io/a.cpp", "std::atomic_thread_fence(std::memory_order_seq_cst);\n", 1),
    ("head_comments", "examples/a.cpp", "#include <cstdio>\n", 1),
    ("head_comments", "runtime/a.cpp", "//\n// a\n", 1),
    ("clean_text", "tests/run", "a \n", 1),
    ("clean_text", "io/meson.build", "a\n\tb\n", 2),
    ("clean_text", "tests/io/a.cpp", "int x;  // TO" "DO: more\n", 1),
    ("clean_text", "docs/a.md", "# no newline", 1),
    ("documented_code", "docs/a.md", "# a\n\n```cpp\nint z;\n```\n", 3),
    ("documented_code", "docs/a.md", "<!-- code: none: -->\n```cpp\nint z;\n```\n", 2),
    ("documented_code", "docs/a.md", "<!-- code: examples/echo.cpp -->\n```cpp\nint z = x ? 1 : 3;\n```\n", 2),
    ("documented_code", "docs/a.md", "<!-- code: examples/b.cpp -->\n```cpp\nint z;\n```\n", 2),
    ("documented_code", "docs/a.md", "<!-- code: runtime/worker.cpp -->\n```cpp\nvoid run() {\n```\n", 2),
    ("conformance", "docs/conformance.md", conforming("| TestA | x | `Go: a rule` (go_test.cpp) |"), 5),
    ("conformance", "docs/conformance.md", conforming("| TestA | x | `Go: (a) rule` (tcp.cpp) |"), 5),
    ("conformance", "docs/conformance.md", conforming("| TestA | x | `Go: (a) rule` |"), 5),
    ("conformance", "docs/conformance.md", conforming("| TestA | x | `Go: (a) rule` (go_test.cpp) and more |"), 5),
    ("conformance", "docs/conformance.md", conforming("| TestA | x | none: |"), 5),
    ("conformance", "docs/conformance.md", conforming("| TestA | none: it is so |"), 5),
    ("conformance", "docs/conformance.md", conforming("| TestA | x | none: as `Go: a rule` (go_test.cpp) says |"), 5),
    ("conformance", "docs/conformance/b.md", conforming("| TestA | x | `does not compile` (go_test.cpp) |"), 5),
    ("listed", "tests/io/b_test.cpp", "int main() {}\n", 1),
    ("awaits", "examples/a.cpp", await_in("co_await run([s] { return s.size(); });"), 3),
    ("awaits", "examples/a.cpp", await_in("co_await run([=] { return s.size(); });"), 3),
    ("awaits", "tests/io/a.cpp", await_in("auto x = co_await run(1,\n        [&a, s = b()]() mutable { g(); });"), 3),
    ("awaits", "tests/io/a.cpp", await_in("f([s] {\n        g();\n    }, co_await h());"), 3),
    ("awaits", "channel/a.cpp", await_in("co_await (b ? task1() : task2());"), 3),
    ("awaits", "channel/a.cpp", await_in("T x = b ? co_await t() : T(2);"), 3),
    ("awaits", "bench/a.cpp", await_in("co_await f(Agg{Tr{5}, 1});"), 3),
    ("awaits", "bench/a.cpp", await_in("co_await f({.t = Tr(5)});"), 3),
    ("awaits", "bench/a.cpp", await_in("Agg a{co_await x(), 1};"), 3),
    ("awaits", "bench/a.cpp", await_in("if (co_await out.send(message{1, s})) return;"), 3),
    ("awaits", "bench/a.cpp", await_in("co_yield pair<int>{1, s};"), 3),
    ("awaits", "examples/a.cpp", await_in("throw E(co_await f());"), 3),
    ("awaits", "examples/a.cpp", await_in("while (a &&\n       !co_await g()) f();"), 3),
    ("awaits", "examples/a.cpp", await_in("if (a || b || co_await g()) f();"), 3),
    ("awaits", "examples/a.cpp", await_in("if (f(a || co_await g())) f();"), 3),
    ("awaits", "examples/a.cpp", await_in("co_return a && co_await g();"), 3),
    ("awaits", "examples/a.cpp", await_in("do { f(); } while (co_await g());"), 3),
    ("awaits", "examples/a.cpp", await_in("co_await f(pair{1, s});  // g++12-ok:"), 3),
]
