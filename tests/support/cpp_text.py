"""Just enough C++ for tidy: code without comments and strings, functions, and awaiting statements."""
import bisect
import re

TOKEN = re.compile(
    r"//[^\n]*|/\*.*?\*/"
    r'|R"(?P<tag>[^()\\\s]*)\(.*?\)(?P=tag)"'
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9A-Za-z_])'(?:\\.|[^'\\\n])+'",  # not the separators of 1'000
    re.S)


class Source:
    """One file: `text`; `code`, of the same shape with comments and strings blanked; `comments` by line."""

    def __init__(self, text):
        self.text = text
        self.lines = text.split("\n")
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line) + 1)
        self.comments = {}
        self.code = TOKEN.sub(self._blank, text)

    def _blank(self, token):
        found = token[0]
        if found.startswith(("//", "/*")):
            first = self.line_at(token.start())
            for offset, part in enumerate(found.split("\n")):
                self.comments[first + offset] = self.comments.get(first + offset, "") + part
        elif len(found) > 1:
            return found[0] + re.sub(r"[^\n]", " ", found[1:-1]) + found[-1]
        return re.sub(r"[^\n]", " ", found)

    def line_at(self, position):
        return bisect.bisect_right(self.starts, position)

    def functions(self):
        """-> (line, name, number of lines) of each function, member or lambda that is not inside another."""
        outer = []  # what each open brace belongs to
        head = 0
        for match in re.finditer(r"[{};]", self.code):
            at = match.start()
            if match[0] == "{":
                before = re.sub(r"\balignas\s*\([^()]*\)", "", self.code[head:at])
                scope = re.search(r"\b(namespace|class|struct|enum|union|extern)\b[^()]*$", before)
                function = "(" in before and not scope and not any(kind for kind, *_ in outer)
                name = re.search(r"([\w:~]+|operator[^\w(]+)\s*\(", before)
                outer.append((function, self.line_at(at), name[1] if name else "lambda"))
            elif match[0] == "}" and outer:
                function, line, name = outer.pop()
                if function:
                    yield line, name, self.line_at(at) - line + 1
            head = match.end()

    def awaiting_statements(self):
        """-> (start, end) of each full expression with a co_await or co_yield in it."""
        seen = set()
        for match in re.finditer(r"\bco_(await|yield)\b", self.code):
            start, unclosed = self._backward(match.start())
            end = self._forward(match.end(), unclosed)
            if (start, end) not in seen:
                seen.add((start, end))
                yield start, end

    def _backward(self, at):
        """-> (where the full expression around `at` starts, how many of its parentheses are open at `at`)."""
        code, unclosed, depth, closed_at = self.code, 0, 0, 0
        for i in range(at - 1, -1, -1):
            char = code[i]
            if char in ")]":
                closed_at = closed_at if depth else i
                depth += 1
            elif char == "}":
                if depth == 0 and not re.match(r"\s*[,);(.\]?:*/+\-&|<>=]", code[i + 1:i + 200]):
                    return i + 1, unclosed  # the end of a block before this statement
                depth += 1
            elif char in "([{" and depth:
                depth -= 1
                if depth == 0 and char == "(" and follows_keyword(code, i):
                    return closed_at + 1, unclosed  # the statement that an if or a loop controls
            elif char in "([":
                if follows_keyword(code, i):
                    return i + 1, unclosed
                unclosed += 1
            elif char == "{":
                if not is_braced_value(code, i):
                    return i + 1, unclosed
                unclosed += 1
            elif char == ";" and depth == 0:
                return i + 1, unclosed
        return 0, unclosed

    def _forward(self, at, unclosed):
        depth = 0
        for i in range(at, len(self.code)):
            char = self.code[i]
            if char in "([{":
                depth += 1
            elif char in ")]}":
                depth -= 1
                if depth < -unclosed:
                    return i
            elif char == ";" and depth <= 0:
                return i
        return len(self.code)


def follows_keyword(code, at):
    return re.search(r"\b(if|while|for|switch|constexpr)\s*$", code[max(0, at - 20):at])


def is_braced_value(code, at):
    """Whether the brace at `at` begins a value rather than a block; relies on clang-format's spaces."""
    return bool(re.search(r"[\w>\]]$|[(,=]\s*$|\breturn\s*$", code[max(0, at - 200):at])) and not re.search(
        r"\b(else|do|try)\s*$", code[max(0, at - 10):at])


def without_lambda_bodies(code, start, end):
    """The expression with the bodies of its lambdas blanked: they are full expressions of their own."""
    out, depth = [], 0
    for i in range(start, end):
        char = code[i]
        if char == "}" and depth:
            depth -= 1
        out.append(" " if depth and char != "\n" else char)
        if char == "{" and (depth or not is_braced_value(code, i)):
            depth += 1
    return "".join(out)


LAMBDA = re.compile(r"(?<![\w)\]])\s*\[([^\[\]]*)\]\s*(?:[({<]|mutable|noexcept|->)")


def is_plain_choice(code, start, text):
    """Whether it is `if (a && co_await b)` or `x = a && co_await b`, with one operator: g++ 12 skips b rightly."""
    head, operator, rest = re.match(r"(.*?)(&&|\|\|)(.*)", text, re.S).groups()
    outermost = head.count("(") == head.count(")")
    plain = re.search(r"\bif \($", code[:start]) or re.match(r"[\w:&* ]+= ", head)
    return bool(outermost and plain and operator not in rest and not re.search(r"&&|\|\|", rest))


def await_hazards(source):
    """-> (line, last line, what) for each expression that g++ 12 miscompiles, or may."""
    for start, end in source.awaiting_statements():
        text = without_lambda_bodies(source.code, start, end)
        start += len(text) - len(text.lstrip())
        text = text.lstrip()
        found = []
        for captures in LAMBDA.findall(text):
            for capture in filter(None, (item.strip() for item in captures.split(","))):
                if not capture.startswith("&") and capture != "this":
                    found.append(f"a lambda that captures by value ([{capture}])")
                    break
        # A choice between names, or literals, is fine: nothing is made and destroyed.
        if "?" in re.sub(r"\?\s*[\w.']+\s*:\s*[\w.']+\s*(?=[,;)]|$)", "", text):
            found.append("a conditional expression (?:)")
        if re.search(r"(?:[\w>]|[(,=]\s*)\{\s*[^\s}]", text):
            found.append("a braced temporary")
        if re.search(r"(&&|\|\|)[^;]*\bco_await\b", text, re.S) and not is_plain_choice(source.code, start, text):
            found.append("an await right of && or ||, which g++ 12 may not skip")
        if re.match(r"throw\b", text):
            found.append("a thrown object")
        if re.search(r"\}\s*while\s*\($", source.code[max(0, start - 30):start]):
            found.append("the condition of a do-while")
        for what in found:
            yield source.line_at(start), source.line_at(end), what
