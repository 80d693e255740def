"""Whether the relaxation hides gradients: raw logits beside relaxed codes, flatter slopes beside the plain one."""

from __future__ import annotations

from hamguard.evaluation.audit.checks.check import RAW, Case, Check, judged, register
from hamguard.evaluation.audit.plan import Cell

HIDDEN = 0.1
"""By how much another relaxation may be stronger than the plain one before that counts as blind."""

SLOPES = (0.1, 0.2, 0.5, 1.0)
"""Slopes of the relaxation; below 1 saturated outputs have a gradient again."""


@register("raw-logits")
def logits_no_stronger(case: Case) -> Check:
    """Score under the center guide (without labels the own code) with relaxed codes less that with raw logits, on plain outputs.

    Fails above 0.1: raw logits see what tanh hides.
    """
    plain = {"gradients": "plain", "turn": 0}
    relaxed, raw = (
        float(case.ap(cell=case.bench.blind(Cell("center", loss)), **plain).mean()) for loss in ("inner", "logarithm")
    )
    said = f"{case.word} under one attack on outputs as they are: {relaxed:.3f} with relaxed codes, {raw:.3f} with raw logits"
    return judged("raw-logits", max(0.0, relaxed - raw), HIDDEN, said, "relaxed codes hide what raw logits show")


@register("slopes")
def slopes_agree(case: Case) -> Check:
    """Flatter relaxations and raw logits are not far stronger than slope 1; figure: by how much the strongest is.

    Training with a quantization term pushes outputs to where tanh is flat, and plain attacks then stand still.
    """
    maps = {f"slope {alpha:g}": case.map(alpha=alpha) for alpha in SLOPES}
    maps["raw logits"] = case.map(alpha=RAW)
    plain, worst = maps[f"slope {SLOPES[-1]:g}"], min(maps.values())
    said = f"{case.word} of {', '.join(f'{value:.3f} with {name}' for name, value in maps.items())}"
    return judged("slopes", plain - worst, HIDDEN, said, "saturated outputs hide gradients; quote the worst slope")
