"""Whether the model gives gradients at all: zero ones, saturated outputs, and answers that change."""

from __future__ import annotations

import torch

from hamguard.attacks.losses.registry import loss_named
from hamguard.attacks.problem import Problem
from hamguard.codes.binary import sign
from hamguard.evaluation.attack.measure import FEW
from hamguard.evaluation.audit.checks.check import Case, Check, judged, register
from hamguard.evaluation.audit.plan import LOSSES
from hamguard.models.trial import beyond_rounding, is_flat

HALF = 0.5
"""Share of bits without a slope from which plain attacks fail."""

FLAT = 9.0
"""Output at which tanh is 1 in single precision, and its slope 0."""


@register("zero-gradients")
def zero_gradients(case: Case) -> Check:
    """Share of the pictures whose gradient is zero at the clean picture, for the loss where it is largest.

    Fails above 5%: the model is flat there, rounds, or saturates, and a gradient attack stands still.
    """
    ground, numbers = case.bench.ground, case.bench.sample()
    x = ground.dataset.images.batch(ground.rows[numbers]).to(ground.device)
    own = ground.query.select(numbers).codes.to(x)
    shares = {}
    for loss_name, words in LOSSES.items():
        loss, relaxation = loss_named(loss_name)
        problem = Problem(
            ground.model,
            x,
            own,
            -1,
            loss,
            case.bench.threat,
            numbers.tolist(),
            ground.seed,
            relaxed=relaxation == "tanh",
        )
        gradient = problem.gradient(x, torch.arange(len(x)), 1.0)[0]
        shares[words] = float(is_flat(gradient).float().mean())
    words = max(shares, key=lambda one: shares[one])
    value = shares[words]
    told = ", ".join(f"{one} {share:.0%}" for one, share in shares.items())
    said = f"gradients that are exactly zero at the clean picture: {told}"
    return judged("zero-gradients", value, FEW, said, f"a plain attack on {words} stands still")


@register("saturated-tanh")
def saturated_tanh(case: Case) -> Check:
    """Share of the bits whose output is so large that tanh has no slope in single precision.

    Fails above a half: then a plain attack cannot move most bits. The audit divides outputs by their median size, so that this
    alone does not blind it.
    """
    ground, numbers = case.bench.ground, case.bench.sample()
    with torch.no_grad():
        z = ground.model.logits(ground.dataset.images.batch(ground.rows[numbers]).to(ground.device))
    value, level = float((z.abs() > FLAT).float().mean()), float(z.abs().median())
    said = f"outputs are {level:.3g} at the median, and tanh is flat for {value:.0%} of the bits"
    return judged(
        "saturated-tanh", value, HALF, said, "attacks on relaxed codes see no slope unless outputs are made smaller"
    )


@register("repeatable")
def repeatable(case: Case) -> Check:
    """Share of the bits that differ when the same pictures are asked twice, by more than rounding.

    Fails above 0: attacks on a model that draws random numbers must average over them, which this battery does not.
    """
    ground, numbers = case.bench.ground, case.bench.sample()
    x = ground.dataset.images.batch(ground.rows[numbers]).to(ground.device)
    with torch.no_grad():
        one, other = ground.model.logits(x), ground.model.logits(x)
    value = float(((sign(one) != sign(other)) & beyond_rounding(one, other)).float().mean())
    said = f"{value:.1%} of the bits change when the same picture is asked again"
    return judged(
        "repeatable", value, 0.0, said, "the model draws random numbers, over which the battery does not average"
    )
