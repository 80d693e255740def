"""The code of a single picture: one with exactly the label, drawn for each picture."""

from __future__ import annotations

import torch

from hamguard.attacks.guides.vote import AnchorCode
from tests.attacks.published import BANK, CODE, B


def test_it_is_one_of_the_codes_with_the_label() -> None:
    drawn = AnchorCode(n=1)(CODE.expand(30, -1), torch.tensor([[1.0, 0, 0]]).expand(30, -1), BANK, range(30), 0)
    assert {tuple(code) for code in drawn.tolist()} == {tuple(B[0].tolist()), tuple(B[2].tolist())}
    assert AnchorCode(n=1).name == "p2p" and AnchorCode(n=2).name == "anchor"
