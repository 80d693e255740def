"""What `import hamguard as hg` offers: the names, what it costs, and that type checkers see the same."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import hamguard as hg
from hamguard import attacks

VALUES = [
    "DefenseSettings",
    "Defense",
    "Settings",
    "Objective",
    "Threat",
    "Attack",
    "Budget",
    "CodeBank",
    "Context",
    "Data",
    "ForeignModel",
    "HamguardError",
    "HashModel",
    "L0",
    "L1",
    "L2",
    "Linf",
    "ProtectImages",
    "Rows",
]
VERBS = [
    "reproduce",
    "privacy",
    "audit",
    "codes",
    "data",
    "demo",
    "detect",
    "encode",
    "features",
    "engine_check",
    "gate",
    "harden",
    "index",
    "load",
    "measure",
    "models",
    "panel",
    "protect",
    "protect_image",
    "purify",
    "read_rows",
    "report",
    "sanity",
    "search",
    "train",
    "verify",
    "wrap",
    "attack",
    "evaluate",
    "transfer",
    "study",
    "threshold",
    "dedupe",
]
DECORATORS = [
    "register_check",
    "register_attack",
    "register_defense",
    "register_guide",
    "register_loss",
    "register_measure",
    "register_objective",
    "register_source",
    "add_paper",
]
NAMES = [*VALUES, *VERBS, *DECORATORS, "attacks", "metrics"]


def test_these_names_are_promised() -> None:
    assert sorted(hg.__all__) == sorted([*NAMES, "__version__"])
    assert dir(hg) == sorted(hg.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_and_says_what_it_is(name: str) -> None:
    found = getattr(hg, name)
    assert inspect.getdoc(found)
    if not isinstance(found, (ModuleType, type)):
        assert inspect.signature(found).parameters


def typed_names(module: ModuleType) -> dict[str, str]:
    """Names that a type checker is told of, with the module that each is imported from."""
    assert module.__file__
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    block = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    return {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.parametrize("module", [hg, attacks], ids=lambda m: m.__name__)
def test_type_checkers_are_told_of_the_same_names(module: ModuleType) -> None:
    typed = typed_names(module)
    assert sorted(typed) == sorted({*module.__all__} - {"__version__"})
    for name, place in typed.items():
        file, _, attribute = place.partition(":")
        held = getattr(module, name)
        if not isinstance(held, ModuleType):
            assert getattr(importlib.import_module(file), attribute) is held, name


def test_every_attack_is_a_function_of_attacks() -> None:
    from hamguard.attacks.methods.registry import ATTACKS

    for name in ATTACKS:
        assert name in attacks.__all__ and getattr(hg.attacks, name) is ATTACKS[name]
    with pytest.raises(AttributeError, match="has no attribute 'hagg'"):
        _ = hg.attacks.hagg  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="module 'hamguard' has no attribute 'atack'"):
        _ = hg.atack  # type: ignore[attr-defined]


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_import_loads_nothing_heavy() -> None:
    loaded = run(
        "import sys; before = {*sys.modules}; import hamguard as hg; dir(hg); print(*({*sys.modules} - before))"
    ).split()
    ours = {name for name in loaded if name.partition(".")[0] == "hamguard"}
    called = {f"hamguard.{name}" for name in ("codes", "data", "models", "privacy", "report")}
    assert ours == {"hamguard", *called}
    assert not {"torch", "numpy", "pydantic", "rich", "typer"} & {*loaded}


@pytest.mark.parametrize(
    "code",
    [
        "import hamguard as hg; hg.data, hg.codes, hg.models",
        "import hamguard.data.opened; import hamguard.codes.bank; import hamguard as hg",
        "from hamguard.data.split import Split; from hamguard import data, codes; import hamguard as hg",
        "from hamguard.api.data import data; from hamguard.api.codes import codes; import hamguard as hg",
    ],
)
def test_packages_that_are_called_are_so_in_any_order_of_imports(code: str) -> None:
    later = "import hamguard.data.split, hamguard.codes.bank; bool(hg.data.split.Split and hg.codes.bank.CodeBank)"
    assert run(f"{code}; print(callable(hg.data), callable(hg.codes)); {later}") == "True True"
