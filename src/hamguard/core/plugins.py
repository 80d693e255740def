"""Methods found by being there: the files of a package, and the modules that a person names in `HAMGUARD_PLUGINS`.

A registry asks for both before it answers. Nothing is found by being installed: code that is not ours runs only where a person
named its module.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import re
import sys
from functools import cache
from pathlib import Path

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
