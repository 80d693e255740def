"""Forms of engines by name, and what a form is."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from hamguard.core.errors import RequestError
from hamguard.core.registry import Registry
from hamguard.core.types import Bytes, Ints

ABILITIES = ("within", "filtered", "add", "remove", "reopen")
"""What a form may offer besides `build` and `search`."""


class EngineForm(Protocol):
    """An engine over packed codes `(N, ceil(bits / 8))` uint8, whose items are numbers.

    It may offer more, by methods of these names:

    * `within(query, radius, k)`: as `search`, but only items within a radius;
    * `filtered(query, k, label)`: the k nearest of the items with a label;
    * `add(codes, numbers, labels)` and `remove(numbers)`;
    * `reopen()`: close it and read again what was kept;
    * `version()`: what stands on the page beside its name;
    * `close()`: leave nothing behind.

    One that is made with arguments names them in a tuple, `arguments`, so that the file of a fault can make another.

    Where it is not exact, its attribute `exact` is False: it may miss items then, and may say nothing that is not true.
    """

    def build(self, codes: Bytes, bits: int, labels: Ints) -> None:
        """Hold these codes, in the place of others; item i is row i, and has a label, a number."""

    def search(self, query: Bytes, k: int) -> tuple[Ints, Ints]:
        """Distances and numbers of the k nearest items of each query, `(Q, k)`, rising; number -1 where there is none."""


MakeForm: TypeAlias = Callable[[], EngineForm]
FORMS: Registry[MakeForm] = Registry(
    "engine", "hamguard.retrieval.forms", decorator="register_form", first=("faiss-flat", "faiss-ivf", "faiss-hnsw")
)
register_form = FORMS.register


def is_exact(form: EngineForm) -> bool:
    """Whether a form promises every neighbor."""
    return bool(getattr(form, "exact", True))


def version_of(form: EngineForm) -> str:
    """Name and version of the engine, where the form says them."""
    said = getattr(form, "version", None)
    return str(said()) if said else ""


def release(package: str) -> str:
    """A package and its version.

    >>> release("faiss-cpu").startswith("faiss-cpu 1.")
    True
    """
    return f"{package} {importlib.metadata.version(package)}"


def needed(package: str, extra: str) -> Any:
    """A module that an extra brings.

    Raises:
        RequestError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise RequestError(f"this engine needs {package}: pip install '{extra}'") from error
