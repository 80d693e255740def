"""Nothing broken is trusted: a broken file is refused in one line that names it, made again, or taken as another input.

Without options a fixed number of mutants of a fixed seed is tried. `pytest -m fuzz --fuzz-seconds 600 --fuzz-seed 7` tries others
for that long; a mutant that fails is named by kind, seed and number, and `python -m tests.fuzz --kind KIND --seed S --number N`
makes it again.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest

from tests.fuzz.hunt import FAULTS, FINE, Hunt, Mutant
from tests.fuzz.kinds import KINDS, Kind

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(7200)]

FEW = 2
"""Mutants of a kind whose share is 1, where no time is given."""
WHOLE = sum(kind.share for kind in KINDS)


@pytest.fixture(scope="module")
def hunt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hunt]:
    made = Hunt(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.close()


def mutants(hunt: Hunt, kind: Kind, config: pytest.Config) -> Iterator[Mutant]:
    """Those that the options ask for, in the order of their numbers."""
    seconds = config.getoption("--fuzz-seconds")
    end = time.monotonic() + seconds * kind.share / WHOLE
    for number in itertools.count():
        if time.monotonic() > end if seconds else number >= max(1, round(FEW * kind.share)):
            return
        yield hunt.try_one(kind.name, config.getoption("--fuzz-seed"), number)


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name.replace(" ", "-") for kind in KINDS])
def test_no_broken_file_is_trusted(hunt: Hunt, kind: Kind, request: pytest.FixtureRequest) -> None:
    found = list(mutants(hunt, kind, request.config))
    assert {one.verdict for one in found} <= {*FINE, *FAULTS}
    wrong = [str(one) for one in found if one.verdict not in FINE]
    assert found and not wrong, "\n".join(wrong)


def test_one_seed_makes_one_mutant(hunt: Hunt) -> None:
    first = hunt.try_one("foreign codes", 3, 1)
    assert hunt.try_one("foreign codes", 3, 1) == first
    assert len({hunt.try_one("foreign codes", seed, 1).word for seed in range(4)}) > 1
