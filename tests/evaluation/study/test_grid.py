"""A grid: every table gives its rows, finished cells are found again, and what is compared is what the rows say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hamguard.codes.bank import CodeBank
from hamguard.codes.histograms import distance_histograms
from hamguard.core.context import Context
from hamguard.core.digests import digest_array
from hamguard.core.errors import RequestError, StoppedError
from hamguard.core.rows import Row, Rows, read_rows
from hamguard.core.types import Floats
from hamguard.evaluation.attack.measure import Measured, measure_attack
from hamguard.evaluation.per_query import VALUES, Kept, averaged
from hamguard.evaluation.search.curves import LEVELS, curve_rows
from hamguard.evaluation.study import cells as cells_module
from hamguard.evaluation.study import joins
from hamguard.evaluation.study.cells import Cells
from hamguard.evaluation.study.recipe import read_study
from hamguard.evaluation.study.run import StudyResult
from hamguard.evaluation.study.study import Study, trained
from hamguard.models.store import load_any
from hamguard.retrieval.curves import precision_curve, recall_curve
from hamguard.retrieval.intervals import paired_difference
from hamguard.retrieval.metrics import average_precision
from tests.evaluation.study.grid_recipes import GRID, SHORT, changed, plain, run, worked, write_recipe

PLAIN, HARD = ("dpsh-8", "dpsh-12"), ("dpsh-8+saat", "dpsh-12+saat")
Whole = tuple[StudyResult, list[str], Path, Path]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The grid, what it told, its recipe and its cells."""
    folder = tmp_path_factory.mktemp("grid")
    recipe = write_recipe(folder, GRID)
    found, told = run(recipe, folder / "cells")
    return found, told, recipe, folder / "cells"


def asked(found: StudyResult, **want: object) -> list[Row]:
    return [row for row in found.rows if all(getattr(row, key) == value for key, value in want.items())]


def method(row: Row) -> str:
    return str((row.attack or {}).get("method"))


def test_every_table_gives_its_rows(whole: Whole) -> None:
    found, *_ = whole
    assert list(found.clean) == ["dpsh-8", "dpsh-8+saat", "dpsh-12", "dpsh-12+saat"]
    away = ("pgd-0.03137", "pgd-0.2", "mainstay")
    assert set(found.attacked) == {
        *((model, attack) for model in (*PLAIN, *HARD) for attack in away),
        *((model, "dhta") for model in PLAIN),
    }
    for model in (*PLAIN, *HARD):
        rows = asked(found, model=model)
        assert {row.metric for row in rows if not row.attack} >= {"map", "curve-precision"}
        assert {"noise", "ideal-code", "pgd", "mainstay", "audit"} <= {method(row) for row in rows}
        assert all(row.defense is None if model in PLAIN else row.defense for row in rows)
        assert all(row.n == 4 for row in rows if method(row) == "audit" and row.metric == "map")
    assert all(row.n == 10 for row in found.clean.values())
    assert asked(found, metric="random_map")
    makers = {
        (row.model, tuple(row.attack["made_on"])) for row in found.rows if row.attack and row.attack.get("made_on")
    }
    assert makers == {(model, on) for model in PLAIN for on in [(name,) for name in PLAIN] + [PLAIN] if on != (model,)} | {
        (model, (model,)) for model in PLAIN
    }  # fmt: skip
    for share in ("C", "A"):
        searches = [row for row in found.rows if row.train == share and row.metric == "map"]
        assert [row.task for row in searches] == ["C->C", "C->A", "A->C", "A->A"]
        assert all(row.threat == {"norm": "linf", "eps": 0.2} and method(row) == "noise" for row in searches)
    gaps = [
        (row.model, method(row), str((row.attack or {})["versus"])) for row in asked(found, metric="map-difference")
    ]
    assert sorted(gaps) == sorted(
        [(model, "pgd", "mainstay") for model in (*PLAIN, *HARD)]
        + [
            (hard, attack, start)
            for start, hard in zip(PLAIN, HARD, strict=True)
            for attack in ("pgd", "pgd", "mainstay")
        ]
    )
    assert len({row.json() for row in found.rows}) == len(found.rows)


