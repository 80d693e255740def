"""Each paper's judge on rows made by hand, where everything is as the paper says, and where one thing is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hamguard.core.rows import Row
from hamguard.evaluation.reproduce.experiment import EXPERIMENTS, Comparison
from hamguard.evaluation.reproduce.found import Found


def row(value: float, metric: str = "map", method: str | None = None, **more: Any) -> Row:
    attack = None if method is None else {"method": method, **more.pop("facts", {})}
    given = {"value": value, "metric": metric, "attack": attack, "ci95": (value - 0.001, value + 0.001), "n": 5, **more}
    return replace(Row(), **given)


def moved(one: Row, value: float, **more: Any) -> Row:
    return replace(one, value=value, ci95=(value - 0.001, value + 0.001), **more)


def verdicts(judged: Comparison) -> list[str]:
    return [one.verdict for one in judged.relations]


def four(
    train: str, values: tuple[float, float, float, float], method: str = "dsdh", bits: int = 16, **more: Any
) -> list[Row]:
    tasks = ("C->C", "C->A", "A->C", "A->A")
    own = {"dataset": "fashion-mnist", "method": method, "bits": bits, "train": train, "backbone": "conv2", **more}
    facts = {"threat": {"eps": 0.3}}
    return [
        replace(row(value, method="ppl"), task=task, **facts, **own) for task, value in zip(tasks, values, strict=True)
    ]


def test_ppl_table_beside_its_figures() -> None:
    rows = [*four("C", (0.8, 0.2, 0.2, 0.3)), *four("A", (0.3, 0.2, 0.2, 0.7))]
    rows += [moved(one, 0.75, attack={"method": "noise"}) for one in four("C", (0.8, 0.2, 0.2, 0.3))]
    judged = EXPERIMENTS["ppl-table1"].judge(Found(rows), "small")
    assert len(judged.lines) == 8 and all(line.published is not None for line in judged.lines)
    first = judged.lines[0]
    assert first.setting == "fashion-mnist, DSDH, 16 bits, trained on C, C->C" and first.published == 0.6978
    assert verdicts(judged) == ["holds"] * 4
    broken = [*four("C", (0.8, 0.9, 0.2, 0.3)), *rows[4:]]
    assert verdicts(EXPERIMENTS["ppl-table1"].judge(Found(broken), "small"))[0] == "does not hold"


def test_ppl_judges_every_data_set_of_its_table() -> None:
    """What breaks on the second or third data set is said; only the first one was looked at."""
    rows = []
    for data, clean in (("fashion-mnist", 0.8), ("cifar10", 0.25), ("imagenet-13", 0.8)):
        rows += four("C", (clean, 0.3, 0.3, 0.3), dataset=data) + four("A", (0.3, 0.2, 0.2, 0.7), dataset=data)
    judged = EXPERIMENTS["ppl-table1"].judge(Found(rows), "paper")
    assert len(judged.lines) == 24 and all(line.published is not None for line in judged.lines)
    claims = {one.claim: one.verdict for one in judged.relations}
    clean = "Models trained on clean pictures fail on all searches with protected ones"
    assert [claims[f"{clean}: {data}"] for data in ("Fashion-MNIST", "CIFAR-10", "imagenet-13")] == [
        "holds", "does not hold", "holds",
    ]  # fmt: skip
    assert len(claims) == 9


def test_ppl_shows_adsh_with_both_kinds_of_database_codes() -> None:
    rows = [*four("C", (0.8, 0.2, 0.3, 0.25), "adsh"), *four("A", (0.3, 0.25, 0.2, 0.7), "adsh")]
    clean, hidden = rows[0], rows[4]
    rows += [moved(clean, 0.9, task="C->learned"), moved(clean, 0.31, task="A->learned")]
    rows += [moved(hidden, 0.28, task="C->learned"), moved(hidden, 0.88, task="A->learned")]
    judged = EXPERIMENTS["ppl-table1-fashion"].judge(Found(rows), "paper")
    lines = [
        (line.setting.partition("trained on ")[2], line.ours) for line in judged.lines if "own codes" in line.block
    ]
    own = [(where, figure.value) for where, figure in lines if figure]
    assert own == [("C, C->C", 0.9), ("C, A->C", 0.31), ("A, C->A", 0.28), ("A, A->A", 0.88)]
    assert len(judged.lines) == 12 and all(line.published is not None for line in judged.lines)
    assert "0.05 of ours: 1 (10 of 12" in judged.why and "; 3 (10 of 12" in judged.why
    assert [one.kind for one in judged.relations] == ["claim", "claim", "claim", "ours"]
    assert set(verdicts(judged)) == {"holds"}


def test_ppl_figures() -> None:
    mixed = four("0.6 A", (0.78, 0.77, 0.76, 0.75))
    rows = [*four("C", (0.8, 0.2, 0.2, 0.3)), *mixed]
    assert verdicts(EXPERIMENTS["ppl-fig5"].judge(Found(rows), "small")) == ["holds"]
    low = [moved(one, 0.4) if one.task == "A->A" else one for one in rows]
    assert verdicts(EXPERIMENTS["ppl-fig5"].judge(Found(low), "small")) == ["does not hold"]
    sweep = [
        replace(one, threat={"eps": eps})
        for eps, share in ((0.1, 0.7), (0.3, 0.4), (0.5, 0.2))
        for one in [*four("C", (0.8, share, share, 0.3)), *four("A", (0.3, 0.2, 0.2, 0.7))]
    ]
    assert verdicts(EXPERIMENTS["ppl-fig6"].judge(Found(sweep), "small")) == ["holds"] * 3


def cell(attack: str, value: float, ideal: float, clean: float = 0.15, rmse: float = 0.02, **more: Any) -> list[Row]:
    own = {"bits": 32, "model": "dpsh", "dataset": "fashion-products", "seconds": 1.0, **more}
    return [
        row(0.7, **own), row(clean, "t-map", **own), row(clean, "t-map", "noise", **own),
        row(ideal, "t-map", "ideal-code", **own), row(value, "t-map", attack, **own), row(rmse, "rmse", attack, **own),
    ]  # fmt: skip


def test_prosgan_table_names_what_is_printed() -> None:
    cells = {
        ("dpsh", "p2p"): cell("p2p", 0.2, 0.3), ("dpsh", "dhta"): cell("dhta", 0.3, 0.4),
        ("dpsh", "prosgan"): cell("prosgan", 0.4, 0.5, rmse=0.07),
    }  # fmt: skip
    judged = EXPERIMENTS["prosgan-table1"].judge(Found([], cells), "small")
    lines = {line.setting: line for line in judged.lines}
    assert lines["dpsh, 32 bits, DHTA, t-MAP"].published == 0.7565
    prototype = lines["dpsh, 32 bits, Prototype code, t-MAP"]
    assert prototype.ours is not None and prototype.ours.value == 0.5 and prototype.published == 0.8134
    assert verdicts(judged) == ["holds", "holds", "holds", "holds", "does not hold"]  # its RMSE is above DHTA's
