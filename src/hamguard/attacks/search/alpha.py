"""Slope of the relaxation over the run: the published remedy against vanishing gradients, and one that rises further."""

from __future__ import annotations

PUBLISHED = (0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
"""HAG, DHTA, ProS-GAN code: ten equal parts of the run (SAAT stretches the same list over any number of steps)."""

RISING = ((70, 4.0), (41, 2.0), (22, 1.0), (0, 0.3))
"""Percent of the run from which a slope holds. At 0.3 saturated bits get a gradient; beyond 1 the bits near zero get most of it,
those that a step can still turn. Ours, chosen on validation pictures of four models; the percents are checkpoints of APGD."""

SCHEDULES = ("constant", "published", "rising")


def slope(schedule: str, step: int, steps: int) -> float:
    """`alpha` of a step: `constant` is 1, `published` and `rising` are the lists above stretched over `steps`.

    >>> [slope("published", n, 2000) for n in (0, 999, 1000, 1999)]
    [0.1, 0.1, 0.2, 1.0]
    >>> [slope("rising", n, 10) for n in range(10)]
    [0.3, 0.3, 0.3, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0, 4.0]
    """
    if schedule == "rising":
        return next(alpha for percent, alpha in RISING if 100 * step >= percent * steps)
    return PUBLISHED[step * len(PUBLISHED) // steps] if schedule == "published" else 1.0
