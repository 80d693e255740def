"""P2P and DHTA: approach the code of one picture, or the vote of nine, that carry exactly the target label.

Paper: J. Bai, B. Chen, Y. Li, D. Wu, W. Guo, S.-T. Xia, E.-H. Yang, "Targeted Attack for Deep Hashing Based Retrieval", ECCV 2020.

`preset="paper"`: 2,000 steps of Euclidean length 1, slope schedule, last iterate. The authors' code clips to 0.032 in normalized
units, which is about 1.8/255 in pixels; give `threat=Linf(1.8 / 255)` for that. `preset="code"` is ProS-GAN's: the raw gradient,
8/255, and votes drawn with replacement; its step of 1 is on the mean over a batch of 32 (`dhta.py`), which is 1/32 on our sum over
pictures. `preset="saat"` is SAAT's port, with which its Table I was made: 2,000 sign steps of 1/255 with the slope schedule, last
iterate, votes drawn with replacement; its radius is 0.032. The default takes 100 sign steps of 1/255 without the schedule and
keeps the best.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.vote import AnchorCode
from hamguard.attacks.losses.inner import inner_product
from hamguard.attacks.methods.registry import register
from hamguard.attacks.search.gradient_descent import GradientSteps
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import Linf, Threat
from hamguard.core.checks import check_choice

CODE_BATCH = 32  # ProS-GAN's dhta.py: the step of 1 is on the mean over so many pictures


@register("dhta", direction="toward")
def dhta(
    *,
    n_anchors: int = 9,
    steps: int | None = None,
    preset: Literal["default", "paper", "code", "saat"] = "default",
    threat: Threat = Linf(8 / 255),
) -> Attack:
    """DHTA: approach the code that nine pictures of the target label vote for.

    Args:
        n_anchors: pictures that vote.
        steps: number of gradients; 100, or 2,000 for the presets.
        preset: `default`; `paper`, which leaves the threat to you (the authors' 0.032 is `Linf(1.8 / 255)` in pixels); `code`; or
            `saat`, which does so, too (`Linf(0.032)`).
        threat: the allowed set.

    Raises:
        RequestError: unknown preset.
    """
    check_choice("preset", preset, ("default", "paper", "code", "saat"))
    guide = AnchorCode(n_anchors, replacement=preset in ("code", "saat"))
    if preset == "default":
        signs = SignSteps(100 if steps is None else steps)
        return Attack(guide, inner_product, signs, threat, toward=True)
    if preset == "saat":
        signs = SignSteps(2000 if steps is None else steps, 1 / 255, alpha="published", keep="last")
        return Attack(guide, inner_product, signs, threat, toward=True)
    search = GradientSteps("normalized", 1.0, 2000 if steps is None else steps, alpha="published", keep="last")
    if preset == "code":
        search = replace(search, rule="raw", rate=1.0 / CODE_BATCH)
    return Attack(guide, inner_product, search, threat, toward=True)


@register("p2p", direction="toward")
def p2p(
    *,
    steps: int | None = None,
    preset: Literal["default", "paper", "code", "saat"] = "default",
    threat: Threat = Linf(8 / 255),
) -> Attack:
    """P2P: approach the code of a single picture of the target label (DHTA with one voter)."""
    return dhta(n_anchors=1, steps=steps, preset=preset, threat=threat)
