"""A fault of an engine as one file of Python that needs nothing but the engine and numpy."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable
from typing import Any

from hamguard import __version__
from hamguard.evaluation.search.engine_checks import brute_force, draw, labels_of, pack
from hamguard.evaluation.search.engine_run import FAILED, Finding
from hamguard.retrieval.forms.registry import EngineForm, version_of

OURS = "hamguard."
LONGEST, WIDTH = 39, 130
"""Lines of a file, which a maintainer reads whole, and columns of one."""
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


def fault_script(name: str, form: EngineForm, found: Finding) -> str:
    """The file of a fault: the engine, the codes, the question, and an assertion that fails.

    Args:
        name: of the engine.
        form: the engine.
        found: a finding with a fault.
    """
    assert found.wrong is not None, "there is no fault to show"
    setting, judged = found.wrong
    drawing, rest = found.drawing, {key: value for key, value in setting.items() if key != "bits"}
    bits = setting["bits"]
    said = found.said or f"{judged.missed} of {judged.places} answers missed, {judged.false} not true"
    head = f"{name} ({version_of(form) or 'version unknown'}), {found.question.name}: {said}"
    head = head.replace("\\", "/").replace('"', "'")
    ours = [_short(one) for one in (pack, labels_of, brute_force, draw, found.question.ask)]
    body = _engine(form, found.question.needs)
    more = "".join(f", {key}={value!r}" for key, value in rest.items())
    lines = [
        f'"""{head}. Found by hamguard {__version__}."""',
        *_imports(form, body, "\n".join(ours)),
        body,
        *ours,
        f"codes, query = draw({drawing.seed}, {drawing.count(bits)}, {bits}, {drawing.collapse}, {drawing.queries})",
        f"for found, numbers, right in {found.question.ask.__name__}(Engine(), codes, query{more}):",
    ]
    if found.outcome != FAILED:
        lines += [
            "    told = np.where(numbers < 0, 10**6, np.take_along_axis(right, numbers, axis=1))",
            "    wrong = (told != np.sort(right, axis=1)[:, : found.shape[1]]) | ((numbers >= 0) & (found != told))",
            "    assert not wrong.any(), f'{wrong.sum()} of {wrong.size} answers are wrong'",
        ]
    else:
        lines.append("    pass")
    text = "\n".join(lines)
    return f"{text if text.count(chr(10)) < LONGEST else _joined(text)}\n"


def _joined(text: str) -> str:
    """The same with short statements side by side, for engines that need many words."""
    lines: list[str] = []
    for line in text.splitlines():
        last, word = lines[-1] if lines else "", line.strip()
        alike = len(line) - len(word) == len(last) - len(last.strip())
        if alike and not any(one.strip().startswith(APART) for one in (line, last)) and len(last) + len(word) < WIDTH:
            lines[-1] = f"{last}; {word}"
        else:
            lines.append(line)
    depths = [len(line) - len(line.strip()) for line in lines] + [0]
    for number in range(len(lines) - 2, -1, -1):  # a function of one line needs no second
        head, body = lines[number], lines[number + 1].strip()
        alone = depths[number + 1] > depths[number] >= depths[number + 2] and not body.startswith(APART)
        if head.strip().startswith(("def ", "for ", "if ", "with ")) and alone and len(head) + len(body) < WIDTH:
            lines[number : number + 2] = [f"{head} {body}"]
            del depths[number + 1]
    return "\n".join(lines)


def _engine(form: EngineForm, needs: tuple[str, ...]) -> str:
    """The class of an engine with what is asked of it, or where it is to be had."""
    kind = type(form)
    if not _is_plain(form):
        made = "".join(f"{value!r}, " for value in getattr(form, "arguments", ()))
        return f"from {kind.__module__} import {kind.__name__}\nEngine = lambda: {kind.__name__}({made.rstrip(', ')})"
    members = dict(inspect.getmembers(kind, inspect.isfunction))
    asked = ["build", "search", *needs]
    called = "".join(inspect.getsource(members[name]) for name in asked)
    own = [name for name in members if f"self.{name}(" in called]
    lines: list[str] = []
    for name in dict.fromkeys([*asked, *own]):
        lines.append(textwrap.indent(_short(members[name]), "    "))
    held = {name: getattr(kind, name) for name in dir(kind) if isinstance(getattr(kind, name), (bool, str, type(None)))}
    facts = [
        f"    {name} = {value!r}"
        for name, value in held.items()
        if f"self.{name}" in "".join(lines) and name != "__doc__"
    ]
    return "\n".join(["class Engine:", *facts, *lines])


def _is_plain(form: EngineForm) -> bool:
    """Whether the class of an engine says all that it does, and needs nothing of hamguard."""
    module = type(form).__module__
    return module.startswith(f"{OURS}retrieval.forms.") and not module.endswith("index_form")


def _short(function: Callable[..., Any]) -> str:
    """The text of a function without types, comments and the sentence that explains it."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    node = tree.body[0]
    assert isinstance(node, ast.FunctionDef)
    node.returns, node.decorator_list = None, []
    for argument in (*node.args.args, *node.args.kwonlyargs):
        argument.annotation = None
    node.body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    text = ast.unparse(tree)
    return text.replace(":\n    ", ": ") if len(node.body) == 1 and text.count("\n") == 1 else text


def _imports(form: EngineForm, *texts: str) -> list[str]:
    """Imports of numpy, of the question, and of what the engine needs."""
    names = {one.id for text in texts for one in ast.walk(ast.parse(text)) if isinstance(one, ast.Name)}
    names |= {"np"}
    lines = ["import numpy as np", *(["FAR = 10**6"] if "FAR" in names else [])]
    if _is_plain(form):
        for node in ast.parse(inspect.getsource(sys.modules[type(form).__module__])).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = node.module if isinstance(node, ast.ImportFrom) else ""
                wanted = {alias.asname or alias.name.partition(".")[0] for alias in node.names} & (names - {"np"})
                if wanted and not str(module).startswith("hamguard"):
                    lines.insert(0, ast.unparse(node))
    return lines