def test_a_second_run_works_nothing_out_again(whole: Whole) -> None:
    found, told, recipe, store = whole
    assert len(worked(told)) == len(told) and sum(text.endswith(": training") for text in told) == 4
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    again, said = run(recipe, store)
    assert [row.json() for row in again.rows] == [row.json() for row in found.rows]  # seconds, too: they were read
    assert said and worked(said) == []
    assert before == {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}


def test_a_sum_of_perturbations_leaves_the_ball_and_its_projection_does_not(whole: Whole) -> None:
    found, *_ = whole
    joint = [row for row in found.rows if (row.attack or {}).get("made_on") == list(PLAIN) and row.metric == "linf"]
    assert len(joint) == 2 * len(PLAIN)
    far = {str((row.attack or {})["combine"]): row.value or 0.0 for row in joint}
    assert far["sum-project"] <= 0.2 + 1e-6 < far["sum"] <= 0.4 + 1e-6


def test_label_free_attacks_are_joined_over_models_of_different_bits(whole: Whole) -> None:
    *_, recipe, store = whole
    other = changed(recipe, ("[attacks.mainstay]", "[attacks.hag]\neps = 0.2\nsteps = 1\n[attacks.mainstay]"))
    other = changed(other, ('attacks = ["mainstay"]', 'attacks = ["hag"]'))
    found, _ = run(other, store)
    joint = Rows(row for row in found.rows if (row.attack or {}).get("made_on") == list(PLAIN)).where(metric="linf")
    assert len(joint) == 2 * len(PLAIN)
    for how in ("sum", "sum-project"):  # every model is asked the same pictures
        assert len({row.value for row in joint if (row.attack or {})["combine"] == how}) == 1


JOINT = """
study = "grid"
queries = 6
[data.toy]
source = "{source}"
[models.dpsh]
bits = [8, 12]
backbone = "conv2"
epochs = 1
batch_size = 16
[attacks.hag]
eps = 0.2
steps = 1
[transfer]
attacks = ["hag"]
joint = [["dpsh-8", "dpsh-12"]]
"""


