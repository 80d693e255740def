"""Methods found by being there: the files of a package, and the modules that a person names in `HAMGUARD_PLUGINS`.

A registry asks for both before it answers. Nothing is found by being installed: code that is not ours runs only where a person
named its module.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import pkgutil
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hamguard.core.errors import HamguardError, RequestError, RunError

VARIABLE = "HAMGUARD_PLUGINS"
"""Names the modules, divided by commas: `my_attack` or `my_package.attacks,my_package.objectives`."""


@cache
def load_files(package: str) -> None:
    """Import every file of a package, in the order of their names, so that their decorators fill the registries.

    Args:
        package: its full name, `hamguard.attacks.methods`.

    Raises:
        RunError: a file cannot be imported; the message names it.
    """
    for found in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
        try:
            importlib.import_module(found.name)
        except Exception as error:
            raise RunError(f"{found.name.replace('.', '/')}.py cannot be imported: {_first_line(error)}") from error


def load_plugins() -> None:
    """Import the modules that `HAMGUARD_PLUGINS` names; what was imported once is left as it is.

    Raises:
        RequestError: a name that is no module, or a module that cannot be imported.
    """
    _load(os.environ.get(VARIABLE, ""))


@cache
def _load(value: str) -> None:
    for name in _divided(value):
        try:
            importlib.import_module(name)
        except HamguardError as error:
            raise RequestError(f"plugin {name} of {VARIABLE}: {error}") from error
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise RequestError(
                    f"plugin {name} of {VARIABLE} needs a module that is not here: {error.name}"
                ) from error
            raise RequestError(
                f"{VARIABLE} names {name!r}, but there is no module {error.name}; give modules that Python can import, divided by "
                "commas, such as my_package.my_attack"
            ) from error
        except Exception as error:
            raise RequestError(f"plugin {name} of {VARIABLE} cannot be imported: {_first_line(error)}") from error


def registered_names(package: str, decorator: str | tuple[str, ...] = "register", public: str = "") -> list[str]:
    """Names that files of a package, and plugins, give to a decorator of the package, sorted; read from text without an import.

    For help texts, which must not import what is heavy. Of plugins it sees the modules that are named, not what those import, and
    it leaves out one that is not found: the command itself says so.

    Args:
        package: full name of the package, `hamguard.attacks.methods`.
        decorator: its decorator, or several; one stands at the beginning of a line, and its first argument is the name.
        public: what a plugin calls it that has `import hamguard as hg`: `register_attack`.

    >>> registered_names("hamguard.attacks.guides", "register_guide")[:3]
    ['anchor', 'center', 'mainstay']
    """
    words = "|".join((decorator,) if isinstance(decorator, str) else decorator)
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec else []
    texts = [path.read_text(encoding="utf-8") for folder in folders for path in sorted(Path(folder).glob("*.py"))]
    ours = re.compile(rf"^from {re.escape(package)}\.\w+ import [\w\s,(]*\b(?:{words})\b", re.MULTILINE)
    plugins = [_text_of(name) for name in _divided(os.environ.get(VARIABLE, ""))]
    texts += [text for text in plugins if ours.search(text)]  # objectives and attacks have decorators of the same name
    pattern = re.compile(rf"^@(?:{words})\(\s*\"([^\"]+)\"", re.MULTILINE)
    found = {name for text in texts for name in pattern.findall(text)}
    if public:
        door = re.compile(rf"^@(?:\w+\.)*{public}\(\s*\"([^\"]+)\"", re.MULTILINE)
        found |= {name for text in plugins for name in door.findall(text)}
    return sorted(found)


@dataclass(frozen=True)
class Written:
    """What the text of a registered function says of it.

    Attributes:
        name: as the decorator says.
        title: first line of its docstring.
        facts: what else the decorator says, as far as it is spelled out.
        options: its arguments.
        choices: of arguments that are one of several words, these words.
    """

    name: str
    title: str
    facts: Mapping[str, Any]
    options: tuple[str, ...]
    choices: Mapping[str, tuple[str, ...]]


def written(package: str, decorator: str | tuple[str, ...] = "register") -> list[Written]:
    """Functions that files of a package register, read from their text without an import.

    Args:
        package: full name of the package.
        decorator: its decorator, or several; the first argument is the name.

    >>> [one.choices["preset"] for one in written("hamguard.attacks.methods") if one.name == "hag"]
    [('default', 'paper', 'code')]
    """
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec else []
    files = [path for folder in folders for path in sorted(Path(folder).glob("*.py"))]
    functions = [
        node
        for path in files
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    ]
    words = (decorator,) if isinstance(decorator, str) else decorator
    return [
        _written(node, call)
        for node in functions
        for call in node.decorator_list
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in words
    ]


def _written(node: ast.FunctionDef, call: ast.Call) -> Written:
    arguments = [*node.args.args, *node.args.kwonlyargs]
    return Written(
        str(ast.literal_eval(call.args[0])),
        (ast.get_docstring(node) or node.name).splitlines()[0].rstrip("."),
        {word.arg or "": word.value.value for word in call.keywords if isinstance(word.value, ast.Constant)},
        tuple(one.arg for one in arguments),
        {one.arg: words for one in arguments if (words := _words(one.annotation))},
    )


def _words(annotation: ast.expr | None) -> tuple[str, ...]:
    """The words of a `Literal`."""
    if not (isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Literal"):
        return ()
    held = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
    return tuple(str(one.value) for one in held if isinstance(one, ast.Constant))


def _text_of(module: str) -> str:
    """The text of a module on the path or in the current folder, without importing it; empty where there is none."""
    place = Path(*module.split("."))
    ends = (place.with_suffix(".py"), place / "__init__.py")
    found = (Path(folder or ".") / end for folder in [*sys.path, "."] for end in ends)
    return next((path.read_text(encoding="utf-8", errors="replace") for path in found if path.is_file()), "")


def _divided(value: str) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()]


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    first = text.splitlines()[0] if text else "no message"
    return first if isinstance(error, HamguardError) else f"{type(error).__name__}: {first}"
