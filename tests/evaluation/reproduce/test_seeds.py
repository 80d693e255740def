"""A study of two seeds, run: whatever it measures, what both seeds have in common is one figure under one name."""

from __future__ import annotations

import numpy as np
import pytest

from hamguard.evaluation.reproduce.found import Found
from hamguard.evaluation.study.cells import Cells
from tests.evaluation.study.grid_recipes import run, write_recipe

TRAIN = 'backbone = "conv2"\nepochs = 1\nbatch_size = 32\n'
RECIPE = (
    'study = "grid"\nseeds = [0, 1]\nqueries = 8\ncurves = true\n[data.toy]\nsource = "{source}"\n'
    f"[models.dpsh]\nbits = [8, 12]\n{TRAIN}[models.adsh]\nbits = 8\n{TRAIN}"
    '[attacks.hag]\neps = 0.2\nsteps = 1\nmodels = ["dpsh"]\n[attacks.prosgan]\neps = "own"\nmodels = ["adsh"]\ndefended = false\n'
    "[attacks.prosgan.generator]\nepochs = 1\nset = {{ width = 8, prototype_steps = 1 }}\n"
    '[defenses.control]\nepochs = 1\nmodels = ["dpsh"]\n[transfer]\nattacks = ["hag"]\n'
    "[protections.noise]\neps = 0.2\n"
    f'[protections.noise.parties]\nmethod = "dpsh"\nbits = 8\n{TRAIN}'
    "[protections.ppl]\neps = 0.2\nepochs = 1\n"
    f'[protections.ppl.parties]\nmethod = ["dpsh", "adsh"]\nbits = 8\nshare = [0.0, 0.5]\n{TRAIN}'
)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("seeds")
    found, _ = run(write_recipe(folder, RECIPE), folder / "cells")
    return Found(found.rows, found.cells, Cells(folder / "cells").kept.of)


def test_every_figure_has_both_seeds(both: Found) -> None:
    figures = both.all()
    alone = {str(one.row.metric) for one in figures if one.seeds != (0, 1)}
    assert alone <= {"transfer", "gain", "t-gain"}  # ratios, which one of the seeds may not have
    assert len(figures) > 100
    names = {str(one.row.model) for one in figures}
    assert names >= {"dpsh-8", "dpsh-12", "dpsh-8+control", "adsh", "random codes"} and not any(
        "seed" in name for name in names
    )
    assert both.models == ["dpsh-8", "dpsh-8+control", "dpsh-12", "dpsh-12+control", "adsh"]


def test_what_queries_had_is_there_for_means_over_seeds(both: Found) -> None:
    attacked = both.of("dpsh-8", "hag").one(attack="hag", metric="map")
    clean = both.of("dpsh-8", "hag").one(attack=None, metric="map")
    assert attacked and clean and attacked.values is not None and attacked.values.shape == (2, 8)
    assert np.mean(attacked.values) == pytest.approx(attacked.value)
    relation = both.above("", [(clean, attacked)])
    assert "no values" not in relation.figures and relation.verdict in (
        "holds",
        "within the intervals",
        "does not hold",
    )
    moved = both.one(attack="hag", metric="map", made_on=["dpsh-12"], model="dpsh-8")
    assert moved and moved.seeds == (0, 1) and moved.values is not None
    for method in ("dpsh", "adsh"):
        inside = both.one(attack="ppl", metric="map", task="A->A", train="0.5 A", method=method)
        assert inside and inside.seeds == (0, 1) and inside.values is not None
    generated = both.curves("adsh", "prosgan", "prosgan")
    assert all(one.seeds == (0, 1) and one.values is not None for one in generated.values()) and len(generated) == 2
