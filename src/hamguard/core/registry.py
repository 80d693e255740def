"""One registry for everything that has a name: attacks, guides, losses, objectives, defenses, measures, data sources, networks.

A registry is filled by a decorator, in the files of its package, in a module that `HAMGUARD_PLUGINS` names, or in a notebook cell.
It answers after it has listed the first two, so that no name is missing; and help texts ask `known`, which reads names from text
and imports nothing heavy.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar, cast

from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.core.plugins import VARIABLE, Written, load_files, load_plugins, registered_names, written

T = TypeVar("T")
Entered = TypeVar("Entered")


class Registry(Mapping[str, T], Generic[T]):
    """Names and what they stand for, in the order of the alphabet.

    Args:
        kind: what the entries are called in messages: `attack`.
        package: package whose files fill it, `hamguard.attacks.methods`; empty where it is filled by its own module.
        decorator: name of the decorator that files use, or names where there are several, which `known` looks for.
        public: what `hamguard` itself calls the decorator, `register_attack`; `known` looks for it in plugins.
        first: names that lists begin with, because most people take them.
        named: whether an entry is a class whose attribute `name` is its name.
    """

    def __init__(
        self,
        kind: str,
        package: str = "",
        *,
        decorator: str | tuple[str, ...] = "register",
        public: str = "",
        first: tuple[str, ...] = (),
        named: bool = False,
    ) -> None:
        self.kind, self.package, self.first, self.named = kind, package, first, named
        self.decorator, self.public = decorator, public
        self._entries: dict[str, T] = {}
        self._places: dict[str, object] = {}  # where each was defined
        self._facts: dict[str, dict[str, Any]] = {}

    def register(self, name: str, **facts: Any) -> Callable[[Entered], Entered]:
        """Decorator: enter a function or class under `name`.

        Args:
            name: as a command line writes it.
            facts: what else is known of the entry, see `facts`.

        Raises:
            RequestError: the name is taken by something else. The same definition, run again (a notebook cell), takes its place.
        """

        def enter(entry: Entered) -> Entered:
            self.enter(name, cast("T", entry), entry, **facts)
            if self.named:
                entry.name = name  # type: ignore[attr-defined]
            return entry

        return enter

    def enter(self, name: str, entry: T, definition: object, **facts: Any) -> None:
        """Enter a value under `name`; arguments and errors as in `register`.

        Args:
            name: as a command line writes it.
            entry: what the name stands for.
            definition: the function or class that it was made of.
            facts: what else is known of the entry.
        """
        place = _place(definition)
        if self._places.get(name, place) != place:
            raise RequestError(f"{self.kind} {name!r} is registered twice")
        self._entries[name], self._places[name], self._facts[name] = entry, place, facts

    def __getitem__(self, name: str) -> T:
        """What a name stands for.

        Raises:
            RequestError: nothing; the message lists all names and the nearest.
        """
        return self._entries[check_choice(self.kind, name, self.names())]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def get(self, name: str, default: Any = None) -> Any:
        """What a name stands for, or `default` where there is no such entry."""
        return self._entries[name] if name in self else default

    def names(self) -> list[str]:
        """All names: of every file of the package, of plugins, and of this very process."""
        if self.package:
            load_files(self.package)
            load_plugins()
        return self._sorted(self._entries)

    def known(self) -> list[str]:
        """The same names without importing what is heavy, for help texts."""
        named = registered_names(self.package, self.decorator, self.public) if self.package else []
        return self._sorted({*named, *self._entries})

    def written(self) -> list[Written]:
        """What the text of its package says of each entry, with nothing imported.

        Empty once anything was imported, and where plugins are named: then the entries themselves are to be asked.
        """
        if self._entries or os.environ.get(VARIABLE):
            return []
        found = {one.name: one for one in written(self.package, self.decorator)}
        return [found[name] for name in self._sorted(found)]

    def facts(self, name: str) -> Mapping[str, Any]:
        """What its decorator said of an entry beside the name.

        Raises:
            RequestError: there is no such entry.
        """
        check_choice(self.kind, name, self.names())
        return self._facts[name]

    def title(self, name: str) -> str:
        """What an entry is: the first line of its docstring.

        Raises:
            RequestError: there is no such entry.
        """
        return (inspect.getdoc(self[name]) or name).splitlines()[0].rstrip(".")

    def _sorted(self, names: Any) -> list[str]:
        first = self.first
        return sorted(names, key=lambda name: (first.index(name) if name in first else len(first), name))


def _place(entry: object) -> tuple[str, str] | int:
    """Where an entry was defined; a definition that is run again has the same place."""
    module, name = getattr(entry, "__module__", None), getattr(entry, "__qualname__", None)
    return (module, name) if isinstance(module, str) and isinstance(name, str) else id(entry)
