"""Guides by name: what each is, whether it looks at labels, and what a wrong name is told."""

from __future__ import annotations

import pytest
import torch

from hamguard.attacks.guides.prototype import PUBLISHED, PrototypeCode
from hamguard.attacks.guides.registry import GUIDES, guide_named
from hamguard.attacks.guides.vote import AnchorCode, SignedMean
from hamguard.codes.bank import CodeBank
from hamguard.core.errors import RequestError

CODES = torch.tensor([[1.0, 1, -1, -1], [1, -1, 1, -1], [-1, 1, 1, 1]])
BANK = CodeBank.of(CODES, torch.eye(3))


@pytest.mark.parametrize("name", sorted(GUIDES))
def test_a_guide_carries_its_name_and_says_whether_it_needs_labels(name: str) -> None:
    guide = guide_named(name)
    assert guide.name == name and guide.needs_labels == (name != "own")
    assert hash(guide) == hash(guide_named(name)) and guide == guide_named(name), "frozen values"
    if name == "own":
        assert torch.equal(guide(CODES, None, None, range(3), 0), CODES)
        return
    with pytest.raises(RequestError, match="needs"):
        guide(CODES, torch.eye(3), None, range(3), 0)
    with pytest.raises(RequestError, match="needs"):
        guide(CODES, None, BANK, range(3), 0)


def test_words_after_a_colon() -> None:
    assert guide_named("anchor:5") == AnchorCode(5) and guide_named("anchor").name == "anchor"
    assert guide_named("anchor:1") == guide_named("p2p") == AnchorCode(1)
    assert guide_named("prototype:paper") == PUBLISHED and guide_named("prototype:default") == PrototypeCode()
    assert guide_named("center") == SignedMean("center")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mainstey", "unknown guide 'mainstey'; allowed: own, center, .*; did you mean mainstay"),
        ("mainstay:5", "guide mainstay takes nothing after a colon, got 'mainstay:5'"),
        ("anchor:x", "anchor:N takes the number of codes that vote, such as anchor:5, got 'x'"),
        ("anchor:", "anchor:N takes the number"),
        ("anchor:0", "n must be at least 1, got 0"),
        ("prototype:papr", "unknown training of the prototype 'papr'; allowed: default, paper; did you mean paper"),
    ],
)
def test_wrong_names_explain_themselves(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        guide_named(text)
