"""Checks of the audit itself: signs that its figure is not the worst case. Each has a name, a figure and a sentence.

Sources: A. Athalye, N. Carlini, D. Wagner, "Obfuscated Gradients Give a False Sense of Security", ICML 2018 (section 3.1), and
N. Carlini et al., "On Evaluating Adversarial Robustness", 2019, here for codes. A check that fails does not say that the model is
broken; it says that the audit's figure should not be trusted without a closer look, or why plain attacks would be fooled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from hamguard.attacks.losses.registry import loss_named
from hamguard.attacks.problem import Problem
from hamguard.attacks.threat import Threat
from hamguard.codes.binary import sign
from hamguard.core.checks import suggest
from hamguard.core.errors import RequestError
from hamguard.core.types import Bytes, Floats
from hamguard.evaluation.attack.files import write_pictures
from hamguard.evaluation.attack.measure import FEW
from hamguard.evaluation.audit.bench import Bench
from hamguard.evaluation.audit.plan import LONG, LOSSES, Cell
from hamguard.evaluation.audit.stages import best_stage
from hamguard.evaluation.audit.worst import Worst
from hamguard.models.trial import beyond_rounding, is_flat

SLACK = 0.01
"""Difference of two MAPs that says nothing: the search is random, and a sample is small."""

HALF = 0.5
"""Share of bits without a slope from which plain attacks fail."""

FLAT = 9.0
"""Output at which tanh is 1 in single precision, and its slope 0."""

ELSEWHERE = 1000
"""Number of a start that no stage has."""

FAR = 0.5
"""Radius at which any picture can become nearly any other."""


@dataclass(frozen=True)
class Check:
    """What a check found.

    Attributes:
        name: of the check.
        passed: whether the audit may be trusted in this respect; None where what it looks at was left out.
        value: its figure.
        sentence: what it means.
        masks: whether a failure is a sign that gradients are hidden.
        reason: what a failure says, in few words.
    """

    name: str
    passed: bool | None
    value: float | None
    sentence: str
    masks: bool = False
    reason: str = ""


def judged(name: str, value: float, limit: float, said: str, reason: str, *, masks: bool = True) -> Check:
    """A check that passes up to a limit; a failure says why it matters."""
    if value <= limit:
        return Check(name, True, value, said, masks)
    return Check(name, False, value, f"{said}; {reason}", masks, reason)


def zero_gradients(bench: Bench, worst: Worst) -> Check:
    """Share of the pictures whose gradient is zero at the clean picture, for the loss where it is largest.

    Fails above 5%: the model is flat there, rounds, or saturates, and a gradient attack stands still.
    """
    ground, numbers = bench.ground, bench.sample()
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
            bench.plan.threat,
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


def saturated_tanh(bench: Bench, worst: Worst) -> Check:
    """Share of the bits whose output is so large that tanh has no slope in single precision.

    Fails above a half: then a plain attack cannot move most bits. The audit divides outputs by their median size, so that this
    alone does not blind it.
    """
    ground = bench.ground
    with torch.no_grad():
        z = ground.model.logits(ground.dataset.images.batch(ground.rows[bench.sample()]).to(ground.device))
    value, level = float((z.abs() > FLAT).float().mean()), float(z.abs().median())
    said = f"outputs are {level:.3g} at the median, and tanh is flat for {value:.0%} of the bits"
    return judged(
        "saturated-tanh", value, HALF, said, "attacks on relaxed codes see no slope unless outputs are made smaller"
    )


def repeatable(bench: Bench, worst: Worst) -> Check:
    """Share of the bits that differ when the same pictures are asked twice, by more than rounding.

    Fails above 0: attacks on a model that draws random numbers must average over them, which this battery does not.
    """
    ground = bench.ground
    x = ground.dataset.images.batch(ground.rows[bench.sample()]).to(ground.device)
    with torch.no_grad():
        one, other = ground.model.logits(x), ground.model.logits(x)
    value = float(((sign(one) != sign(other)) & beyond_rounding(one, other)).float().mean())
    said = f"{value:.1%} of the bits change when the same picture is asked again"
    return judged(
        "repeatable", value, 0.0, said, "the model draws random numbers, over which the battery does not average"
    )


def logits_no_stronger(bench: Bench, worst: Worst) -> Check:
    """MAP under the center guide with relaxed codes less that with raw logits, on outputs as they are.

    Fails above 0.1: raw logits see what tanh hides.
    """
    numbers = bench.sample()
    relaxed, raw = (
        float(bench.run(Cell("center", loss), numbers, name=f"plain-{loss}", gradients="plain").ap.mean())
        for loss in ("inner", "logarithm")
    )
    said = f"MAP under one attack on outputs as they are: {relaxed:.3f} with relaxed codes, {raw:.3f} with raw logits"
    return judged("raw-logits", max(0.0, relaxed - raw), 10 * SLACK, said, "relaxed codes hide what raw logits show")


def restart_gain(bench: Bench, worst: Worst) -> Check:
    """What one more start of the longest gradient attack takes from the worst case, in MAP.

    Fails above 0.01: the battery has not found the worst pictures yet, and more gradients would lower the figure.
    """
    sample = bench.sample()
    again = _again(bench, worst, "one-more-start", steps=LONG * bench.plan.steps, turn=ELSEWHERE)
    value = float((worst.ap[sample] - np.minimum(worst.ap[sample], again)).mean())
    said = f"one more start of {LONG * bench.plan.steps} gradients lowers the MAP by {value:.4f}"
    return judged(
        "restart-gain", value, SLACK, said, "the figure is not the worst case yet: give more --steps", masks=False
    )


def more_steps(bench: Bench, worst: Worst) -> Check:
    """The largest rise of the MAP when one attack gets a third, all, and three times of its gradients.

    Fails above 0.01: a search that does worse with more gradients does not follow them.
    """
    steps = bench.plan.steps
    tried = sorted({max(1, steps // 3), steps, 3 * steps})
    maps = [float(_again(bench, worst, f"steps-{n}", steps=n).mean()) for n in tried]
    return _falling("more-steps", "gradients", [f"{n}" for n in tried], maps)


def eps_monotone(bench: Bench, worst: Worst) -> Check:
    """The largest rise of the MAP when the budget is halved, kept and doubled.

    Fails above 0.01: a larger ball holds all pictures of a smaller one.
    """
    eps = bench.plan.eps
    most = 1.0 if bench.plan.norm == "linf" else float("inf")
    tried = sorted({eps / 2, eps, min(most, 2 * eps)})
    maps = [float(_again(bench, worst, f"eps-{e:.6f}", eps=e).mean()) for e in tried]
    return _falling("eps-monotone", "budgets", [size_text(bench.plan.norm, e) for e in tried], maps)


def large_eps(bench: Bench, worst: Worst) -> Check:
    """Share of the way from the clean MAP to the floor that is left when pixels may move by half of their range.

    Fails above 5%: with such a budget nothing but hidden gradients can stop an attack.
    """
    numbers = bench.sample()
    sides = bench.clean_pixels.shape[1:]
    eps = FAR if bench.plan.norm == "linf" else FAR * float(np.prod(sides)) ** 0.5
    ap = _again(bench, worst, "large-eps", eps=eps, steps=max(30, bench.plan.steps))
    way = float((worst.clean[numbers] - worst.floor[numbers]).mean())
    left = float((np.minimum(ap, worst.clean[numbers]) - worst.floor[numbers]).mean())
    value = max(0.0, left / way) if way > 0 else 0.0
    said = f"with pixels free by half of their range, {1 - value:.0%} of the way to the floor is gone"
    return judged("large-eps", value, FEW, said, "something other than the budget stops the gradient")


def answers_no_stronger(bench: Bench, worst: Worst) -> Check:
    """Share of the queries where the query-only attack did more harm than all gradients.

    Fails above 5%: what sees only answers cannot know more than what sees the model, unless gradients mislead.
    """
    return _no_stronger(worst, "answers", "query-only", "an attacker who sees only answers")


def transfer_no_stronger(bench: Bench, worst: Worst) -> Check:
    """Share of the queries where pictures made on another model did more harm than all gradients of this one.

    Fails above 5%, for the same reason.
    """
    return _no_stronger(worst, "transfer", "transfer", "pictures made on another model")


def saved_file(bench: Bench, worst: Worst) -> Check:
    """Largest difference of an average precision between the worst pictures in memory and the same pictures as PNG files.

    Fails above 0: what is scored must be what a file holds.
    """
    numbers = bench.sample()
    with TemporaryDirectory() as folder:
        back = write_pictures(Path(folder) / "worst", worst.pixels[numbers], bench.ground.query.ids[numbers])
    again = bench.ap(back, numbers)
    value = float(np.abs(again - worst.ap[numbers]).max())
    inside = _inside(bench, back, numbers.tolist())
    said = f"saved as PNG and read back, average precisions differ by {value:.2g}"
    if not inside:
        value = max(value, 1.0)
    return judged("saved-file", value, 0.0, said, "files do not hold what was scored, or leave the budget", masks=False)


CHECKS: dict[str, Callable[[Bench, Worst], Check]] = {
    "zero-gradients": zero_gradients,
    "saturated-tanh": saturated_tanh,
    "repeatable": repeatable,
    "raw-logits": logits_no_stronger,
    "restart-gain": restart_gain,
    "more-steps": more_steps,
    "eps-monotone": eps_monotone,
    "large-eps": large_eps,
    "query-only": answers_no_stronger,
    "transfer": transfer_no_stronger,
    "saved-file": saved_file,
}
"""All checks by name, in the order in which they are made."""


def check_names(asked: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """The checks to make: those asked for, all of them where nothing was, none for `none`.

    Raises:
        RequestError: there is no such check; the message lists all and the nearest.
    """
    if list(asked) == ["none"]:
        return ()
    for name in asked:
        if name not in CHECKS:
            raise RequestError(
                f"unknown check {name!r}; allowed: {', '.join(CHECKS)}, none{suggest(name, list(CHECKS))}"
            )
    return tuple(name for name in CHECKS if name in asked) if asked else tuple(CHECKS)


def size_text(norm: str, eps: float) -> str:
    """A budget as people write it.

    >>> size_text("linf", 8 / 255), size_text("l2", 0.5)
    ('8/255', '0.5')
    """
    return f"{eps * 255:.3g}/255" if norm == "linf" else f"{eps:.3g}"


def _again(
    bench: Bench, worst: Worst, name: str, *, steps: int | None = None, eps: float | None = None, turn: int = 0
) -> Floats:
    """Average precision of the sample under the best gradient attack of the audit once more, `(n,)`."""
    sample = bench.sample()
    best = best_stage(worst, worst.open if len(worst.open) else sample)
    threat = bench.plan.threat if eps is None else Threat(bench.plan.norm, eps)
    got = bench.run(
        Cell(best.guide, best.loss),
        sample,
        name=name,
        steps=steps,
        threat=threat,
        turn=turn,
        gradients=best.gradients,
    )
    return got.ap


def _falling(name: str, what: str, at: list[str], maps: list[float]) -> Check:
    """Whether a row of MAPs falls, but for `SLACK`."""
    rises = [later - min(maps[: i + 1]) for i, later in enumerate(maps[1:])]
    value = max([0.0, *rises])
    told = ", ".join(f"{one}: {ap:.3f}" for one, ap in zip(at, maps, strict=True))
    said = f"MAP at {what} of {told}"
    return judged(name, value, SLACK, said, f"the MAP rises with {what}")


def _no_stronger(worst: Worst, kind: str, name: str, who: str) -> Check:
    numbers = [stage.numbers for stage in worst.stages if stage.kind == kind]
    if not numbers:
        return Check(name, None, None, f"{who}: left out of this audit")
    at = np.unique(np.concatenate(numbers))
    better = worst.under(kind)[at] < worst.under("gradient")[at] - SLACK
    value = float(better.mean())
    said = f"{who} did more harm than all gradients on {value:.0%} of {len(at)} queries"
    return judged(name, value, FEW, said, "gradients of this model mislead")


def _inside(bench: Bench, pixels: Bytes, numbers: list[int]) -> bool:
    delta = pixels.astype(np.float64) / 255 - bench.clean_pixels[numbers] / 255.0
    flat = delta.reshape(len(delta), -1)
    order = np.inf if bench.plan.norm == "linf" else 2
    return bool((np.linalg.norm(flat, order, axis=1) <= bench.plan.eps + 1e-6).all())
