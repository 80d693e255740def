"""The own code: what a picture had before, whatever else is there."""

from __future__ import annotations

from hamguard.attacks.guides.own import OwnCode
from tests.attacks.published import BANK, CODE, Y


def test_it_is_the_code_itself_with_labels_or_without() -> None:
    for labels, bank in ((None, None), (Y, BANK)):
        assert OwnCode()(CODE, labels, bank, [0], 0) is CODE
    assert not OwnCode().needs_labels
