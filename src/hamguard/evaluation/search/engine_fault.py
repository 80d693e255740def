"""A fault of an engine as one file of Python that needs nothing but the engine and numpy.

It is made of the very lines that asked: those of the engine, of the question, and of what draws codes, with every value that is
known in its place. So it reads from top to bottom, and says what the check saw.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap

import numpy as np

from hamguard import __version__
from hamguard.core.types import Ints
from hamguard.evaluation.search.engine_checks import FAR, brute_force, distinct_of, draw_codes, draw_queries, pack
from hamguard.evaluation.search.engine_run import FAILED, Drawing, Finding
from hamguard.evaluation.search.engine_text import function_of, imports_apart, joined, lines_of, names_in, statements
from hamguard.retrieval.forms.registry import EngineForm, version_of

OURS = "hamguard."
LONGEST = 39
"""Lines of a file, which a maintainer reads whole."""
CODES = "codes.npz"
"""Where the file of a fault in given codes looks for them."""


def check(found: Ints, numbers: Ints, right: Ints) -> None:
    """What a file ends with: the answers must be those that are right, and have the distances that are theirs."""
    told = np.where(numbers < 0, FAR, np.take_along_axis(right, numbers, axis=1))
    wrong = (told != np.sort(right, axis=1)[:, : found.shape[1]]) | ((numbers >= 0) & (found != told))
    assert not wrong.any(), f"{wrong.sum()} of {wrong.size} answers are wrong"


def fault_script(name: str, form: EngineForm, found: Finding) -> str:
    """The file of a fault: the engine, the codes, the question, and an assertion that fails.

    Args:
        name: of the engine.
        form: the engine.
        found: a finding with a fault.
    """
    assert found.wrong is not None, "there is no fault to show"
    setting, judged = found.wrong
    said = found.said or f"{judged.missed} of {judged.places} answers missed, {judged.false} not true"
    head = f"{name} ({version_of(form) or 'version unknown'}), {found.question.name}: {said}"
    head = head.replace("\\", "/").replace('"', "'")
    known = {"FAR": ast.parse("10**6", mode="eval").body}
    asked = statements(function_of(found.question.ask, {**known, **setting}), "")
    if found.outcome == FAILED:  # it fails before there is anything to check
        helpers = [function_of(one) for one in (pack, brute_force)]
        helpers.append(ast.parse("def check(*said): pass").body[0])  # type: ignore[arg-type]
    else:
        helpers = [function_of(one, known) for one in (pack, brute_force, check)]
    imports, engine = _engine(form, found.question.needs)
    body = [*engine, *lines_of(helpers), *_drawn(found.drawing, setting["bits"]), *lines_of(asked)]
    lines = [f'"""{head}. Found by hamguard {__version__}."""', *imports, *body]
    return "\n".join(joined(lines, LONGEST)) + "\n"


def _drawn(drawing: Drawing, bits: int) -> list[str]:
    """Lines that draw codes and queries, and make the engine; given codes lie in a file beside it."""
    items = drawing.count(bits)
    values = {
        "items": items,
        "bits": bits,
        "distinct": distinct_of(items, drawing.collapse),
        "queries": drawing.queries,
    }
    given = f"codes = np.unpackbits(np.load({CODES!r})['packed'], axis=1, count={bits}, bitorder='little') > 0"
    drawn = [given] if drawing.codes is not None else lines_of(statements(function_of(draw_codes, values), "codes"))
    return [
        f"engine, rng = Engine(), np.random.default_rng({drawing.seed})",
        *drawn,
        *lines_of(statements(function_of(draw_queries, values), "query")),
    ]


def _engine(form: EngineForm, needs: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Imports, and the class of an engine with what is asked of it, or where it is to be had."""
    kind, numpy = type(form), "import numpy as np"
    if not _is_plain(form):
        made = ", ".join(repr(value) for value in getattr(form, "arguments", ()))
        imports = [f"from {kind.__module__} import {kind.__name__}{'' if made else ' as Engine'}", numpy]
        return imports, [f"Engine = lambda: {kind.__name__}({made})"] if made else []
    members = dict(inspect.getmembers(kind, inspect.isfunction))
    asked = ["build", "search", *needs]
    called = "".join(inspect.getsource(members[name]) for name in asked)
    wanted = dict.fromkeys([*asked, *(name for name in members if f"self.{name}(" in called)])
    changed = [one for name in wanted for one in _changed(inspect.getsource(members[name]))]
    held = {name: getattr(kind, name) for name in dir(kind) if isinstance(getattr(kind, name), (bool, str, type(None)))}
    facts = [f"    {name} = {held.pop(name)!r}" for name in list(held) if name in changed]
    nodes = [function_of(members[name], held=held) for name in wanted]
    imports = [line for node in nodes for line in imports_apart(node)]
    lines = [*facts, *textwrap.indent("\n".join(lines_of(nodes)), "    ").splitlines()]
    names = {*names_in(["class Engine:", *lines])}
    for node in ast.parse(inspect.getsource(sys.modules[kind.__module__])).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            here = {alias.asname or alias.name.partition(".")[0] for alias in node.names} & (names - {"np"})
            if here and not str(getattr(node, "module", "")).startswith("hamguard"):
                imports.append(ast.unparse(node))
    return [*dict.fromkeys(imports), numpy], ["class Engine:", *lines]


def _changed(text: str) -> list[str]:
    """Attributes of `self` that a method sets."""
    found = (node for node in ast.walk(ast.parse(textwrap.dedent(text))) if isinstance(node, ast.Attribute))
    return [node.attr for node in found if isinstance(node.ctx, ast.Store)]


def _is_plain(form: EngineForm) -> bool:
    """Whether the class of an engine says all that it does, and needs nothing of hamguard."""
    module = type(form).__module__
    return module.startswith(f"{OURS}retrieval.forms.") and not module.endswith("index_form")
