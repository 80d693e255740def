"""Write the reference of the Python door, `docs/api/*.md`, from `hamguard.__all__`: signatures and docstrings, nothing by hand.

    uv run python tools/build_api.py [FOLDER]

A name of the door stands on the page of its file in `hamguard.api`; a module of the door has a page of its own; what registers
stands together, and so do the values. A test compares the pages with what lies there.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_overloads

from griffe import Docstring, DocstringSectionKind

import hamguard as hg

FOLDER = Path(__file__).parent.parent / "docs" / "api"
WIDTH = 100
"""Longer signatures have one parameter a line."""
REGISTERING, VALUES = "registering", "values"
TITLES = {REGISTERING: "Registering your own", VALUES: "Values"}


def signature(name: str, function: Callable[..., Any], *, method: bool = False) -> str:
    """A function's signature as its source has it: defaults stand as they were written."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    known, words = node.args, []
    positional = [*known.posonlyargs, *known.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(known.defaults)) + list(known.defaults)
    for number, (argument, default) in enumerate(zip(positional, defaults, strict=True)):
        if not (method and number == 0):
            words.append(_parameter(argument, default))
        if number + 1 == len(known.posonlyargs):
            words.append("/")
    if known.vararg:
        words.append("*" + _parameter(known.vararg, None))
    elif known.kwonlyargs:
        words.append("*")
    words += [_parameter(*pair) for pair in zip(known.kwonlyargs, known.kw_defaults, strict=True)]
    if known.kwarg:
        words.append("**" + _parameter(known.kwarg, None))
    return _call(name, words, f" -> {ast.unparse(node.returns)}" if node.returns else "")


def _parameter(argument: ast.arg, default: ast.expr | None) -> str:
    kind = f": {ast.unparse(argument.annotation)}" if argument.annotation else ""
    return f"{argument.arg}{kind}" + ("" if default is None else f" = {ast.unparse(default)}")


def _call(name: str, words: list[str], end: str = "") -> str:
    line = f"{name}({', '.join(words)}){end}"
    if len(line) <= WIDTH:
        return line
    return f"{name}(\n" + "".join(f"    {word},\n" for word in words) + f"){end}"


def construction(name: str, kind: type) -> str:
    """How a value is made: the fields of a dataclass, else the arguments of its constructor."""
    if not dataclasses.is_dataclass(kind):
        made = kind.__dict__.get("__init__")
        return signature(name, made, method=True).removesuffix(" -> None") if inspect.isfunction(made) else name
    words = []
    for field in dataclasses.fields(kind):
        if field.init and not field.name.startswith("_"):
            default = "" if field.default is dataclasses.MISSING else f" = {_written(field.default)}"
            default = default if field.default_factory is dataclasses.MISSING else " = ..."
            words.append(f"{field.name}: {field.type}{default}")
    return _call(name, words)


def _written(value: object) -> str:
    return value.__name__ if inspect.isfunction(value) or inspect.isclass(value) else repr(value)


NAMED = {
    DocstringSectionKind.parameters: "Arguments",
    DocstringSectionKind.attributes: "Attributes",
    DocstringSectionKind.raises: "Raises",
    DocstringSectionKind.returns: "Returns",
    DocstringSectionKind.yields: "Yields",
}


def sections(docstring: str) -> Iterator[str]:
    """The parts of a docstring as Markdown."""
    for part in Docstring(docstring).parse("google", warnings=False):
        if part.kind is DocstringSectionKind.text:
            yield part.value
        elif part.kind is DocstringSectionKind.examples:
            yield from (
                text if kind is DocstringSectionKind.text else f"```python\n{text}\n```" for kind, text in part.value
            )
        elif part.kind in (DocstringSectionKind.returns, DocstringSectionKind.yields):
            # a colon in a sentence is no type
            yield f"**{NAMED[part.kind]}**: " + " ".join(
                " ".join(
                    f"{item.name or ''}{': ' if item.name else ''}{item.annotation or ''}"
                    f"{': ' if item.annotation else ''}{item.description}".split()
                )
                for item in part.value
            )
        elif part.kind in NAMED:
            lines = [f"* `{_label(item)}`: {' '.join(item.description.split())}" for item in part.value]
            yield "\n".join([f"**{NAMED[part.kind]}**", "", *lines])


def _label(item: Any) -> str:
    return str(getattr(item, "name", None) or item.annotation)


