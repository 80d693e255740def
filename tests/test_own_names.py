"""One name in three places: whatever is registered has a test of its own name and an example of its own name."""

from __future__ import annotations

from pathlib import Path

import pytest

from hamguard.attacks.guides.registry import GUIDES
from hamguard.attacks.methods.registry import ATTACKS
from hamguard.defenses.registry import DEFENSES
from hamguard.evaluation.measures.registry import MEASURES
from hamguard.hashing.registry import CROSS_METHODS, OBJECTIVES, UNSUPERVISED

TESTS = Path(__file__).parent
REGISTERED = {
    "attacks/methods": ATTACKS.names(),
    "attacks/guides": GUIDES.names(),
    "hashing": [*OBJECTIVES.names(), *CROSS_METHODS.names(), *UNSUPERVISED.names()],
    "defenses": DEFENSES.names(),
    "evaluation/measures": MEASURES.names(),
    "privacy": ["ppl"],
}
"""Names by the folder of their tests, which mirrors that of the package."""


@pytest.mark.parametrize(("folder", "name"), [(folder, name) for folder, names in REGISTERED.items() for name in names])
def test_it_has_a_test_of_its_name(folder: str, name: str) -> None:
    path = TESTS / folder / f"test_{name.replace('-', '_')}.py"
    assert path.is_file() and "\ndef test_" in path.read_text(encoding="utf-8"), f"write {path.relative_to(TESTS)}"


FOLDERS = {
    "attacks/methods": "attacks",
    "attacks/guides": "guides",
    "evaluation/measures": "measures",
    "privacy": "protectors",
}


@pytest.mark.parametrize(("folder", "name"), [(folder, name) for folder, names in REGISTERED.items() for name in names])
def test_it_has_an_example_of_its_name(folder: str, name: str) -> None:
    path = TESTS.parent / "examples" / FOLDERS.get(folder, folder) / f"{name.replace('-', '_')}.py"
    assert path.is_file(), f"write {path.relative_to(TESTS.parent)}"
