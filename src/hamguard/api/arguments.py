"""What a function of the door is given, held against its own signature: a wrong kind of value is told in the words of a notebook.

Kinds are looked at by name, as the signature writes them, so that no network is loaded to find out that a path is none.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from functools import cache, wraps
from numbers import Integral, Real
from os import PathLike
from typing import Any, ParamSpec, TypeVar

from hamguard.core.checks import received
from hamguard.core.errors import RequestError

P = ParamSpec("P")
R = TypeVar("R")

PLAIN: dict[str, Any] = {"int": Integral, "float": Real, "str": str, "Path": PathLike, "Mapping": Mapping}
ALIASES: dict[str, tuple[str, ...]] = {"AnyModel": ("HashModel", "ForeignModel"), "Place": ("str", "Path")}
ALIASES |= dict.fromkeys(("Combine", "Denominator", "Empty", "Modality", "Ties"), ("str",))
CLASSES = {
    "Budget": "an hg.Budget, such as hg.Budget(hg.Linf(8 / 255))",
    "CodeBank": "codes that hg.encode or hg.codes gives",
    "Context": "an hg.Context, such as hg.Context(seed=0)",
    "CrossModel": "a model of images and texts",
    "Data": "what hg.data gives",
    "ForeignModel": "a model",
    "HashModel": "a model",
    "Index": "an index",
    "Threat": "a threat, such as hg.Linf(8 / 255)",
}
"""Classes of the door, and what people call them."""
WORDS = {"int": "a whole number", "float": "a number", "str": "text", "Path": "a path", "bool": "True or False"}
WORDS |= {"Mapping": "a dictionary", "Sequence": "a list", "Iterable": "rows", **CLASSES}
ARRAYS = ("ndarray", "Tensor", "Series")
"""Classes that are taken for lists."""


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, which refuses values of a kind that its signature does not know before it does anything.

    What a value says (a range, an unknown name) is looked at where it is used, and so are kinds that are not named here.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def call(*args: P.args, **rest: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **rest)
        except TypeError as error:
            raise TypeError(f"{function.__name__}() {error}") from None
        for name, value in bound.arguments.items():
            text = signature.parameters[name].annotation
            if isinstance(text, str) and signature.parameters[name].kind is not inspect.Parameter.VAR_KEYWORD:
                kind = _kind(text)
                _check(name, value, kind)
                if _inside_list(kind) is not None and type(value).__name__ in ARRAYS:
                    bound.arguments[name] = tuple(value)
        _check_source(bound.arguments)
        return function(*bound.args, **bound.kwargs)

    return call


@cache
def _kind(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _check(name: str, value: Any, kind: ast.expr) -> None:
    """Refuse a value that is of no kind of these.

    Raises:
        RequestError: it is not.
    """
    if _fits(value, kind):
        return
    inner = _inside_list(kind)
    if inner is not None and (isinstance(value, (list, tuple)) or type(value).__name__ in ARRAYS):
        for place, one in enumerate(value):
            _check(f"{name}[{place}]", one, inner)
    if inner is not None and "str" not in _names(kind, lists=False):
        hint = f"; write [{value!r:.60}]" if isinstance(value, (str, PathLike)) else ""
        raise RequestError(f"{name} must be a list, got {received(value)}{hint}")
    if isinstance(kind, ast.Subscript):  # a Literal
        allowed = ", ".join(str(one.value) for one in ast.walk(kind.slice) if isinstance(one, ast.Constant))
        raise RequestError(f"{name} must be one of {allowed}, got {received(value)}")
    names = _names(kind)
    if "HashModel" in names and value is not None:
        from hamguard.models.foreign import check_face

        check_face(value)
    words = dict.fromkeys(WORDS[leaf] for leaf in names if leaf in WORDS)
    raise RequestError(f"{name} must be {' or '.join(words)}, got {received(value)}{_hint(value, names)}")


def _check_source(given: Mapping[str, Any]) -> None:
    """Refuse what says where a source lies, or how it is split, beside data that were opened.

    Raises:
        RequestError: there is some.
    """
    if type(given.get("data")).__name__ != "Data":
        return
    if strange := [name for name in ("root", "protocol") if given.get(name) is not None]:
        raise RequestError(f"{', '.join(strange)} belong to a named source; what hg.data gave has its own")


def _fits(value: Any, kind: ast.expr) -> bool:
    match kind:
        case ast.BinOp(left, _, right):
            return _fits(value, left) or _fits(value, right)
        case ast.Constant(None):
            return value is None
        case ast.Name(name):
            return any(_is(value, one) for one in ALIASES.get(name, (name,)))
        case ast.Subscript(ast.Name("Sequence"), inner):
            if isinstance(value, (str, bytes, PathLike, Mapping)) or not hasattr(value, "__len__"):
                return False
            return getattr(value, "shape", None) != () and all(_fits(one, inner) for one in value)
        case ast.Subscript(ast.Name("Iterable")):
            return hasattr(value, "__iter__")
        case ast.Subscript(ast.Name("Literal"), allowed):
            return isinstance(value, str) and value in {
                one.value for one in ast.walk(allowed) if isinstance(one, ast.Constant)
            }
        case ast.Subscript(ast.Name("Mapping")):
            return isinstance(value, Mapping)
    return True


def _is(value: Any, name: str) -> bool:
    if name in ("HashModel", "ForeignModel") and callable(getattr(value, "logits", None)):
        return not isinstance(value, type)
    if name == "Index":  # a protocol
        return callable(getattr(value, "search", None))
    if name in CLASSES:
        return any(one.__name__ == name for one in type(value).__mro__)
    if name == "bool":
        return type(value).__name__ in ("bool", "bool_")
    if name not in PLAIN:
        return True
    return isinstance(value, PLAIN[name]) and not isinstance(value, bool)


def _inside_list(kind: ast.expr) -> ast.expr | None:
    """What a list that an annotation allows is made of."""
    return next((one.slice for one in ast.walk(kind) if isinstance(one, ast.Subscript) and _is_list(one)), None)


def _is_list(kind: ast.expr) -> bool:
    return isinstance(kind, ast.Subscript) and isinstance(kind.value, ast.Name) and kind.value.id == "Sequence"


def _names(kind: ast.expr, *, lists: bool = True) -> list[str]:
    """The plain kinds and classes that an annotation is made of, in its order; without those of what lists hold where asked."""
    if isinstance(kind, ast.BinOp):
        return _names(kind.left, lists=lists) + _names(kind.right, lists=lists)
    if isinstance(kind, ast.Subscript):
        return _names(kind.value) + (_names(kind.slice) if lists and _is_list(kind) else [])
    return list(ALIASES.get(kind.id, (kind.id,))) if isinstance(kind, ast.Name) else []


def _hint(value: Any, names: list[str]) -> str:
    """How to come by what is needed from what was given."""
    if type(value).__name__ == "DataPart":
        return "; give the whole data, which say which part asks and which is searched"
    if "Data" in names and (hasattr(value, "shape") or isinstance(value, (list, tuple))):
        return "; hg.data(images, labels) makes data of them"
    if "Budget" in names and type(value).__name__ == "Threat":
        return "; write hg.Budget(threat)"
    return ""
