"""Least budgets by bisection: exact on a linear hash function, lawful on a tiny model."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from torch import Tensor

from hamguard.attacks.attack import Attack
from hamguard.attacks.methods.iterative import pgd
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import Linf, Threat
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import pack
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.evaluation.measures.budgets import Pictures, plain_pgd
from hamguard.evaluation.measures.criteria import BitsMoved, NearCode, PrecisionDrops
from hamguard.evaluation.measures.minimal import TOLERANCE, minimal_perturbation, minimal_rows
from tests.attacks.test_laws import world
from tests.evaluation.measures.linear import LinearHash, codes, pictures


def weakest(u: Tensor, target: Tensor, side: int) -> Tensor:
    """The margin of the bit nearest to zero: what a one-bit flip must lower."""
    return (target * u).min(1).values


def one_bit(eps: float, norm: str = "linf", *, rounding: bool = False) -> Attack:
    search = SignSteps(20)
    return Attack(loss=weakest, search=search, threat=Threat(norm, eps), relaxation="none", rounding=rounding)


def test_one_bit_on_a_linear_function_is_found_to_the_tolerance() -> None:
    model, x = LinearHash(equal=True), pictures(8)
    exact = model.exact(x, "linf").min(1)
    found = minimal_perturbation(Pictures(model, x), BitsMoved(codes(model, x), 1), one_bit)
    assert (found.radius >= exact - 1e-6).all() and (found.radius - exact <= TOLERANCE + 1e-6).all()
    assert np.allclose(found.radius - found.below, TOLERANCE) and (found.below < exact + 1e-6).all()
    assert (found.distance <= found.radius + 1e-6).all() and (found.distance >= exact - 1e-6).all()
    assert found.unsolved == 0 and not found.failed.any() and found.norm == "linf" and not found.rounding
    levels = np.array([1, 2, 4, 8, 16, 64])
    rate = found.rate((levels / 255).tolist())
    assert (np.diff(rate) >= 0).all() and rate[-1] == 1
    assert (rate <= [(exact <= level / 255 + 1e-6).mean() for level in levels]).all()
    assert (rate >= [(exact <= (level - 0.25) / 255).mean() for level in levels]).all()


def test_the_l2_budget_is_found_alike() -> None:
    model, x = LinearHash(), pictures(4)
    model.b = model.b / model.W.norm(dim=1)
    model.W = model.W / model.W.norm(dim=1, keepdim=True)
    exact = model.exact(x, "l2").min(1)
    make = partial(one_bit, norm="l2")
    found = minimal_perturbation(Pictures(model, x), BitsMoved(codes(model, x), 1), make, most=2.0, tolerance=0.01)
    assert found.norm == "l2" and (found.radius >= exact - 1e-5).all() and (found.radius - exact <= 0.01).all()


def test_a_picture_of_8_bits_moves_by_whole_levels() -> None:
    model, x = LinearHash(equal=True), pictures(6)
    exact = model.exact(x, "linf").min(1)
    found = minimal_perturbation(Pictures(model, x), BitsMoved(codes(model, x), 1), partial(one_bit, rounding=True))
    assert np.allclose(found.radius * 255, np.ceil(exact * 255), atol=1e-3) and found.rounding
    assert minimal_rows(found, Row())[0].threat == {"norm": "linf", "grid": "8 bit", "eps": 64 / 255}


def test_the_default_attack_is_exact_for_a_single_bit() -> None:
    model, x = LinearHash(1), pictures(3)
    found = minimal_perturbation(Pictures(model, x), BitsMoved(codes(model, x)), tolerance=1 / 255)
    exact = model.exact(x, "linf")[:, 0]
    assert ((found.radius >= exact - 1e-6) & (found.radius - exact <= 1 / 255 + 1e-4)).all()
    assert plain_pgd(0.1).search == pgd(steps=50).search and plain_pgd(0.1).threat == Linf(0.1)


def test_clean_failures_and_unsolved_pictures_are_told_apart() -> None:
    model, x = LinearHash(equal=True), pictures(4)
    own = codes(model, x)
    target = own.packed.copy()
    target[1:] ^= 0b111111  # the opposite code, far away; the first picture is where it should go already
    found = minimal_perturbation(Pictures(model, x), NearCode(target, 6, 2), one_bit, most=8 / 255, tolerance=1 / 255)
    assert found.radius[0] == 0 and found.failed.tolist() == [True, False, False, False]
    assert np.isinf(found.radius[1:]).all() and np.allclose(found.below[1:], 8 / 255) and found.unsolved == 1
    rows = {row.metric: row for row in minimal_rows(found, Row(), seed=1)[:5]}
    assert rows["min-eps-median"].value is None and rows["min-eps-median"].n == 3
    assert rows["min-eps-unsolved"].value == 1 and rows["min-eps-clean"].value == 0.25
    assert "1 of 4 pictures meet the criterion when clean and are left out" in rows["min-eps-median"].notes
    with pytest.raises(RequestError, match="eps must be between"):
        found.rate([9 / 255])
    assert minimal_perturbation(
        Pictures(model, x[:1]), NearCode(target[:1], 6, 2), one_bit
    ).failed.all()  # nothing to attack


def test_the_answer_does_not_depend_on_the_batch_and_repeats() -> None:
    model, x, _, _ = world()
    bank = CodeBank(pack(model.code(x)), 8, np.zeros((12, 0), np.uint8))

    def make(eps: float) -> Attack:
        return replace(pgd(steps=3, threat=Linf(eps)), rounding=False)

    options = {"most": 64 / 255, "tolerance": 4 / 255}
    whole = minimal_perturbation(Pictures(model, x), BitsMoved(bank), make, **options)  # type: ignore[arg-type]
    again = minimal_perturbation(Pictures(model, x, batch_size=5), BitsMoved(bank), make, **options)  # type: ignore[arg-type]
    assert (whole.radius == again.radius).mean() > 0.8  # rounding of another batch size may flip a sign
    assert np.array_equal(
        whole.radius,
        minimal_perturbation(Pictures(model, x), BitsMoved(bank), make, **options).radius,  # type: ignore[arg-type]
    )
    part = np.arange(4, 12)
    rest = minimal_perturbation(
        Pictures(model, x[4:], index=part.tolist()), BitsMoved(bank.select(part)), make, **options
    )  # type: ignore[arg-type]
    assert (rest.radius == whole.radius[4:]).mean() > 0.8
    finite = whole.values[np.isfinite(whole.values)]
    assert len(finite) > 6 and (whole.distance[np.isfinite(whole.radius)] <= finite + 1e-6).all()
    rows = minimal_rows(whole, Row(model="tiny"), seed=0)
    assert [row.metric for row in rows] == [
        "min-eps-median", "min-eps-p10", "min-eps-p90", "min-eps-unsolved", "min-eps-clean", *["asr-code"] * 7,
    ]  # fmt: skip
    curve = [(row.threat["eps"], row.value) for row in rows[5:]]  # type: ignore[index]
    assert [eps * 255 for eps, _ in curve] == pytest.approx([1, 2, 4, 8, 16, 32, 64])
    assert [value for _, value in curve] == sorted(value for _, value in curve)  # type: ignore[type-var]
    assert rows[0].backwards and rows[0].forwards and rows[0].seconds and rows[0].model == "tiny"


def test_a_criterion_of_retrieval_is_bisected_alike() -> None:
    model, x, labels, bank = world()
    query = CodeBank.of(model.code(x), labels)
    criterion = PrecisionDrops(query, bank, n=4)

    def make(eps: float) -> Attack:
        return pgd(steps=3, threat=Linf(eps))

    found = minimal_perturbation(Pictures(model, x), criterion, make, most=64 / 255, tolerance=16 / 255)
    assert found.criterion == "asr-precision[rho=0.5]" and found.at == 4 and found.rounding
    solved = np.flatnonzero(np.isfinite(found.radius))
    assert len(solved) > 3
    eps = float(found.radius[solved[0]])
    x_adv = make(eps)(model, x[solved[:1]], index=solved[:1].tolist()).x_adv
    assert criterion(pack(model.code(x_adv)), solved[:1]) == 1  # the budget is one at which it did succeed


def test_minimal_refuses_wrong_input() -> None:
    model, x = LinearHash(), pictures(2)
    criterion = BitsMoved(codes(model, x), 1)
    with pytest.raises(RequestError, match="tolerance must be above 0 and at most 0.1, got 0.2"):
        minimal_perturbation(Pictures(model, x), criterion, most=0.1, tolerance=0.2)
    with pytest.raises(RequestError, match="asr-code knows 2 pictures, got 1"):
        minimal_perturbation(Pictures(model, x[:1]), criterion)
    with pytest.raises(RequestError, match="the attack's budget is 0.1, it was made for 0.25"):
        minimal_perturbation(Pictures(model, x), criterion, lambda eps: one_bit(0.1))
    with pytest.raises(RequestError, match="batch_size must be at least 1"):
        Pictures(model, x, batch_size=0)
    with pytest.raises(RequestError, match="index must have a number for each of 2"):
        Pictures(model, x, index=[1])
    with pytest.raises(RequestError, match=r"eps must be in \(0, 1\]"):
        minimal_perturbation(Pictures(model, x), criterion, most=64)
