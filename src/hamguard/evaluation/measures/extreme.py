"""CLEVER for codes: an estimate of how far a bit, m bits or the nearest class code are, from extreme gradient norms (H.5).

Paper: T.-W. Weng et al., "Evaluating the Robustness of Neural Networks: An Extreme Value Theory Approach", ICLR 2018; authors' code
huanzhang12/CLEVER. The definitions for codes are ours. Points are drawn uniformly from a ball around the picture, the largest
dual gradient norm of each batch of points is kept, a reverse Weibull distribution is fitted to these maxima by maximum likelihood,
and its end point `a` estimates the local Lipschitz constant. The score is `min(margin / a, R)`.

All scores are estimates, no certificates, except on a linear function, where every gradient is the same and the score is exact.

Deliberate differences from paper and code: 50 batches of 64 points (500 of 1,024), because a point costs one backward pass a bit.
Maxima that are all equal are the constant itself, where the authors' fit has no answer. The fit starts from one shape and
takes others only where a Kolmogorov-Smirnov test rejects it; the authors try seven and keep the best. Kept from them: samples
shifted and scaled to unit range, the small penalty that keeps the fit from running off, the largest sample where no fit is good.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hamguard.attacks.threat import Linf, Norm, Threat
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row, Rows, levels_text
from hamguard.core.seeds import torch_generator
from hamguard.core.types import Array, Floats
from hamguard.evaluation.measures.gradients import Outputs, blocks, draw_in_ball, dual_norm, jacobian
from hamguard.evaluation.measures.registry import Line, Subject
from hamguard.evaluation.measures.rows import Cost, eighths, mean_row, noted, quantile_rows

SHAPES = (5.0, 1.0, 20.0, 50.0)
"""Shapes that a fit starts from, in turn."""

REJECTED, HOPELESS = 0.05, 0.001
"""p-values of the test: below the first another start is tried, below the second the largest sample is taken (authors' code)."""

PENALTY = 0.01
"""Weight of the squared scale in the likelihood of the scaled sample (authors' code; without it the end point may run off)."""

EQUAL = 1e-5
"""Maxima whose range is a smaller part of them differ by rounding only: float32 sums over thousands of values."""


def end_point(maxima: Array) -> tuple[float, float]:
    """End point of the reverse Weibull distribution that maxima come from.

    Args:
        maxima: largest gradient norm of each batch, `(Nb,)`, at least 0.

    Returns:
        The end point, at least the largest maximum, and the p-value of the fit; 1 where all maxima are equal, which is exact, and
        0 where no fit was good, so that the largest maximum stands for it.

    Raises:
        RequestError: fewer than two maxima, or one that is negative or not finite.
    """
    sample = np.asarray(maxima, dtype=np.float64)
    if sample.ndim != 1 or len(sample) < 2 or not bool((np.isfinite(sample) & (sample >= 0)).all()):
        raise RequestError(f"an end point needs at least two finite maxima, got shape {sample.shape}")
    top, spread = float(sample.max()), float(np.ptp(sample))
    if spread <= EQUAL * top:
        return top, 1.0
    from scipy.stats import kstest, weibull_max

    scaled = (sample - top) / spread  # (Nb,) in [-1, 0]
    fit: Any = weibull_max.fit
    best, best_p = top, 0.0
    for shape in SHAPES:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # of steps outside the support
            found = fit(scaled, shape, optimizer=_penalized)
            p = float(kstest(scaled, "weibull_max", args=found).pvalue)
        if np.isfinite(found).all() and found[1] >= 0 and p > best_p:
            best, best_p = top + float(found[1]) * spread, p
        if best_p >= REJECTED:
            break
    return (best, best_p) if best_p >= HOPELESS else (top, 0.0)


def _penalized(likelihood: Callable[..., float], start: Any, args: tuple[Any, ...] = (), disp: int = 0) -> Any:
    """Nelder-Mead on the negative log likelihood of (shape, location, scale) and the penalty; scipy calls it."""
    from scipy.optimize import fmin

    def penalized(theta: Any, *rest: Any) -> float:
        return float(likelihood(theta, *rest)) + PENALTY * float(theta[2]) ** 2

    return fmin(penalized, start, args=args, disp=bool(disp))


@dataclass(frozen=True)
class Sampling:
    """What is drawn.

    Attributes:
        ball: where from; linf 8/255, or for L2 a radius about 2 on small pictures.
        batches: Nb, maxima that a distribution is fitted to.
        points: Ns, points of a batch.
        seed: of the draws; a picture's depend on it and on the picture's number alone.
    """

    ball: Threat = field(default_factory=lambda: Linf(8 / 255))
    batches: int = 50
    points: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("batches", self.batches, 2)
        check_range("points", self.points, 1)


STANDARD = Sampling()


@dataclass(frozen=True)
class Draws:
    """How many points a measure draws.

    Attributes:
        batches: batches of points, Nb.
        points: points of a batch, Ns.
        all_bits: ask every bit instead of the nearer half, which is what m up to K/2 needs.
    """

    batches: int
    points: int
    all_bits: bool = True

    def __post_init__(self) -> None:
        if self.batches < 2 or self.points < 1:
            raise RequestError(f"CLEVER needs at least 2 batches of 1 point, got {self.batches}x{self.points}")

    @classmethod
    def read(cls, text: str | Draws) -> Draws:
        """From `quick`, `published`, or `NBxNS`, which asks all bits; draws are left as they are.

        Raises:
            RequestError: none of these.

        >>> Draws.read("quick"), Draws.read("50x64")
        (Draws(batches=10, points=8, all_bits=False), Draws(batches=50, points=64, all_bits=True))
        """
        if isinstance(text, Draws) or text in NAMED:
            return text if isinstance(text, Draws) else NAMED[text]
        batches, x, points = text.partition("x")
        if not (x and batches.isascii() and batches.isdigit() and points.isascii() and points.isdigit()):
            raise RequestError(
                f"CLEVER settings must be quick, published or BATCHESxPOINTS such as 50x64, got {text!r}"
            )
        return cls(int(batches), int(points))

    def sampling(self, subject: Subject) -> Sampling:
        """The draws around a subject's images."""
        return Sampling(subject.budget.threat, self.batches, self.points, subject.ground.seed)

    @property
    def note(self) -> str:
        """What rows say of it."""
        batches, points = PUBLISHED.batches, PUBLISHED.points
        return f"CLEVER: {self.batches} batches of {self.points} points; the paper takes {batches} of {points:,}"


QUICK = Draws(10, 8, all_bits=False)
"""A 32-bit ResNet-20 on 20 images of 32 pixels then takes about two core-minutes, all default measures together."""

PUBLISHED = Draws(500, 1024)
"""Of the paper (Weng et al., ICLR 2018)."""

NAMED = {"quick": QUICK, "published": PUBLISHED}


@dataclass(frozen=True)
class Clever:
    """Scores in pixel units.

    Attributes:
        score: `min(margin / a, R)` of every bit (or rival code), `(n, F)`; NaN for bits that were not asked.
        margin: margin of each at the picture, `(n, F)`.
        constant: end points a, `(n, F)`.
        fit: p-value of each fit, `(n, F)`: 1 also where all maxima are equal, 0 where the largest maximum stands for the end point.
        norm: of the ball.
        radius: R; a score of R says only that nothing nearer is expected.
        what: `bit` or `guide`, with the relaxation.
        cost: what was spent.
    """

    score: Floats
    margin: Floats
    constant: Floats
    fit: Floats
    norm: Norm
    radius: float
    what: str
    cost: Cost = field(compare=False)

    @property
    def first(self) -> Floats:
        """The least score of each picture, `(n,)`."""
        return self.at_least(1)

    def at_least(self, m: int) -> Floats:
        """CLEVER-m: some set of m bits must flip, so the m-th smallest score of each picture, `(n,)`.

        Raises:
            RequestError: `m` is below 1 or above the number of bits that were asked.
        """
        asked = int((~np.isnan(self.score)).sum(1).min())
        check_range("m", m, 1, asked)
        return np.asarray(np.sort(self.score, axis=1)[:, m - 1])  # NaN stand last


def constants(
    outputs: Callable[[Tensor], Outputs], x: Tensor, sampling: Sampling, numbers: Sequence[int]
) -> tuple[Floats, Floats]:
    """End points and p-values of all outputs, `(n, F)` each; `outputs(rows)` are those of the pictures of `rows`."""
    draws, parts = len(x) * sampling.batches, []
    for part in blocks(draws, x, sampling.points):
        which = [divmod(draw, sampling.batches) for draw in range(part.start, part.stop)]  # picture, batch
        points = torch.cat(
            [
                draw_in_ball(
                    x[i], sampling.ball, sampling.points, torch_generator(sampling.seed, "clever", numbers[i], batch)
                )
                for i, batch in which
            ]
        )  # (d Ns, C, H, W)
        rows = torch.tensor([i for i, _ in which], device=x.device).repeat_interleave(sampling.points)
        norms = []
        for inner in blocks(len(points), x):  # a batch alone may be more than goes through at once
            reduce = lambda gradient: dual_norm(gradient, sampling.ball.norm)  # noqa: E731
            norms.append(jacobian(outputs(rows[inner]), points[inner], reduce)[1])  # (d Ns, F)
        parts.append(torch.cat(norms).view(len(which), sampling.points, -1).amax(1))  # (d, F)
    maxima = torch.cat(parts).view(len(x), sampling.batches, -1).double().cpu().numpy()  # (n, Nb, F)
    found = np.array([[end_point(maxima[i, :, f]) for f in range(maxima.shape[2])] for i in range(len(x))])
    return found[:, :, 0], found[:, :, 1]  # (n, F) each


def scored(margin: Floats, constant: Floats, fit: Floats, sampling: Sampling, what: str, cost: Cost) -> Clever:
    """Scores `min(margin / a, R)`, `(n, F)` each."""
    radius = sampling.ball.eps
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.where(constant > 0, np.clip(margin / constant, 0, radius), np.where(margin > 0, radius, 0.0))
    score[np.isnan(constant)] = np.nan
    return Clever(score, margin, constant, fit, sampling.ball.norm, radius, what, cost)


def clever_rows(found: Clever, base: Row, *, bits: tuple[int, ...] | None = None, seed: int = 0) -> list[Row]:
    """Rows of scores: mean, median, 10th and 90th percentile of CLEVER-m, the share that reached R, and the share of poor fits.

    Args:
        found: what was measured.
        base: model and data.
        bits: values of m; None takes 1, K/8, K/4 and K/2 as far as so many were asked; against rivals only 1.
        seed: of the bootstrap.

    Returns:
        For every m rows `clever[WHAT]`, `-median`, `-p10`, `-p90` and `-capped`; last `clever[WHAT]-poor-fit`.
    """
    asked = int((~np.isnan(found.score)).sum(1).min())
    guided = found.what.startswith("guide")
    wanted = bits or ((1,) if guided else tuple(m for m in eighths(found.score.shape[1]) if m <= asked))
    threat = {"norm": found.norm, "eps": found.radius, "grid": "none"}
    base = found.cost.on(replace(base, threat=threat, task="query"))
    base = noted(base, "CLEVER is an estimate, not a certificate")
    if asked < found.score.shape[1]:
        base = noted(base, f"only the {asked} nearest bits of a picture were asked")
    name, rows = f"clever[{found.what}]", []
    for m in wanted:
        values = found.at_least(m)
        rows += [mean_row(base, name, values, seed=seed, at=m), *quantile_rows(base, name, values, seed=seed, at=m)]
        rows.append(mean_row(base, f"{name}-capped", values >= found.radius, seed=seed, at=m))
    poor = np.nanmean(np.where(np.isnan(found.fit), np.nan, found.fit < REJECTED), axis=1)
    return [*rows, mean_row(base, f"{name}-poor-fit", poor, seed=seed)]


def clever_lines(found: Clever, rows: Sequence[Row], counts: dict[str, int], what: str) -> list[Line]:
    """Lines of the scores of so many bits or rivals, of capped scores and of poor fits."""
    name, held = f"clever[{found.what}]", Rows(rows)
    lines = [
        Line(
            f"CLEVER{what}, {text}",
            f"estimated lower bound of the budget that {'leads to another class' if what else f'turns {text}'}, mean",
            "higher",
            "eps",
            held.where(metric=name, at=m)[-1],
            found.at_least(m),
        )
        for text, m in counts.items()
    ]
    capped, poor = held.where(metric=f"{name}-capped", at=1)[-1], held.where(metric=f"{name}-poor-fit")[-1]
    ball = levels_text(found.radius)
    lines.append(Line(f"CLEVER{what}, capped", f"pictures whose score is all of {ball}", "higher", "share", capped))
    return [*lines, Line(f"CLEVER{what}, poor fits", "fits to be doubted", "lower", "share", poor)]
