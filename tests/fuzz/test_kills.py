"""A run that was killed goes on: the same command again ends with the same files, and nothing is left behind.

Without options the cheap commands are killed once each; `pytest tests/fuzz/test_kills.py --kills 100` kills all of them in turn.
"""

from __future__ import annotations

import pytest

from tests.fuzz.kills import VERBS, Killer, Verb

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(7200), pytest.mark.xdist_group("processes")]


@pytest.fixture(scope="module")
def killer(tmp_path_factory: pytest.TempPathFactory) -> Killer:
    return Killer(tmp_path_factory.mktemp("kills"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The cheap commands, or all of them with `--kills`."""
    if "verb" in metafunc.fixturenames:
        verbs = [verb for verb in VERBS if verb.cheap or metafunc.config.getoption("--kills")]
        metafunc.parametrize("verb", verbs, ids=[verb.name.replace(" ", "-") for verb in verbs])


def test_sigkill_and_the_same_command_again(killer: Killer, verb: Verb, request: pytest.FixtureRequest) -> None:
    asked = request.config.getoption("--kills")
    times = -(-asked // len(VERBS)) if asked else 1
    found = [killer.kill(verb, request.config.getoption("--fuzz-seed"), number) for number in range(times)]
    wrong = [str(one) for one in found if one.verdict != "equal"]
    assert found and not wrong, "\n".join(wrong)