def members(kind: type) -> Iterator[tuple[str, str, str]]:
    """Public methods and properties of a class of the package: name, signature (empty of a property) and docstring."""
    fields = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()
    seen = {*fields, *vars(object)} - {"__call__"}
    for base in kind.__mro__:
        if not base.__module__.startswith("hamguard"):
            continue
        for name, held in vars(base).items():
            plain = held.__func__ if isinstance(held, (classmethod, staticmethod)) else held
            hidden = name.startswith("_") and name != "__call__"
            if hidden or name in seen or not getattr(plain, "__doc__", None):
                continue
            seen.add(name)
            if isinstance(plain, (property, functools.cached_property)):
                yield name, "", inspect.getdoc(plain) or ""
            elif inspect.isfunction(plain):
                head = signature(name, plain, method=not isinstance(held, staticmethod))
                yield name, head, inspect.getdoc(plain) or ""


def entry(name: str, thing: Any) -> list[str]:
    """Heading, signature and docstring of one name, and of the methods of a class."""
    plain = inspect.unwrap(thing)
    code = [signature(name, one) for one in get_overloads(plain)] if inspect.isfunction(plain) else []
    if inspect.isclass(plain):
        code = [construction(name, plain)]
    elif inspect.isfunction(plain):
        code = code or [signature(name, plain)]
    lines = [f"## {name.rpartition('.')[2]}", ""]
    lines += ["```python", *code, "```", ""] if code else [f"`{name}`", ""]
    docstring = inspect.getdoc(plain) or ""
    if inspect.isclass(plain) and issubclass(plain, BaseException):
        return [*lines, docstring, ""]
    for part in sections(docstring):
        lines += [part, ""]
    if inspect.isclass(plain):
        for member, head, text in members(plain):
            lines += [f"### `{plain.__name__}.{member}`", ""]
            lines += ["```python", head, "```", ""] if head else []
            for part in sections(text):
                lines += [part, ""]
    return lines


def door() -> dict[str, list[str]]:
    """The names of the door by their page, in the order of pages and of the alphabet."""
    found: dict[str, list[str]] = {}
    for name in sorted(hg.__all__, key=str.lower):
        thing = getattr(hg, name)
        if name.startswith("__"):
            continue
        home = getattr(inspect.unwrap(thing), "__module__", "") or ""
        if isinstance(thing, ModuleType) and not callable(thing):
            page = name
        elif name.startswith(("register_", "add_")):
            page = REGISTERING
        else:
            page = home.removeprefix("hamguard.api.") if home.startswith("hamguard.api.") else VALUES
        found.setdefault(page.replace(".", "-"), []).append(name)
    return dict(sorted(found.items()))


def first_line(thing: Any) -> str:
    """What something is, for a table."""
    paragraph = (inspect.getdoc(inspect.unwrap(thing)) or "").partition("\n\n")[0]
    return " ".join(paragraph.split()).replace("|", "\\|")


def pages() -> dict[str, str]:
    """All pages by file name."""
    index = [
        "# Python reference",
        "",
        "Written by `tools/build_api.py` from `hamguard.__all__`; everything else may change.",
        "",
    ]
    index += ["```python", "import hamguard as hg", "```", ""]
    found, places = {}, {name: page for page, names in door().items() for name in names}
    for page, names in door().items():
        module = getattr(hg, page, None)
        module = module if isinstance(module, ModuleType) and not callable(module) else None
        title = f"hg.{page}" if page in places else TITLES.get(page, page.capitalize())
        lines, about = [f"# {title}", ""], [first_line(module), ""] if module else []
        index += [f"## [{title}]({page}.md)", "", *about, "| name | what it is |", "|---|---|"]
        for name in sorted(module.__all__, key=str.lower) if module else names:
            thing = getattr(module or hg, name)
            elsewhere = module and getattr(hg, name, None) is thing
            if not elsewhere:
                about += entry(f"hg.{page}.{name}" if module else f"hg.{name}", thing)
            place = places[name] if elsewhere else page
            index += [f"| [`{name}`]({place}.md#{name.lower()}) | {first_line(thing)} |"]
        index += [""]
        found[f"{page}.md"] = "\n".join([*lines, *about]).rstrip() + "\n"
    return {"README.md": "\n".join(index).rstrip() + "\n", **found}


def main(folder: Path) -> None:
    """Write the pages, and remove those of names that are no more."""
    folder.mkdir(parents=True, exist_ok=True)
    written = pages()
    for path in folder.glob("*.md"):
        if path.name not in written:
            path.unlink()
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
