"""What every verb prints with `--json` does not move by a digit.

`python -m tests.golden --record` keeps the rows of all commands in `rows/`, without times, hashes, versions and temporary places;
all else is compared, whatever the order of keys. Processors differ in how they round, and what is computed from rounded numbers
differs with them. Beside the rows stands therefore a probe, a digest of some sums, products, transforms and coded pictures: where
this machine computes the same digest, floats are compared to the last digit; where it does not, a warning says so, and numbers are
compared in kind alone, and words that quote them or name the best of several not at all, while keys, other words, names and how
many rows there are stay as they were.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator

import pytest

from tests.golden.commands import COMMANDS
from tests.golden.lab import Lab
from tests.golden.rows import KEPT, PROBE, differences, load

SHOWN = 8
"""Differences of one command that a failure names."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp("golden"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def exact(lab: Lab) -> bool:
    same = lab("") == PROBE.read_text(encoding="utf-8").strip()
    if not same:
        warnings.warn(
            "golden rows: this machine rounds otherwise, computed numbers are compared in kind alone", stacklevel=1
        )
    return same


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_rows_do_not_move(lab: Lab, exact: bool, name: str) -> None:
    found = list(itertools.islice(differences(load(name), lab(name), exact, name), SHOWN))
    assert not found, "\n".join(found)


def test_every_kept_file_has_its_command() -> None:
    assert sorted(path.stem for path in KEPT.glob("*.jsonl")) == sorted(command.name for command in COMMANDS)
