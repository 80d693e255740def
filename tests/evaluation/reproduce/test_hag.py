"""HAG's judges on rows made by hand: where everything is as the slides say, and where one thing is not."""

from __future__ import annotations

from typing import Any

from hamguard.core.rows import Row
from hamguard.evaluation.reproduce.experiment import EXPERIMENTS, Comparison
from hamguard.evaluation.reproduce.hag import CONTROL, OUR_RULE, PRINTED_RULE, SUM
from tests.evaluation.reproduce.planted import found, planted


def run(value: float, steps: int, bits: int = 16, **more: Any) -> list[Row]:
    own = {"bits": bits, "dataset": "fashion-products", **more}
    return [planted(0.7, **own), planted(value, method="hag", threat={"steps": steps}, **own)]


def verdicts(judged: Comparison) -> list[str]:
    return [one.verdict for one in judged.relations]


def test_hag_falls_with_iterations_and_sign_steps_stand_beside() -> None:
    raw = {("dph-16", f"hag-{steps}"): run(value, steps) for steps, value in ((100, 0.3), (10, 0.6), (1000, 0.2))}
    cells = {**raw, ("dph-16", "signs-10"): run(0.4, 10), ("dph-16", "signs-100"): run(0.25, 100)}
    judged = EXPERIMENTS["hag-iterations"].judge(found([], cells), "small")
    printed = [line.published for line in judged.lines if line.block == PRINTED_RULE]
    assert printed == [0.928, 0.8969, 0.5535, 0.1611]
    ours = [line.ours.value for line in judged.lines if line.block == OUR_RULE and line.ours]
    assert [round(value, 6) for value in ours] == [0.4, 0.25]
    assert verdicts(judged) == ["holds", "holds"] and [one.kind for one in judged.relations] == ["claim", "ours"]
    raw["dph-16", "hag-1000"] = run(0.4, 1000)
    assert verdicts(EXPERIMENTS["hag-iterations"].judge(found([], raw), "small"))[0] == "does not hold"


def test_the_schedule_must_lower_every_code_length() -> None:
    def cells(without: float) -> dict[tuple[str, str], list[Row]]:
        return {
            (f"dph-{bits}-seed{seed}", name): run(value, 200, bits, model=f"dph-{bits}-seed{seed}", seed=seed)
            for bits, least in ((16, 0.4), (32, without))
            for seed in (0, 1, 2)
            for name, value in (("hag", 0.2), ("plain", least), ("signs", 0.1))
        }

    judged = EXPERIMENTS["hag-ablation"].judge(found([], cells(0.3)), "small")
    assert [line.published for line in judged.lines] == [0.1657, 0.3004, 0.1164, 0.1963]
    assert all(line.ours and line.ours.seeds == (0, 1, 2) for line in judged.lines)
    assert verdicts(judged) == ["holds"]
    assert verdicts(EXPERIMENTS["hag-ablation"].judge(found([], cells(0.15)), "small")) == ["does not hold"]
    lengths = EXPERIMENTS["hag-bits"].judge(found([], cells(0.15)), "small")
    assert verdicts(lengths) == ["holds", "holds"] and len(lengths.lines) == 6


FOUR = ("vgg16-32", "vgg16-64", "vgg19-32", "vgg19-64")
UNSEEN = "hashnet-32"


def transfer(four_added: float) -> Comparison:
    made: list[tuple[tuple[str, ...], str | None, float]] = [((name,), None, 0.6) for name in (*FOUR, UNSEEN)]
    made += [
        (FOUR[:2], "sum", 0.5),
        (FOUR, "sum", four_added),
        (FOUR[:2], "sum-project", 0.59),
        (FOUR, "sum-project", 0.61),
    ]
    rows = [planted(0.7, model=name) for name in (*FOUR, UNSEEN)]
    for sources, how, value in made:
        facts = {"made_on": list(sources), "combine": how}
        for model in (*FOUR, UNSEEN):
            at = 0.1 if model in sources else 0.3 if model in FOUR else value
            rows.append(planted(at, method="hag", model=model, facts=facts))
            rows.append(planted(0.12, "linf", method="hag", model=model, facts=facts))
    return EXPERIMENTS["hag-transfer"].judge(found(rows), "paper")


def test_added_perturbations_transfer_the_better_and_the_equal_budget_stands_beside() -> None:
    judged = transfer(0.4)
    printed = {line.setting: line.published for line in judged.lines if line.block == SUM}
    assert printed[f"made on {' + '.join(FOUR)}, asked of {UNSEEN}, MAP"] == 0.6252
    assert all(line.published is None for line in judged.lines if line.block == CONTROL)
    far = [line for line in judged.lines if line.setting.endswith("largest change x 255")]
    assert [line.block for line in far] == [SUM, SUM, CONTROL, CONTROL]
    assert verdicts(judged) == ["holds", "holds", "holds", "does not hold"]
    assert [one.kind for one in judged.relations] == ["claim", "claim", "claim", "ours"]
    assert verdicts(transfer(0.55))[2] == "does not hold"


def test_examples_are_for_a_person_to_judge() -> None:
    own = [
        planted(0.7),
        planted(0.2, method="hag"),
        planted(0.05, "rmse", method="hag"),
        planted(0.9, "ssim", method="hag"),
    ]
    judged = EXPERIMENTS["hag-examples"].judge(found([], {("dph", "hag"): own, ("dph", "signs"): own}), "small")
    assert verdicts(judged) == ["not testable"]
    moved = [line for line in judged.lines if line.setting == "dph, attacked, RMSE x 100"]
    assert [line.block for line in moved] == [PRINTED_RULE, OUR_RULE]
    assert moved[0].ours is not None and round(moved[0].ours.value, 6) == 5
