"""Slope of the relaxation over the run: the published remedy against vanishing gradients."""

from __future__ import annotations

PUBLISHED = (0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
"""HAG, DHTA, ProS-GAN code: ten equal parts of the run (SAAT stretches the same list over any number of steps)."""


def slope(schedule: str, step: int, steps: int) -> float:
    """`alpha` of a step: `constant` is 1, `published` the list above stretched over `steps`.

    >>> [slope("published", n, 2000) for n in (0, 999, 1000, 1999)]
    [0.1, 0.1, 0.2, 1.0]
    """
    return PUBLISHED[step * len(PUBLISHED) // steps] if schedule == "published" else 1.0
