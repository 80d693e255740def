"""Files of a package are found by being there, plugins by being named; what fails says which it was."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from hamguard.attacks.guides.registry import GUIDES, register_guide
from hamguard.attacks.methods.registry import ATTACKS
from hamguard.core.errors import RequestError, RunError
from hamguard.core.plugins import VARIABLE, load_files, load_plugins, registered_names
from hamguard.defenses.registry import DEFENSES
from hamguard.hashing.registry import OBJECTIVES

ENTERED: list[str] = []  # what the files of these tests say on being imported
LINE = "import entered\nentered.names.append(__name__)\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path; its modules are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "entered", SimpleNamespace(names=ENTERED))
    ENTERED.clear()
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def write_package(place: Path, name: str, **files: str) -> None:
    (place / name).mkdir()
    for file, text in {"__init__": "", **files}.items():
        (place / name / f"{file}.py").write_text(text, encoding="utf-8")


def test_files_of_a_package_are_found_by_being_there(place: Path) -> None:
    write_package(place, "seen_package", b=LINE, a=LINE)
    load_files("seen_package")
    load_files("seen_package")
    assert ENTERED == ["seen_package.a", "seen_package.b"], "each once, in the order of their names"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no name", "broken_package/bad.py cannot be imported: SyntaxError: invalid syntax"),
        ("import numpi", "bad.py cannot be imported: ModuleNotFoundError: No module named 'numpi'"),
        ("raise ValueError", "bad.py cannot be imported: ValueError: no message"),
        (
            "from hamguard.attacks.guides.registry import register_guide\n@register_guide('own')\nclass Own: ...",
            "bad.py cannot be imported: guide 'own' is registered twice",
        ),
    ],
)
def test_a_file_that_cannot_be_imported_names_itself(place: Path, text: str, message: str) -> None:
    assert "own" in GUIDES
    write_package(place, "broken_package", bad=text)
    with pytest.raises(RunError, match=message):
        load_files("broken_package")


def test_plugins_are_the_modules_that_a_person_names(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "plugin_one.py").write_text(LINE)
    write_package(place, "plugin_package", __init__=LINE, two=LINE, three=LINE)
    load_plugins()
    assert ENTERED == [], "nothing is named"
    monkeypatch.setenv(VARIABLE, "plugin_one, plugin_package.two,")
    load_plugins()
    ATTACKS.names(), GUIDES.names(), OBJECTIVES.names(), DEFENSES.names()
    assert ENTERED == ["plugin_one", "plugin_package", "plugin_package.two"], "each once, and no other"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("plugin_lost", "", "HAMGUARD_PLUGINS names 'plugin_lost', but there is no module plugin_lost; give modules"),
        ("plugin_file.py", "pass", r"names 'plugin_file.py', but there is no module plugin_file.py; give modules"),
        (
            "plugin_needs",
            "import numpi",
            "plugin plugin_needs of HAMGUARD_PLUGINS needs a module that is not here: numpi",
        ),
        (
            "plugin_bad",
            "1 / 0",
            "plugin plugin_bad of HAMGUARD_PLUGINS cannot be imported: ZeroDivisionError: division",
        ),
        (
            "plugin_twice",
            "from hamguard.attacks.methods.registry import register\nregister('tha')(len)",
            "plugin plugin_twice of HAMGUARD_PLUGINS: attack 'tha' is registered twice",
        ),
    ],
)
def test_a_wrong_plugin_is_named(
    place: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, message: str
) -> None:
    tha = ATTACKS["tha"]
    if text:
        (place / f"{name.removesuffix('.py')}.py").write_text(text)
    monkeypatch.setenv(VARIABLE, name)
    for registry in (ATTACKS, GUIDES, OBJECTIVES, DEFENSES):
        with pytest.raises(RequestError, match=message) as caught:
            registry.names()
        assert "\n" not in str(caught.value)
    monkeypatch.delenv(VARIABLE)
    assert ATTACKS["tha"] is tha


def test_names_are_read_from_the_text_of_files_and_plugins(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ATTACKS.names()
    assert registered_names("hamguard.attacks.methods") == names
    assert registered_names("hamguard.attacks.guides", "register_guide") == sorted(GUIDES)
    assert registered_names("hamguard.hashing") == OBJECTIVES.names()
    assert registered_names("hamguard.defenses") == DEFENSES.names()
    head = f"{LINE}from hamguard.attacks.methods.registry import (\n    Made,\n    register,\n)\n"
    (place / "plugin_text.py").write_text(f'{head}@register(\n    "aaa", direction="away"\n)\ndef f(): ...\n')
    monkeypatch.setenv(VARIABLE, "plugin_text,plugin_lost")
    assert registered_names("hamguard.attacks.methods") == ["aaa", *names]
    assert "aaa" not in registered_names("hamguard.hashing"), "its decorator has the same name"
    (place / "plugin_door.py").write_text(f'{LINE}import hamguard as hg\n\n@hg.register_attack("bbb")\ndef f(): ...\n')
    monkeypatch.setenv(VARIABLE, "plugin_text,plugin_lost,plugin_door")
    assert ATTACKS.known() == sorted(["aaa", "bbb", *names]) and "bbb" not in OBJECTIVES.known()
    assert ENTERED == [], "nothing was imported"


def test_a_guide_is_registered_once() -> None:
    GUIDES.names()
    with pytest.raises(RequestError, match="guide 'anchor' is registered twice"):
        register_guide("anchor")(len)  # type: ignore[type-var]
