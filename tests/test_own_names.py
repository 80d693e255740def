"""One name in three places: whatever is registered has a test of its own name and an example of its own name."""

from __future__ import annotations

from pathlib import Path

import pytest

from hamguard.attacks.guides.registry import guide_names
from hamguard.attacks.methods.registry import attack_names
from hamguard.defenses.registry import defense_names
from hamguard.evaluation.measures.registry import measure_names
from hamguard.hashing.cross_modal import cross_methods
from hamguard.hashing.objective import objective_names
from hamguard.hashing.unsupervised import UNSUPERVISED

TESTS = Path(__file__).parent
REGISTERED = {
    "attacks/methods": attack_names(),
    "attacks/guides": guide_names(),
    "hashing": [*objective_names(), *cross_methods(), *UNSUPERVISED],
    "defenses": defense_names(),
    "evaluation/measures": measure_names(),
    "privacy": ["ppl"],
}
"""Names by the folder of their tests, which mirrors that of the package."""


@pytest.mark.parametrize(("folder", "name"), [(folder, name) for folder, names in REGISTERED.items() for name in names])
def test_it_has_a_test_of_its_name(folder: str, name: str) -> None:
    path = TESTS / folder / f"test_{name.replace('-', '_')}.py"
    assert path.is_file() and "\ndef test_" in path.read_text(encoding="utf-8"), f"write {path.relative_to(TESTS)}"
