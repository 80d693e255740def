"""Noise: the control that every attack must beat (ProS-GAN, CVPR 2021, uniform noise at 8/255)."""

from __future__ import annotations

from hamguard.attacks.attack import Attack
from hamguard.attacks.methods.registry import register
from hamguard.attacks.search.noise import RandomNoise
from hamguard.attacks.threat import Linf, Threat


@register("noise", direction="none")
def noise(*, threat: Threat = Linf(8 / 255), full: bool = False) -> Attack:
    """Uniform noise in the ball, the control of every table.

    Args:
        threat: the allowed set.
        full: every value moves by the whole eps.
    """
    return Attack(search=RandomNoise(full=full), threat=threat)
