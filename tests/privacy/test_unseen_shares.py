"""The mean over searches that the protector never saw leaves out those that plain noise fools."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from hamguard.privacy.effect import NOISE, SAVED
from hamguard.privacy.effect_summary import _trust, counted, fooled_by_noise, unseen_shares
from hamguard.privacy.pairs import NEVER_SEEN
from hamguard.retrieval.rank import Ranks

PICTURES = 10


def side(lost: int) -> Any:
    """A search that has so many of ten originals behind its first ten answers."""
    nearer = np.zeros(PICTURES, np.int64)
    nearer[:lost] = 50
    return SimpleNamespace(forward=Ranks(nearer, np.ones(PICTURES, np.int64)))


def measured(lost: dict[str, tuple[int, int]], seen: str = NEVER_SEEN) -> Any:
    """Searches with what they lose of protected files and of noise."""
    return SimpleNamespace(
        matchers=[SimpleNamespace(name=name, seen=seen) for name in lost],
        sides=[{SAVED: side(saved), NOISE: side(noise)} for saved, noise in lost.values()],
    )


def test_a_search_that_noise_fools_is_in_no_mean() -> None:
    lost = {"a": (4, 0), "b": (2, 5), "fooled": (9, 6)}
    found = unseen_shares(measured(lost), top=10, seed=0)
    assert found is not None
    mean, worst, least = found
    assert (round(mean.value, 6), worst, least.value) == (0.3, "b", 0.2)
    assert fooled_by_noise(measured(lost), 10) == {"fooled": 0.6}


def test_too_few_that_count_give_no_mean() -> None:
    assert unseen_shares(measured({"a": (4, 0), "fooled": (9, 8)}), top=10, seed=0) is None
    assert not fooled_by_noise(measured({"met": (9, 9)}, seen="surrogate"), 10)


def test_what_counts_leaves_out_what_noise_fools() -> None:
    protection: Any = SimpleNamespace(found=True)
    of = measured({"a": (4, 0), "fooled": (9, 8)})
    assert list(counted(of, 10)) == ["a"]
    assert "never saw: a. " in _trust(of.matchers, protection, fooled_by_noise(of, 10))
    alone = measured({"fooled": (9, 8)})
    assert "(fooled) lose most originals by noise" in _trust(alone.matchers, protection, fooled_by_noise(alone, 10))
