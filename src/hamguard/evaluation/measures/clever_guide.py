"""CLEVER of class codes: how far an image is from coming nearer to another class than to its own (H.5; see `extreme`)."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hamguard.attacks.attack import clean_code
from hamguard.attacks.guides.vote import vote
from hamguard.attacks.types import Victim
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import relax
from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.core.types import Array
from hamguard.evaluation.measures.extreme import (
    QUICK,
    STANDARD,
    Clever,
    Draws,
    Sampling,
    clever_lines,
    clever_rows,
    constants,
    scored,
)
from hamguard.evaluation.measures.gradients import Outputs, blocks
from hamguard.evaluation.measures.registry import Found, Line, Subject, register
from hamguard.evaluation.measures.rows import Cost, noted, picture_numbers


def guide_clever(
    model: Victim,
    x: Tensor,
    own: Tensor,
    rivals: Tensor,
    sampling: Sampling = STANDARD,
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
    constant, fit = constants(outputs, x, sampling, numbers)
    passes = sampling.batches * sampling.points
    cost = Cost(passes + 2, passes * rivals.shape[1], time.perf_counter() - started)
    return scored(torch.cat(margin).double().cpu().numpy(), constant, fit, sampling, f"guide, {relaxation}", cost)


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


@register("clever-guide", labeled=True, default=False, read={"draws": Draws.read})
def clever_guide(subject: Subject, *, draws: Draws = QUICK) -> Found:
    """CLEVER of class codes: estimated lower bound of the budget that leads nearer to another class; not among the defaults."""
    ground = subject.ground
    own, rivals = rival_codes(ground.reference, ground.query.labels)
    own, rivals = own.to(subject.x), rivals.to(subject.x)
    rows: list[Row] = []
    lines: list[Line] = []
    for relaxation, what in (("tanh", " of guides, tanh"), ("none", " of guides, logits")):
        found = guide_clever(ground.model, subject.x, own, rivals, draws.sampling(subject), relaxation=relaxation)
        rows += clever_rows(found, noted(subject.base, draws.note), seed=ground.seed)
        lines += clever_lines(found, rows, {"nearest class": 1}, what)
    return Found(rows, lines)
