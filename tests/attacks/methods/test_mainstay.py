"""The mainstay attack: what the preset changes, and that the mirrored toward loss frees bits that the printed one leaves."""

from __future__ import annotations

import pytest
import torch

from hamguard.attacks.guides.vote import SignedMean
from hamguard.attacks.losses.mainstay import MainstayLoss
from hamguard.attacks.methods.mainstay import mainstay
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import Linf
from hamguard.core.errors import RequestError
from tests.attacks.test_laws import world


def test_presets() -> None:
    own, code = mainstay(), mainstay(preset="code")
    assert own.guide == code.guide == SignedMean("mainstay")
    assert (own.loss, code.loss) == (MainstayLoss(), MainstayLoss(printed=True))
    for attack, keep in ((own, "best"), (code, "last")):
        assert attack.search == SignSteps(100, random_start=True, alpha="published", keep=keep)
    assert mainstay(printed=True).loss == code.loss and mainstay(printed=True).search == own.search
    with pytest.raises(RequestError, match="unknown preset 'cod'; .*did you mean code"):
        mainstay(preset="cod")


def test_it_leaves_and_approaches_the_mainstay_code() -> None:
    model, x, labels, bank = world()
    guide = SignedMean()(model.code(x), labels, bank, range(12), 0)
    agreement = {True: 0.0, False: 0.0}
    for toward in agreement:
        found = mainstay(steps=30, toward=toward, threat=Linf(0.3))(model, x, labels, bank)
        assert torch.equal(found.target, guide)
        agreement[toward] = float((model.code(found.x_adv) == guide).float().mean())
    assert agreement[False] < float((model.code(x) == guide).float().mean()) < agreement[True]