def test_joint_images_of_an_older_run_give_way_and_other_things_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder has its name from the models and the attack; which queries are attacked may have changed since."""
    recipe, store, measured = write_recipe(tmp_path, JOINT), tmp_path / "cells", []

    def killed_at_the_second(*args: Any, **more: Any) -> Measured:
        if measured:
            raise StoppedError("killed")
        measured.append(measure_attack(*args, **more))
        return measured[0]

    monkeypatch.setattr(joins, "measure_attack", killed_at_the_second)
    with pytest.raises(StoppedError):
        run(recipe, store)
    monkeypatch.undo()
    (folder,) = (store / "work").glob("joint-*")
    assert len(list(folder.glob("*.png"))) == 6
    more = changed(recipe, ("queries = 6", "queries = 5"))
    found, _ = run(more, store)
    joint = Rows(row for row in found.rows if (row.attack or {}).get("made_on") == list(PLAIN)).where(metric="map")
    assert [row.n for row in joint] == [5, 5]
    assert not folder.exists()
    folder.mkdir()
    (folder / "own.txt").write_text("not of hamguard")
    run(more, store)  # everything is kept
    with pytest.raises(RequestError, match="holds no manifest of attacked pictures"):
        run(changed(recipe, ("queries = 6", "queries = 4")), store)
    assert [path.name for path in folder.iterdir()] == ["own.txt"]


def test_a_changed_key_works_out_only_what_depends_on_it(whole: Whole) -> None:
    found, _, recipe, store = whole
    other = changed(recipe, ("[attacks.mainstay]\neps = 0.2\nsteps = 2", "[attacks.mainstay]\neps = 0.2\nsteps = 1"))
    again, told = run(other, store)
    assert worked(told) == [
        *(f"{model}-mainstay" for start in PLAIN for model in (start, f"{start}+saat")),
        "transfer-toy-mainstay",
        *(f"dpsh-8+dpsh-12-{how}-to-{model}-mainstay" for how in ("sum", "sum-project") for model in PLAIN),
    ]
    assert again.attacked["dpsh-8", "pgd-0.2"] == found.attacked["dpsh-8", "pgd-0.2"]
    assert again.attacked["dpsh-8", "mainstay"].threat != found.attacked["dpsh-8", "mainstay"].threat


def test_grids_share_cells(whole: Whole, tmp_path: Path) -> None:
    """Another grid over a model of the same name and request; the second is loaded from the folder of the first."""
    found, _, recipe, store = whole
    plain_ones = [path for path in (store / "models").glob("dpsh-*") if "+" not in path.name]
    folder = next(path for path in plain_ones if load_any(path)[0].bits == 8)
    trained = '[models.dpsh]\nbits = 8\nbackbone = "conv2"\nepochs = 2\nbatch_size = 16'
    assert trained in SHORT
    text = SHORT.replace(trained, '[models.dpsh-8]\nload = "{load}"')
    loaded = write_recipe(recipe.parent, text, "loaded", load=str(folder))
    again, told = run(changed(loaded, ("queries = 10", "queries = 10\ncurves = true")), store)
    assert worked(told) == ["dpsh-8-pgd"]  # the cell of the other grid has eps in its name
    values = [row.value for row in (again.clean["dpsh-8"], again.attacked["dpsh-8", "mainstay"])]
    assert values == [found.clean["dpsh-8"].value, found.attacked["dpsh-8", "mainstay"].value]
    assert again.attacked["dpsh-8", "pgd"].value == found.attacked["dpsh-8", "pgd-0.2"].value


def test_damaged_cells_are_worked_out_again(whole: Whole) -> None:
    found, _, recipe, store = whole
    (cell,) = store.glob("dpsh-8-clean-*.jsonl")
    cell.write_text("")
    (cell,) = store.glob("dpsh-8-mainstay-*.jsonl") if len(list(store.glob("dpsh-8-mainstay-*.jsonl"))) == 1 else [
        path for path in store.glob("dpsh-8-mainstay-*.jsonl") if '"steps": 2' in path.read_text()
    ]  # fmt: skip
    cell.write_bytes(cell.read_bytes()[:-9])
    (cell,) = store.glob("dpsh-12-dhta-*.jsonl")
    cell.write_bytes(b"PK\x03\x04 torn")
    next(store.glob("dpsh-12-pgd-0.2-*.jsonl")).unlink()
    next(store.glob("noise-toy-0.2-dpsh-8-C-*.jsonl")).unlink()
    again, told = run(recipe, store)
    assert worked(told) == [
        "dpsh-8-clean",
        "dpsh-8-mainstay",
        "dpsh-12-pgd-0.2",
        "dpsh-12-dhta",
        "noise-toy-0.2-dpsh-8-C",
    ]
    assert plain(again.rows) == plain(found.rows)


PER_QUERY = {"map", "t-map", "rmse", "linf", "bits-moved", "curve-precision", "curve-precision-at-recall", "random_map"}
"""Some metrics that are means over queries."""


def test_the_figures_of_all_queries_are_kept_beside_the_rows(whole: Whole) -> None:
    found, _, _, store = whole
    kept = Cells(store).kept
    means = [row for row in found.rows if row.metric in PER_QUERY]
    assert {row.metric for row in means} == PER_QUERY and all(VALUES in row.hashes for row in means)
    for row in found.rows:
        each = kept.of(row)
        if VALUES in row.hashes:
            assert each is not None and row.value == pytest.approx(float(np.nanmean(each)), abs=1e-12)
            assert row.n in (len(each), np.count_nonzero(np.isfinite(each)))
        else:  # a ratio, a difference of several runs, a check: no mean over queries
            assert str(row.metric).endswith(("gain", "transfer", "-difference", "check")), row.metric
    assert {path.stem for path in kept.folder.iterdir()} >= {row.hashes[VALUES] for row in means}


@pytest.mark.parametrize("harm", ["gone", "torn", "another"])
def test_cells_whose_figures_of_queries_are_not_theirs_are_worked_out_again(whole: Whole, harm: str) -> None:
    found, _, recipe, store = whole
    row = found.attacked["dpsh-8", "dhta"]
    place = Cells(store).kept.path(row.hashes[VALUES])
    before = place.read_bytes()
    if harm == "gone":
        place.unlink()
    else:
        place.write_bytes(before[:-3] if harm == "torn" else before[:-8] + bytes(8))
    again, told = run(recipe, store)
    assert worked(told) == ["dpsh-8-dhta"]
    assert plain(again.rows) == plain(found.rows) and place.read_bytes() == before


def test_a_cell_without_figures_of_queries_is_no_cell_of_a_study(tmp_path: Path) -> None:
    """As an older version left them; and the figures are written for whoever asks for them alone."""
    row = averaged(Row(metric="map"), np.array([0.5, 1.0, np.nan]), seed=0)
    assert (row.value, row.n, row.hashes) == (0.75, 2, {})
    Cells(tmp_path, per_query=False).rows("one", 1, lambda: [averaged(Row(), np.array([0.5, 1.0]), seed=0)])
    assert not (tmp_path / "values").exists()
    (now,) = Cells(tmp_path).rows("one", 1, lambda: [averaged(Row(), np.array([0.25, np.nan]), seed=0)])
    each = Cells(tmp_path).kept.of(now)
    assert now.value == 0.25 and each is not None and np.array_equal(each, [0.25, np.nan], equal_nan=True)
    (kept,) = Cells(tmp_path, per_query=False).rows("one", 1, lambda: [Row(value=9.0)])
    assert kept == now


def test_no_damage_of_kept_figures_is_read(tmp_path: Path) -> None:
    rng, kept = np.random.default_rng(0), Kept(tmp_path)
    each = rng.random(12)
    digest = digest_array(each)
    kept.write({digest: each})
    whole = kept.path(digest).read_bytes()
    read = kept.read(digest)
    assert read is not None and np.array_equal(read, each)
    for _ in range(400):
        torn = bytearray(whole)
        if rng.random() < 0.5:
            torn[rng.integers(len(torn))] ^= int(rng.integers(1, 256))
        else:
            del torn[rng.integers(len(torn)) :]
        kept.path(digest).write_bytes(torn)
        found = kept.read(digest)
        assert found is None or np.array_equal(found, each)  # a changed blank of the header says the same
    kept.path(digest).write_bytes(whole.replace(b"(12,)", b"(9e9,)"[:5]))
    assert kept.read(digest) is None and kept.read("0" * 16) is None
    kept.path(digest).unlink()
    kept.path(digest).mkdir()
    assert kept.read(digest) is None


def test_another_version_works_cells_out_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = Cells(tmp_path)
    assert cells.rows("one", 1, lambda: [Row(value=1.0)])[0].value == 1.0
    assert cells.rows("one", 1, lambda: [Row(value=2.0)])[0].value == 1.0
    monkeypatch.setattr(cells_module, "__version__", "99.0")
    assert cells.rows("one", 1, lambda: [Row(value=3.0)])[0].value == 3.0


def test_differences_are_those_of_the_rows(whole: Whole) -> None:
    found, _, _, store = whole

    def values(model: str, attack: str) -> Floats:
        each = Cells(store).kept.of(found.attacked[model, attack])
        assert each is not None
        return each

    pairs = [
        (("dpsh-8", "pgd-0.2"), ("dpsh-8", "mainstay")),
        (("dpsh-12+saat", "pgd-0.03137"), ("dpsh-12", "pgd-0.03137")),
    ]
    for first, second in pairs:
        one, other = found.attacked[first], found.attacked[second]
        versus = second[1] if first[0] == second[0] else second[0]
        (row,) = [
            row for row in asked(found, metric="map-difference", model=first[0], threat=one.threat)
            if method(row) == "pgd" and (row.attack or {})["versus"] == versus
        ]  # fmt: skip
        assert one.value is not None and other.value is not None
        assert row.value == pytest.approx(one.value - other.value, abs=1e-12)
        gap = paired_difference(values(*first), values(*second), seed=0)
        assert (row.value, row.ci95, row.n) == (gap.value, (gap.low, gap.high), 10)
        assert row.seconds is None and row.forwards is None and "paired bootstrap" in row.notes[-1]


def test_the_first_metric_decides_comparisons(whole: Whole) -> None:
    _, _, recipe, store = whole
    text = SHORT + '[compare]\nattacks = [["pgd", "mainstay"]]\n'
    other = write_recipe(
        recipe.parent, text.replace("queries = 10", 'queries = 10\nmetrics = ["precision@5", "map"]'), "first"
    )
    found, _ = run(other, store)
    one, two = (found.attacked["dpsh", name] for name in ("pgd", "mainstay"))
    assert (one.metric, one.at, found.clean["dpsh"].metric) == ("precision", 5, "precision")
    (row,) = [row for row in found.rows if (row.metric or "").endswith("-difference")]
    assert row.metric == "precision-difference" and row.at == 5
    assert row.value == pytest.approx((one.value or 0) - (two.value or 0), abs=1e-12)


def test_figures_are_counted_as_the_recipe_says(whole: Whole) -> None:
    _, _, recipe, store = whole
    text = SHORT.replace("queries = 10", 'queries = 10\nmetrics = ["map@5"]\nties = "stable"\nnorm = "hits"')
    found, _ = run(write_recipe(recipe.parent, text, "hits"), store)
    row = found.attacked["dpsh", "pgd"]
    assert (row.metric, row.at, row.ties) == ("map[ties=stable,norm=hits]", 5, "stable")
    assert 0 < (row.value or 0) < 1
    with pytest.raises(RequestError, match="expected ties at 5 with norm 'hits' have no defined value"):
        run(write_recipe(recipe.parent, text.replace('ties = "stable"\n', ""), "undefined"), store)


def random_banks() -> tuple[CodeBank, CodeBank]:
    rng = np.random.default_rng(3)
    made = []
    for count in (9, 70):
        codes, labels = rng.choice([-1, 1], (count, 16)), np.eye(3, dtype=np.uint8)[rng.integers(0, 3, count)]
        made.append(CodeBank.of(codes, labels, ids=np.arange(count).astype(str)))
    return made[0], made[1]


def test_points_of_curves_are_those_of_the_curves() -> None:
    query, database = random_banks()
    rows = curve_rows(query, database, Row(model="a", ci95=(0.1, 0.2), seconds=3.0))
    table = distance_histograms(query, database)
    recall = [row for row in rows if row.metric == "curve-precision-at-recall"]
    assert [row.at for row in recall] == list(LEVELS)
    line = recall_curve(table, [at / 100 for at in LEVELS])
    assert [row.value for row in recall] == pytest.approx(line.precision.tolist(), abs=1e-12)
    first = [row for row in rows if row.metric == "curve-precision"]
    numbers = [row.at or 0 for row in first]
    assert numbers[0] == 1 and numbers[-1] == 70 and numbers == sorted(set(numbers))
    assert [row.value for row in first] == pytest.approx(precision_curve(table, numbers).tolist(), abs=1e-12)
    assert {(row.ci95, row.seconds, row.n, row.task, row.model) for row in rows} == {
        (None, None, 9, "query->database", "a")
    }


def test_curves_and_figures_toward_a_target_are_of_the_target_labels(whole: Whole) -> None:
    found, _, recipe, store = whole
    study = Study(read_study(recipe), Cells(store))
    cell, attack = study.plan.models[0], next(one for one in study.plan.attacks if one.name == "dhta")
    ground = trained(study, cell)
    made = measure_attack(ground, attack.spec, context=Context(work=store / "work"))
    assert made.targets is not None
    toward = replace(made.sides.attacked, labels=made.targets.labels)
    rows = [row for row in asked(found, model="dpsh-8", metric="curve-precision") if method(row) == "dhta"]
    numbers = [row.at or 0 for row in rows]
    want = precision_curve(distance_histograms(toward, ground.database), numbers)
    own = precision_curve(distance_histograms(made.sides.attacked, ground.database), numbers)
    assert [row.value for row in rows] == pytest.approx(want.tolist(), abs=1e-12)
    assert np.abs(want - own).max() > 0.05
    kept = Cells(store).kept.of(found.attacked["dpsh-8", "dhta"])
    assert kept is not None
    np.testing.assert_allclose(kept, average_precision(toward, ground.database), rtol=0, atol=1e-12)
    assert found.attacked["dpsh-8", "dhta"].metric == "t-map"
    assert found.attacked["dpsh-8", "dhta"].value == pytest.approx(float(kept.mean()))


def test_cells_hold_what_the_rows_say(whole: Whole) -> None:
    """But for the names of those who search protected pictures, which are those of their cells and not of their folders."""
    found, _, _, store = whole

    def bare(row: Row) -> str:
        return replace(row, seconds=None, model=None if row.train in ("C", "A") else row.model).json()

    kept = {bare(row) for path in store.glob("*.jsonl") for row in read_rows(path)}
    derived = [row for row in found.rows if bare(row) not in kept]
    assert derived and all((row.metric or "").endswith("-difference") for row in derived)
    names = {row.model for row in found.rows if row.task == "A->A"}
    assert names == {"noise-toy-0.2-dpsh-8-C", "noise-toy-0.2-dpsh-8-A"}


def test_each_model_has_its_own_generator(whole: Whole) -> None:
    """Trained once a model, found again, and part of what decides the cells of the attack and of its transfer."""
    _, _, recipe, store = whole
    text = GRID[: GRID.index("[attacks.pgd]")].replace("curves = true", "") + (
        "[attacks.prosgan]\neps = 0.2\n[attacks.prosgan.generator]\nepochs = 1\n"
        'set = {{ budget = "hard", eps = 0.2, width = 8, prototype_steps = 3 }}\n[transfer]\nattacks = "prosgan"\n'
    )
    path = write_recipe(recipe.parent, text, "generators")
    found, told = run(path, store)
    trained = [f"{model}: training the generator of prosgan" for model in PLAIN]
    assert [text for text in told if "training" in text] == trained and "transfer-toy-prosgan" in told
    assert all(row.metric == "t-map" for row in found.attacked.values()) and len(found.attacked) == 2
    again, told = run(path, store)
    assert worked(told) == [] and [row.json() for row in again.rows] == [row.json() for row in found.rows]
    beside = path.with_name("beside.toml")
    beside.write_text(path.read_text().partition("[transfer]")[0] + "[attacks.dhta]\nsteps = 2\nrmse_of = 'prosgan'\n")
    found, told = run(beside, store)
    assert worked(told) == [f"{model}-dhta" for model in PLAIN], "the generators are there already"
    row = found.attacked[PLAIN[0], "dhta"]
    assert any(note.startswith("eps ") and "as the generator does" in note for note in row.notes)
    _, told = run(beside, store)
    assert worked(told) == []
    other = changed(path, ("prototype_steps = 3", "prototype_steps = 4"), name="steps")
    _, told = run(other, store)
    assert worked(told)[-1] == "transfer-toy-prosgan" and len([text for text in told if "training" in text]) == 2
