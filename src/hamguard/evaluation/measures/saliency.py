"""How an explanation moves under attack: saliency maps of a picture's code before and after (slides of C. Deng; figures ours).

The slides: an adversarial perturbation shifts "the attention of the model toward regions supporting the adversarial prediction". A
code predicts no class, so each picture is explained by its own code b: `J(x) = mean_k b_k z_k(x)`, the inner product of the guide's
loss with its sign turned, on logits because tanh saturates. Two maps, one value a pixel:

* `gradient`: `sum_c |dJ/dx_c|` (K. Simonyan, A. Vedaldi, A. Zisserman, ICLR workshop 2014, who take the largest channel).
* `integrated`: integrated gradients (M. Sundararajan, A. Taly, Q. Yan, ICML 2017) from a black picture, summed over channels.
  Completeness holds up to the midpoint rule: they add up to J(x) - J(black).

Two maps are compared by Spearman's rank correlation of the values' sizes and by the share of the largest tenth that both have. The
control is the same change with its values in random places: what is left beyond it is the attack's, not that of any change.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hamguard.attacks.attack import clean_code
from hamguard.attacks.losses.inner import inner_product
from hamguard.attacks.threat import TINY
from hamguard.attacks.types import Victim
from hamguard.core.checks import check_choice, check_range
from hamguard.core.rows import Row
from hamguard.core.seeds import torch_generator
from hamguard.core.types import Bytes, Floats
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.measures.gradients import blocks, jacobian
from hamguard.evaluation.measures.registry import Found, Line, Picture, Subject, register
from hamguard.evaluation.measures.rows import Cost, mean_row
from hamguard.evaluation.measures.success import attacked_by
from hamguard.images.quantize import as_pixels, from_bytes, round_8bit

KINDS = ("gradient", "integrated")
POINTS = 32
"""Points of the midpoint rule; the paper takes 20 to 300."""
TOP = 0.1
"""Share of the pixels that counts as the top of a map."""
SHOWN = 6
"""Pictures of the sheet."""


def saliency_maps(model: Victim, x: Tensor, kind: str = "gradient", *, points: int = POINTS) -> Floats:
    """What each pixel says for the picture's own code, `(n, H, W)`.

    Args:
        model: frozen, in evaluation mode.
        x: pictures, `(n, C, H, W)` in [0, 1].
        kind: `gradient` or `integrated`.
        points: of the path of integrated gradients.

    Raises:
        RequestError: an unknown kind, no point, pictures outside [0, 1], or no gradient to the pictures.
        RunError: a gradient is not finite.
    """
    check_choice("kind of map", kind, KINDS)
    check_range("points", points, 1)
    maps = []
    for part in blocks(len(x), x):
        own, here = clean_code(model, x[part]), x[part]
        score = _score_of(model, own)
        if kind == "gradient":
            maps.append(jacobian(score, here)[1][:, 0].abs().sum(1))  # (b, H, W)
            continue
        total = torch.zeros_like(here)
        for number in range(points):  # eq. (3) with the midpoint of each part of the path, x' = 0
            total += jacobian(score, here * ((number + 0.5) / points))[1][:, 0]
        maps.append((here * total / points).sum(1))  # eq. (1)
    return torch.cat(maps).double().cpu().numpy()


def _score_of(model: Victim, own: Tensor) -> Callable[[Tensor], Tensor]:
    """`J(x) = mean_k b_k z_k(x)` as `(b, 1)`."""
    return lambda x: -inner_product(model.logits(x), own, 1)[:, None]


def rank_correlations(first: Floats, second: Floats) -> Floats:
    """Spearman's correlation of the sizes of two maps, `(n,)`; NaN where a map is flat.

    Args:
        first: `(n, H, W)`.
        second: the same shape.
    """
    from scipy.stats import rankdata

    a, b = (rankdata(np.abs(one).reshape(len(one), -1), axis=1) for one in (first, second))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    size = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return np.where(size > TINY, (a * b).sum(1) / np.where(size > TINY, size, 1), np.nan)


def top_overlaps(first: Floats, second: Floats, share: float = TOP) -> Floats:
    """Share of the largest pixels of one map that are among those of the other, `(n,)`."""
    flat = [np.abs(one).reshape(len(one), -1) for one in (first, second)]
    count = max(1, math.floor(share * flat[0].shape[1]))
    tops = [np.argsort(-one, axis=1, kind="stable")[:, :count] for one in flat]
    return np.asarray([len(np.intersect1d(a, b)) / count for a, b in zip(*tops, strict=True)])


def scattered(x: Tensor, x_adv: Tensor, seed: int) -> Tensor:
    """The same change with its values in random places and of random sign, on the 8-bit grid: noise of the same size.

    Args:
        x: clean pictures, `(n, C, H, W)`.
        x_adv: attacked ones.
        seed: of the places.

    Returns:
        `(n, C, H, W)` in [0, 1]; a sign is turned where the value would leave [0, 1].
    """
    out = []
    for number, (clean, moved) in enumerate(zip(x, x_adv, strict=True)):
        generator = torch_generator(seed, "scattered", number)
        place = torch.randperm(clean.numel(), generator=generator).to(clean.device)
        coins = torch.rand(clean.shape, generator=generator).to(clean) < 0.5
        size = (moved - clean).abs().flatten()[place].view_as(clean)
        delta = torch.where(coins, size, -size)
        out.append(torch.where((clean + delta < 0) | (clean + delta > 1), clean - delta, clean + delta))
    return round_8bit(torch.stack(out).clamp(0, 1))


@dataclass(frozen=True)
class Shift:
    """How far the maps of n pictures moved, one value a picture each.

    Attributes:
        kind: of map.
        rank: Spearman's correlation of the maps before and after the attack.
        top: share of the top that both have.
        noise_rank, noise_top: the same for noise of the same size.
        maps: before, after the attack, after noise, `(3, n, H, W)`.
        cost: what the maps cost.
    """

    kind: str
    rank: Floats
    top: Floats
    noise_rank: Floats
    noise_top: Floats
    maps: Floats
    cost: Cost


def saliency_shift(model: Victim, x: Tensor, x_adv: Tensor, noise: Tensor, kind: str, *, points: int = POINTS) -> Shift:
    """Maps of pictures, of attacked and of noisy ones, and how they compare; arguments and errors as of `saliency_maps`."""
    started = time.perf_counter()
    maps = np.stack([saliency_maps(model, one, kind, points=points) for one in (x, x_adv, noise)])
    passes = points if kind == "integrated" else 1
    return Shift(
        kind,
        rank_correlations(maps[0], maps[1]),
        top_overlaps(maps[0], maps[1]),
        rank_correlations(maps[0], maps[2]),
        top_overlaps(maps[0], maps[2]),
        maps,
        Cost(3 * (passes + 1), 3 * passes, time.perf_counter() - started),
    )


def shift_rows(found: Shift, attacked: Row, noise: Row, *, seed: int = 0) -> list[Row]:
    """Rows of one kind of map.

    Args:
        found: what was measured.
        attacked: model, data and attack.
        noise: the same of the control.
        seed: of the bootstrap.

    Returns:
        `saliency-rank[KIND]` and `saliency-top[KIND]` of the attack, then of noise, then `saliency-beyond-noise[KIND]`, the mean
        of noise's rank correlation minus the attack's, picture by picture.
    """
    kind, rows = found.kind, []
    for base, rank, top in ((attacked, found.rank, found.top), (noise, found.noise_rank, found.noise_top)):
        row = found.cost.on(base)
        rows += [mean_row(row, f"saliency-rank[{kind}]", rank, seed=seed)]
        rows += [mean_row(row, f"saliency-top[{kind}]", top, seed=seed)]
    beyond = found.noise_rank - found.rank
    return [*rows, mean_row(found.cost.on(attacked), f"saliency-beyond-noise[{kind}]", beyond, seed=seed)]


@register("saliency", default=False)
def saliency(subject: Subject, *, points: int = POINTS) -> Found:
    """How an attack moves the explanation of a code: saliency maps before and after, beside noise of the same size."""
    ground = subject.ground
    made, base = attacked_by(subject, AttackSpec.read("pgd", eps=subject.eps, steps=subject.steps))
    x_adv = _tensor(made.made.pixels).to(subject.x)
    noise = scattered(subject.x, x_adv, ground.seed)
    control = replace(base, attack={"method": "noise", "preset": "scattered change", "toward": False, "labels": "free"})
    rows: list[Row] = []
    lines: list[Line] = []
    shifts: list[Shift] = []
    for kind in KINDS:
        found = saliency_shift(ground.model, subject.x, x_adv, noise, kind, points=points)
        own = shift_rows(found, base, control, seed=ground.seed)
        rows, shifts = [*rows, *own], [*shifts, found]
        lines += [
            Line(f"map kept, {kind}", "rank correlation of the map before and after PGD", "higher", "share", own[0], found.rank),
            Line(f"map kept, {kind}, noise", "the same after noise of that size", "higher", "share", own[2], found.noise_rank),
            Line(f"top of the map kept, {kind}", "share of its top tenth that stays", "higher", "share", own[1], found.top),
            Line(f"map moved beyond noise, {kind}", "noise's correlation less PGD's", "lower", "share", own[4]),
        ]  # fmt: skip
    return Found(rows, lines, pictures=_sheet(subject, made.made.pixels, noise, shifts))


def _tensor(pixels: Bytes) -> Tensor:
    x = from_bytes(torch.from_numpy(np.ascontiguousarray(pixels)))
    return x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)  # (n, C, H, W)


def _sheet(subject: Subject, attacked: Bytes, noise: Tensor, shifts: list[Shift]) -> list[list[Picture]]:
    """A line a picture: it, its maps, the attacked one, its maps, the noisy one and its first map."""
    clean, noisy = as_pixels(subject.x), as_pixels(noise)
    lines = []
    for i in range(min(SHOWN, len(clean))):
        before = [Picture(_gray(one.maps[0, i]), one.kind) for one in shifts]
        after = [Picture(_gray(one.maps[1, i]), f"{one.kind}, {one.rank[i]:.2f}") for one in shifts]
        last = shifts[0]
        control = [
            Picture(noisy[i], "noise"),
            Picture(_gray(last.maps[2, i]), f"{last.kind}, {last.noise_rank[i]:.2f}"),
        ]
        lines.append([Picture(clean[i], "clean"), *before, Picture(attacked[i], "attacked"), *after, *control])
    return lines


def _gray(map_: Floats) -> Bytes:
    """Sizes of a map as gray levels, the largest hundredth white."""
    size = np.abs(map_)
    most = max(float(np.quantile(size, 0.99)), TINY)
    return np.asarray(np.round(255 * np.clip(size / most, 0, 1)), dtype=np.uint8)
