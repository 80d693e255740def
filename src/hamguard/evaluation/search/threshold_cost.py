"""What a radius costs: copies that it loses, and the budget at which an attack crosses it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from hamguard.attacks.budget import Budget
from hamguard.attacks.threat import Linf
from hamguard.codes.bank import CodeBank
from hamguard.core.errors import RequestError, StaleError
from hamguard.core.rows import Rows
from hamguard.evaluation.ground import Ground
from hamguard.evaluation.measures.budgets import Pictures, base_of, plain_pgd
from hamguard.evaluation.measures.criteria import BitsMoved
from hamguard.evaluation.measures.minimal import minimal_perturbation, minimal_rows
from hamguard.evaluation.measures.registry import Subject
from hamguard.evaluation.measures.rows import mean_row
from hamguard.evaluation.search.copies import CopySearches
from hamguard.evaluation.search.threshold import RECALL, RadiusFound

LARGEST = Linf(8 / 255)  # named by facts of rows alone; the bisection has budgets of its own


def with_copies(found: RadiusFound, copies: CopySearches, *, seed: int) -> RadiusFound:
    """The same with the share of copies within each radius of their original.

    Args:
        found: the radii.
        copies: changed copies of images, encoded with the model of the codes.
        seed: of the bootstrap.

    Raises:
        RequestError: codes of another length.
    """
    if copies.bank.bits != found.tail.bits:
        raise RequestError(f"the model's codes have {copies.bank.bits} bits, those that were counted {found.tail.bits}")
    rows, moved = Rows(found.rows), dict(found.moved)
    for view, search in zip(copies.views, copies.searches, strict=True):
        moved[view] = search.bits_moved
        base = replace(search.row, ties=None, value=None, ci95=None)
        rows += [mean_row(base, RECALL, search.bits_moved <= at, seed=seed, at=at) for at in found.told]
    return replace(found, rows=rows, moved=moved)


def with_attack(found: RadiusFound, ground: Ground, steps: int) -> RadiusFound:
    """The same with the least budgets at which an attack moves a picture's code beyond the radius.

    The attack is PGD away from the own code, bisected for each picture: an upper bound of what it takes.

    Args:
        found: the radii, one of which is allowed.
        ground: the model on the images that are attacked.
        steps: gradients of each attack.

    Raises:
        RequestError: no radius is allowed, or none is below the length of a code.
        RunError: a gradient is not finite.
    """
    if found.radius is None or found.radius >= found.tail.bits:
        raise RequestError("there is no radius that an attack could cross")
    subject = Subject(ground, Budget(LARGEST, steps=steps), ground.base)
    make = partial(plain_pgd, steps=steps)
    least = minimal_perturbation(Pictures.of(subject), BitsMoved(subject.clean, found.radius + 1), make)
    rows = minimal_rows(least, base_of(subject, "pgd", make(LARGEST.eps)), seed=ground.seed)
    return replace(found, rows=Rows([*found.rows, *rows]))


def check_maker(bank: CodeBank, model_hash: str) -> None:
    """Check that a model made the codes, as far as these say it.

    Raises:
        StaleError: another one did.
    """
    if bank.model_hash and bank.model_hash != model_hash:
        raise StaleError(f"the codes are of model {bank.model_hash}, the model is {model_hash}; encode again")
