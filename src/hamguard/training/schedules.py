"""Learning-rate schedules as functions of progress, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math

WARM_SHARE = 0.3  # rising part of the one-cycle policy (Smith and Topin, 2018), torch's default
STEPS = (1 / 3, 2 / 3)  # the published recipes divide by ten every third of the run
LATE_STEPS = (1 / 2, 3 / 4)  # those of adversarial training, at the half and at three quarters


def factor(schedule: str, progress: float) -> float:
    """Learning rate divided by its peak at `progress` in [0, 1).

    >>> factor("cosine", 0.0), round(factor("cosine", 0.5), 3), factor("step", 0.5)
    (1.0, 0.5, 0.1)
    >>> factor("half-linear", 0.5), factor("half-linear", 0.75)
    (1.0, 0.5)
    >>> factor("linear", 0.25)
    0.75
    >>> [round(factor("late-step", p), 3) for p in (0.4, 0.5, 0.8)]
    [1.0, 0.1, 0.01]
    """
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if schedule == "one-cycle":
        if progress < WARM_SHARE:
            return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * progress / WARM_SHARE))
        return 0.5 * (1 + math.cos(math.pi * (progress - WARM_SHARE) / (1 - WARM_SHARE)))
    if schedule == "step":
        return float(0.1 ** sum(progress >= s for s in STEPS))
    if schedule == "late-step":
        return float(0.1 ** sum(progress >= s for s in LATE_STEPS))
    if schedule == "half-linear":  # constant, then to zero; the published schedule of ProS-GAN and of many GANs
        return min(1.0, 2 * (1 - progress))
    if schedule == "linear":  # to zero, as DCMH's port
        return 1 - progress
    return 1.0
