"""SAAT's judges on planted rows, and what its own printed cells say of its sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from hamguard.core.rows import Row
from hamguard.evaluation.reproduce.experiment import EXPERIMENTS, Comparison
from hamguard.evaluation.reproduce.published import published
from hamguard.evaluation.reproduce.saat import HITS, LESS
from tests.evaluation.reproduce.planted import found, planted

OWN: Mapping[str, Any] = {"bits": 32, "dataset": "fashion-products"}


def cell(attack: str, value: float, clean: float = 0.7, **more: Any) -> list[Row]:
    return [planted(clean, **OWN, **more), planted(value, method=attack, **OWN, **more)]


def said(judged: Comparison) -> dict[str, tuple[str, str]]:
    return {one.claim: (one.verdict, one.kind) for one in judged.relations}


def attacked(start: float, control: float, saat: float, atrdh: float) -> Comparison:
    """Table II with one figure under every attack for each training."""
    values = {"dph": start, "dph+control": control, "dph+saat": saat, "dph+atrdh": atrdh}
    names = ("hag", "sdha", "mainstay")
    cells = {(model, name): cell(name, value) for model, value in values.items() for name in names}
    return EXPERIMENTS["saat-table2"].judge(found([], cells), "small")


def test_a_defense_is_judged_beside_its_control() -> None:
    good = said(attacked(0.2, 0.2, 0.5, 0.4))
    assert good["SAAT's training raises the MAP under every attack"] == ("holds", "claim")
    assert good["ATRDH's training raises the MAP under every attack"] == ("holds", "claim")
    assert good["SAAT's training holds more than ATRDH's under every attack"] == ("holds", "contradicted")
    worse = said(attacked(0.2, 0.6, 0.5, 0.4))  # more training alone raises it more
    assert worse["SAAT's training raises the MAP under every attack"][0] == "does not hold"
    assert worse["SAAT's training holds more than ATRDH's under every attack"][0] == "does not hold"


def test_the_control_has_no_printed_figure() -> None:
    lines = {line.setting: line.published for line in attacked(0.2, 0.2, 0.5, 0.4).lines}
    assert lines["dph, 32 bits, saat, HAG, MAP"] == 0.4376 and lines["dph, 32 bits, none, HAG, MAP"] == 0.2168
    assert lines["dph, 32 bits, control, HAG, MAP"] is None and lines["dph, 32 bits, control, clean MAP"] is None


def printed(table: str, name: str, metric: str = "MAP@5000", train: str = "") -> dict[tuple[str, int], float]:
    return {
        (one.dataset, one.bits): one.value
        for one in published()
        if one.source.startswith("SAAT") and (one.table, one.method) == (table, name)
        and one.metric == metric and one.train.startswith(train)
    }  # fmt: skip


def test_sentences_that_the_printed_cells_contradict_are_no_claims() -> None:
    saat, atrdh = (printed("Table II", "Original", train=name) for name in ("SAAT", "ATRDH"))
    assert len(saat) == 12 and sum(saat[key] <= atrdh[key] for key in saat) == 8
    for attack in ("HAG", "SDHA", "SAAT attack"):
        ours, theirs = (printed("Table II", attack, train=name) for name in ("SAAT", "ATRDH"))
        assert [key for key in ours if ours[key] <= theirs[key]] == [("FLICKR-25K", 16)]
    own, other = (printed("Table I", name, metric="t-MAP@5000") for name in ("SAAT attack", "ProS-GAN"))
    assert [key for key in own if own[key] <= other[key]] == [("NUS-WIDE", 16), ("NUS-WIDE", 32)]
    kinds = {claim: kind for claim, (_, kind) in said(attacked(0.2, 0.2, 0.5, 0.4)).items()}
    assert kinds["SAAT's training keeps more clean MAP than ATRDH's"] == "contradicted"


def test_the_other_orders_of_the_attacks_are_in_every_printed_cell() -> None:
    own = printed("Table I", "SAAT attack")
    for name in ("HAG", "SDHA"):
        assert len(own) == 12 and all(value > own[key] for key, value in printed("Table I", name).items())
    toward = printed("Table I", "SAAT attack", "t-MAP@5000")
    for name in ("P2P", "DHTA", "THA"):
        assert all(value < toward[key] for key, value in printed("Table I", name, "t-MAP@5000").items())


def test_attacks_of_half_the_radius_stand_in_a_block_of_their_own() -> None:
    away = {"hag": 0.4, "sdha": 0.3, "mainstay": 0.2}
    toward = {"p2p": 0.2, "dhta": 0.3, "prosgan": 0.5, "tha": 0.3, "saat": 0.4}
    cells = {("dph", name): cell(name, value) for name, value in away.items()}
    for name, value in toward.items():
        method = "mainstay" if name == "saat" else name
        cells["dph", name] = [planted(0.1, "t-map", **OWN), planted(value, "t-map", method, **OWN)]
    cells |= {("dph", f"{name}-half"): cell(name, value) for name, value in zip(away, (0.4, 0.5, 0.45), strict=True)}
    judged = EXPERIMENTS["saat-table1"].judge(found([], cells), "small")
    half = {line.setting: line.published for line in judged.lines if line.block == LESS["half"]}
    assert list(half.values()) == [None] * 3 and len(judged.lines) == 12
    verdicts = said(judged)
    assert verdicts["SAAT's attack leaves less MAP than HAG"] == ("holds", "claim")
    assert verdicts["SAAT's attack reaches more t-MAP than THA"] == ("holds", "claim")
    assert verdicts["SAAT's attack reaches more t-MAP than ProS-GAN"] == ("does not hold", "contradicted")
    assert verdicts["SAAT's attack leaves less MAP than HAG at half the radius"] == ("does not hold", "ours")
    assert verdicts["SAAT's attack leaves less MAP than SDHA at half the radius"] == ("holds", "ours")


def test_the_reason_names_floor_and_chance() -> None:
    rows = [*cell("mainstay", 0.2), planted(0.17, method="ideal-code", **OWN), planted(0.28, "random_map", **OWN)]
    judged = EXPERIMENTS["saat-table1"].judge(found([], {("dph", "mainstay"): rows}), "small")
    assert "random codes reach a MAP of 0.28," in judged.why and judged.why.endswith("has a MAP of 0.17")
    assert not EXPERIMENTS["saat-table1"].judge(found([], {("dph", "mainstay"): rows}), "paper").why


def test_figures_are_those_at_5000_over_the_hits_where_that_was_measured() -> None:
    at = {"metric": "map" + HITS, "at": 5000}
    rows = [*cell("hag", 0.2), planted(0.9, **OWN, **at), planted(0.3, method="hag", **OWN, **at)]
    judged = EXPERIMENTS["saat-table1"].judge(found([], {("dph", "hag"): rows}), "paper")
    values = {line.setting.rpartition("bits, ")[2]: line.ours and line.ours.value for line in judged.lines}
    assert values["clean MAP"] == pytest.approx(0.9) and values["HAG, MAP"] == pytest.approx(0.3)


def test_examples_are_judged_by_their_first_five_answers() -> None:
    five = {"metric": "precision", "at": 5, **OWN}
    target = {**five, "metric": "t-precision"}
    cells = {
        ("dph", "mainstay"): [planted(0.7, **five), planted(0.1, method="mainstay", **five)],
        ("dph", "saat"): [
            planted(0.7, **five), planted(0.1, **target),
            planted(0.6, method="mainstay", **target), planted(0.2, method="mainstay", **five),
        ],
    }  # fmt: skip
    judged = EXPERIMENTS["saat-fig5"].judge(found([], cells), "small")
    assert [one.verdict for one in judged.relations] == ["holds", "holds", "not testable"]
    assert [round(line.ours.value, 3) for line in judged.lines if line.ours] == [0.7, 0.1, 0.1, 0.6]


def test_weights_are_read_from_the_models_and_vary_one_at_a_time() -> None:
    def hardened(lam: float, mu: float, value: float) -> list[Row]:
        defense = {"method": "saat", "settings": {"lam": lam, "mu": mu}}
        return cell("mainstay", value, clean=0.7 - lam / 10, defense=defense)

    models = {"dph": cell("mainstay", 0.2), "dph+control": cell("mainstay", 0.2, defense={"method": "control"})}
    models |= {
        "dph+saat": hardened(1.0, 1e-4, 0.4),
        "dph+low": hardened(0.0, 1e-4, 0.2),
        "dph+high": hardened(2.0, 1e-4, 0.5),
    }
    models |= {"dph+mu": hardened(1.0, 1.0, 0.4)}
    cells = {}
    for model, (clean, one) in models.items():
        for name in ("hag", "sdha", "mainstay"):
            cells[model, name] = [
                clean,
                Row(**{**{key: getattr(one, key) for key in Row.__slots__}, "attack": {"method": name}}),
            ]
    judged = EXPERIMENTS["saat-weights"].judge(found([], cells), "small")
    words = [line.setting for line in judged.lines if line.setting.endswith("clean MAP")]
    assert words == [
        "dph, lambda = 0, clean MAP", "dph, lambda = 1, clean MAP", "dph, lambda = 2, clean MAP",
        "dph, mu = 0.0001, clean MAP", "dph, mu = 1, clean MAP",
    ]  # fmt: skip
    assert [one.verdict for one in judged.relations] == ["holds"] * 3 and {one.kind for one in judged.relations} == {
        "ours"
    }
