"""Whether the controls are in order: chance below the clean figure, noise above the attacked one."""

from __future__ import annotations

from hamguard.evaluation.audit.checks.check import SLACK, Case, Check, judged, register
from hamguard.evaluation.originals import scores
from hamguard.evaluation.search.score import random_bank


@register("controls")
def controls_are_in_order(case: Case) -> Check:
    """Random codes find less than clean pictures, and noise of that size does less harm than the attack; figure: the excess."""
    ground = case.bench.ground
    chance = scores(random_bank(ground.query, ground.seed), random_bank(ground.database, ground.seed + 1))
    noise = scores(ground.noisy(case.bench.threat), ground.database)
    blind, noisy = case.note("random codes", float(chance.mean())), case.note("noise", float(noise.mean()))
    clean, own = float(case.bench.clean.mean()), case.map()
    said = f"{case.word} of {clean:.3f} clean, {blind:.3f} with random codes, {noisy:.3f} under noise, {own:.3f} under attack"
    excess = max(0.0, blind - clean, own - noisy)
    return judged(
        "controls", excess, SLACK, said, "the search is no better than chance, or the attack no better than noise"
    )
