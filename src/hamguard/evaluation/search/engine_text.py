"""Text of our own functions for others to read: no types, no docstrings, and what is known in its place."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

WIDTH = 132
"""Columns of a line that others are joined to."""
APART = (
    "def ",
    "class ",
    "for ",
    "while ",
    "with ",
    "if ",
    "else",
    "try",
    "except",
    "import ",
    "from ",
    '"',
    "assert ",
)
"""What begins a line of its own."""


class _Known(ast.NodeTransformer):
    """Puts values in the place of names and of attributes of `self`, and takes the branch that these choose."""

    def __init__(self, names: Mapping[str, ast.expr], held: Mapping[str, Any]) -> None:
        self.names, self.held = names, held

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.names.get(node.id, node) if isinstance(node.ctx, ast.Load) else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        own = isinstance(node.value, ast.Name) and node.value.id == "self" and isinstance(node.ctx, ast.Load)
        return ast.Constant(self.held[node.attr]) if own and node.attr in self.held else node

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return node.body if node.test.value else node.orelse
        return node

    def visit_If(self, node: ast.If) -> ast.stmt | list[ast.stmt]:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return node.body if node.test.value else node.orelse
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        self.generic_visit(node)
        parts: list[ast.expr] = []
        for part in node.values:
            inner = part.value if isinstance(part, ast.FormattedValue) and part.format_spec is None else part
            if isinstance(inner, ast.Constant) and parts and isinstance(parts[-1], ast.Constant):
                parts[-1] = ast.Constant(f"{parts[-1].value!s}{inner.value!s}")
            else:
                parts.append(ast.Constant(str(inner.value)) if isinstance(inner, ast.Constant) else part)
        return parts[0] if len(parts) == 1 and isinstance(parts[0], ast.Constant) else ast.JoinedStr(parts)


def function_of(
    function: Callable[..., Any], names: Mapping[str, Any] | None = None, held: Mapping[str, Any] | None = None
) -> ast.FunctionDef:
    """The tree of a function without types, comments, decorators, and the sentence that explains it.

    Args:
        function: whose text is to be had.
        names: values of its arguments and constants that are known; expressions stay as they are.
        held: values of attributes of `self` that are known.
    """
    node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(node, ast.FunctionDef)
    if ast.get_docstring(node) is not None:
        del node.body[0]
    node.returns, node.decorator_list = None, []
    for argument in ast.walk(node.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    node.body = [
        ast.Assign([one.target], one.value, lineno=0) if isinstance(one, ast.AnnAssign) and one.value else one
        for one in node.body
    ]
    known = {key: one if isinstance(one, ast.expr) else ast.Constant(one) for key, one in (names or {}).items()}
    found = _Known(known, held or {}).visit(node)
    assert isinstance(found, ast.FunctionDef)
    return found


def imports_apart(node: ast.FunctionDef) -> list[str]:
    """Take the imports out of a function; their text."""
    taken = [one for one in node.body if isinstance(one, ast.Import | ast.ImportFrom)]
    node.body = [one for one in node.body if one not in taken]
    return [ast.unparse(one) for one in taken]


def statements(node: ast.FunctionDef, result: str) -> list[ast.stmt]:
    """What a function does, as statements outside of one.

    Args:
        node: the function; what it yields is given to `check`.
        result: name of what it returns.
    """
    body: list[ast.stmt] = []
    for one in node.body:
        if isinstance(one, ast.Return):
            if one.value is not None and not (isinstance(one.value, ast.Name) and one.value.id == result):
                body.append(ast.Assign([ast.Name(result, ast.Store())], one.value, lineno=0))
            continue
        for inner in ast.walk(one):
            if isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Yield):
                said = inner.value.value
                assert isinstance(said, ast.Tuple), "a question yields distances, numbers, and what is right"
                inner.value = ast.Call(ast.Name("check", ast.Load()), said.elts, [])
        body.append(one)
    return body


def lines_of(nodes: Iterable[ast.stmt]) -> list[str]:
    """Text of statements; a function that does one thing stands in one line."""
    lines: list[str] = []
    for node in nodes:
        text = [_bare(line) for line in ast.unparse(ast.fix_missing_locations(node)).splitlines()]
        if isinstance(node, ast.FunctionDef) and len(text) == 2 and len(text[0]) + len(text[1]) <= WIDTH:
            text = [f"{text[0]} {text[1].strip()}"]
        lines += text
    return lines


def _bare(line: str) -> str:
    """A line without the parentheses that Python writes around what is assigned or returned as a tuple."""
    word = line.strip()
    try:
        (node,) = ast.parse(word).body
    except (SyntaxError, ValueError):
        return line
    value = node.value if isinstance(node, ast.Assign | ast.Return) else None
    if not isinstance(value, ast.Tuple) or len(value.elts) < 2 or not word.endswith(")"):
        return line
    return f"{line[: len(line) - len(word) + value.col_offset]}{word[value.col_offset + 1 : -1]}"


def names_in(lines: Iterable[str]) -> Iterator[str]:
    """Names that some text uses."""
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.Name):
            yield node.id


def joined(lines: list[str], most: int) -> list[str]:
    """Lines, of which short ones stand side by side until there are no more than `most`."""
    for may in (_side_by_side, _one_below, _both_imports):
        for number in range(len(lines) - 1, 0, -1):
            if len(lines) <= most:
                return lines
            text = may(lines[number - 1], lines[number], lines[number + 1 : number + 2])
            if text and len(text) <= WIDTH:
                lines[number - 1 : number + 1] = [text]
    return lines


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def _side_by_side(last: str, line: str, then: list[str]) -> str:
    """Two statements of one block."""
    alike = _depth(line) == _depth(last) and not any(one.strip().startswith(APART) for one in (line, last))
    return f"{last}; {line.strip()}" if alike else ""


def _one_below(last: str, line: str, then: list[str]) -> str:
    """A loop or a condition and the one statement below it."""
    alone = _depth(line) > _depth(last) and not any(_depth(one) >= _depth(line) for one in then)
    plain = last.strip().startswith(("for ", "if ")) and last.endswith(":") and not line.strip().startswith(APART)
    return f"{last} {line.strip()}" if alone and plain else ""


def _both_imports(last: str, line: str, then: list[str]) -> str:
    return f"{last}, {line[7:]}" if last.startswith("import ") and line.startswith("import ") else ""
