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

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hamguard.attacks.attack import clean_code
from hamguard.attacks.threat import Linf, Norm, Threat
from hamguard.attacks.types import Victim
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import relax
from hamguard.core.checks import check_choice, check_range
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.core.seeds import torch_generator
from hamguard.core.types import Array, Floats
from hamguard.evaluation.measures.gradients import Outputs, blocks, draw_in_ball, dual_norm, jacobian
from hamguard.evaluation.measures.radius import border_distance, eighths
from hamguard.evaluation.measures.rows import Cost, mean_row, noted, picture_numbers, quantile_rows

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


def bit_clever(
    model: Victim,
    x: Tensor,
    sampling: Sampling = Sampling(),
    *,
    nearest: int | None = None,
    index: Sequence[int] | None = None,
) -> Clever:
    """Score of every bit, with the margin `|z_k(x)|`.

    Args:
        model: frozen, in evaluation mode.
        x: clean pictures, `(n, C, H, W)` in [0, 1].
        sampling: ball, batches, points, seed.
        nearest: ask only so many bits of a picture, those of the smallest `|z_k| / ||grad z_k||`, for scores of few bits at a part
            of the cost; None asks all.
        index: numbers of the pictures in the run.

    Raises:
        RequestError: pictures outside [0, 1], `nearest` not between 1 and K, or no gradient to the pictures.
        RunError: a gradient is not finite.
    """
    started = time.perf_counter()
    numbers = picture_numbers(index, len(x))
    K = model.bits
    asked = check_range("nearest", K if nearest is None else nearest, 1, K)
    order, margin = [], []
    for part in blocks(len(x), x):
        clean_code(model, x[part])
        z, size = jacobian(
            model.logits, x[part], lambda gradient: dual_norm(gradient, sampling.ball.norm)
        )  # (b, K) each
        order.append(border_distance(z, size).argsort(1)[:, :asked])  # (b, F)
        margin.append(z.abs())
    bits, distance = torch.cat(order), torch.cat(margin)

    def outputs(rows: Tensor) -> Outputs:
        return lambda here: model.logits(here).gather(1, bits[rows])  # (b, F)

    constant, fit = _constants(outputs, x, sampling, numbers)
    full = np.full((2, len(x), K), np.nan)
    np.put_along_axis(full[0], bits.cpu().numpy(), constant, 1)
    np.put_along_axis(full[1], bits.cpu().numpy(), fit, 1)
    passes = sampling.batches * sampling.points
    cost = Cost(passes + 2, passes * asked + K, time.perf_counter() - started)
    return _scored(distance.double().cpu().numpy(), full[0], full[1], sampling, "bit", cost)


def guide_clever(
    model: Victim,
    x: Tensor,
    own: Tensor,
    rivals: Tensor,
    sampling: Sampling = Sampling(),
    *,
    relaxation: str = "tanh",
    index: Sequence[int] | None = None,
) -> Clever:
    """Score against coming nearer to another code than to the own one, with the margin `(u(x).own - u(x).rival) / K`.

    The closest to the classifier's definition. With `tanh` a saturated model has small gradients and large scores; `none` takes the
    logits, which do not saturate, and the two are to be read together.

    Args:
        model: frozen, in evaluation mode.
        x: clean pictures, `(n, C, H, W)` in [0, 1].
        own: code of each picture's class, `(n, K)` in {-1, +1}.
        rivals: codes of other classes, `(n, J, K)`.
        sampling: ball, batches, points, seed.
        relaxation: `tanh` or `none`.
        index: numbers of the pictures in the run.

    Returns:
        Scores `(n, J)`; 0 where the picture is nearer to the rival already. `first` is the score of the nearest rival.

    Raises:
        RequestError: pictures outside [0, 1], codes of other shapes, unknown relaxation, or no gradient to the pictures.
        RunError: a gradient is not finite.
    """
    started = time.perf_counter()
    numbers = picture_numbers(index, len(x))
    check_choice("relaxation", relaxation, ("tanh", "none"))
    K = model.bits
    if own.shape != (len(x), K) or rivals.ndim != 3 or rivals.shape[::2] != own.shape or rivals.shape[1] == 0:
        raise RequestError(
            f"guide codes must be ({len(x)}, {K}) and rivals ({len(x)}, J, {K}), got {tuple(own.shape)} and {tuple(rivals.shape)}"
        )
    away = (own[:, None] - rivals).to(x) / K  # (n, J, K)

    def outputs(rows: Tensor) -> Outputs:
        def margins(here: Tensor) -> Tensor:
            z = model.logits(here)
            u = relax(z) if relaxation == "tanh" else z
            return torch.einsum("bjk,bk->bj", away[rows], u)  # (b, J)

        return margins

    margin = []
    with torch.no_grad():
        for part in blocks(len(x), x):
            clean_code(model, x[part])
            margin.append(outputs(torch.arange(len(x), device=x.device)[part])(x[part]))
    constant, fit = _constants(outputs, x, sampling, numbers)
    passes = sampling.batches * sampling.points
    cost = Cost(passes + 2, passes * rivals.shape[1], time.perf_counter() - started)
    return _scored(torch.cat(margin).double().cpu().numpy(), constant, fit, sampling, f"guide, {relaxation}", cost)


def rival_codes(bank: CodeBank, labels: Array) -> tuple[Tensor, Tensor]:
    """Guides for `guide_clever`: majority codes of the classes of training codes.

    Args:
        bank: codes of the training part with labels.
        labels: labels of the pictures, `(n, C)`; a picture has exactly one, so that there are as many rivals of each.

    Returns:
        Codes of the pictures' classes, `(n, K)`, and of the others that the bank has, `(n, J, K)`.

    Raises:
        RequestError: a picture without exactly one label, or whose class the bank does not have, or a bank of one class.
    """
    from hamguard.attacks.guides.vote import vote

    if labels.ndim != 2 or labels.shape[1] != bank.labels.shape[1] or bool((labels.sum(1) != 1).any()):
        raise RequestError(
            f"rival codes need exactly one of {bank.labels.shape[1]} labels a picture, got {labels.shape}"
        )
    known, kinds = np.flatnonzero(bank.labels.any(0)), labels.argmax(1)
    if len(known) < 2 or not np.isin(kinds, known).all():
        raise RequestError(f"the reference codes know {len(known)} classes; rivals need two, and each picture's own")
    codes = bank.codes
    centers = {int(c): vote(codes[torch.from_numpy(bank.labels[:, c] > 0)]) for c in known}
    own = torch.stack([centers[int(kind)] for kind in kinds])  # (n, K)
    rivals = [torch.stack([code for c, code in centers.items() if c != kind]) for kind in kinds]
    return own, torch.stack(rivals)  # (n, K), (n, J, K)


def _constants(
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


def _scored(margin: Floats, constant: Floats, fit: Floats, sampling: Sampling, what: str, cost: Cost) -> Clever:
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
