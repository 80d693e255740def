"""A study of cross-modal models: its recipe, its cells, what a kill costs, and what is told of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hamguard.api.sheets import draw_attack
from hamguard.attacks.methods.cmla import cmla, cmla_text
from hamguard.core.context import Context
from hamguard.core.errors import RequestError, StoppedError
from hamguard.core.rows import Row
from hamguard.evaluation.attack.measure import measure_attack
from hamguard.evaluation.attack.spec import AttackSpec
from hamguard.evaluation.study import run as study_run
from hamguard.evaluation.study.cells import Cells
from hamguard.evaluation.study.cross_recipe import CrossRecipe
from hamguard.evaluation.study.joins import joined
from hamguard.evaluation.study.model_cells import model_chain
from hamguard.evaluation.study.plan import ModelCell, expand
from hamguard.evaluation.study.recipe import read_study
from hamguard.evaluation.study.study import Study, trained
from hamguard.report.cross_modal import cross_report, draw_cross, write_cross_page
from hamguard.report.cross_tables import Figures, tradeoff_points
from hamguard.trainers.job import DataSection
from tests.training.processes import SERVER, server_pid

pytestmark = pytest.mark.xdist_group("processes")  # where the server is, and so that the whole study is run once

COLORS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}
RECIPE = """
study = "cross-modal"
title = "Tiny & quick"
seed = 3
queries = 12
curves = true
[data]
source = "{source}"
[models.dcmh]
bits = 8
epochs = 2
set = {{ words = 20, least = 2 }}
[models.ssah]
bits = 8
epochs = 20
set = {{ features = 32, text_width = 32, label_width = 32, words = 20, least = 2, text_net = "mlp", batch_size = 15 }}
[attack]
steps = [2, 4]
published_steps = [1, 2]
published_defended_steps = [2]
text_eps = [0.2]
[words]
edits = [1]
[tradeoff]
weights = [0, 2]
steps = 2
queries = 6
[guided]
methods = ["mainstay", "dhta"]
steps = 2
[defenses]
epochs = 1
set = {{ attack_steps = 2, steps = 1 }}
"""


def write_pairs(path: Path, n: int = 120, size: int = 16) -> Path:
    """Pictures of one or two colored halves, whose names are in the text."""
    rng = np.random.default_rng(0)
    names = list(COLORS)
    images = rng.integers(100, 140, (n, size, size, 3)).astype(np.uint8)
    labels, texts = np.zeros((n, 3), np.uint8), []
    for i in range(n):
        pair = rng.choice(3, 2)
        for half, color in enumerate(pair):
            images[i, half * size // 2 : (half + 1) * size // 2] = COLORS[names[color]]
            labels[i, color] = 1
        texts.append(f"a {names[pair[0]]} square, a {names[pair[1]]} thing {rng.integers(0, 4)}")
    np.savez(path, images=images, labels=labels, texts=np.array(texts), class_names=np.array(names))
    return path


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    source = f"arrays:{write_pairs(folder / 'pairs.npz')}"
    path = folder / "tiny.toml"
    path.write_text(RECIPE.format(source=source))
    return path


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the processes of a study have, with which these runs are compared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def opened(recipe: Path | CrossRecipe, store: Path, told: list[str] | None = None, **more: Any) -> Study:
    """A study in this process that keeps its cells in a folder."""
    asked = recipe if isinstance(recipe, CrossRecipe) else read_study(recipe)
    return Study(asked, Cells(store, Context(**{"tell": [].append if told is None else told.append, **more})))


def all_rows(study: Study) -> list[Row]:
    """The rows of both chains, and of the transfer between them."""
    chains = [model_chain(study, cell) for cell in study.plan.models]
    grounds = [(cell, ground) for cell, (_, ground) in zip(study.plan.models, chains, strict=True)]
    return [*(row for rows, _ in chains for row in rows), *joined(study, grounds)]


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, list[Row], list[str]]:
    """A study run in this process from beginning to end."""
    told: list[str] = []
    study = opened(recipe, tmp_path_factory.mktemp("whole"), told)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the processes of a study have
    rows = all_rows(study)
    torch.set_num_threads(threads)
    return study, rows, told


def plain(rows: list[Row]) -> list[dict[str, Any]]:
    """Rows without what a clock decides."""
    return [{key: value for key, value in json.loads(row.json()).items() if key != "seconds"} for row in rows]


def test_a_study_has_every_figure_of_its_recipe(whole: tuple[Study, list[Row], list[str]]) -> None:
    _, rows, _ = whole
    asked = Figures(rows)
    for name in ("dcmh", "ssah"):
        for task in ("image->text", "text->image", "image->image", "text->text"):
            assert asked.value(name, task) is not None
            for kind in ("control", "static", "minmax"):
                assert asked.value(f"{name}-{kind}", task) is not None
        for side, across in (("image", "image->text"), ("text", "text->image")):
            for mark in (2, 4):
                assert asked.value(name, across, method="cmla", steps=mark) is not None
                assert asked.value(name, side, "D", method="cmla", steps=mark) is not None
            assert [point[0] for point in tradeoff_points(asked, name, side)] == [0.0, 2.0]
        assert asked.value(name, "text->image", method="cmla-words") is not None
        assert asked.value(name, "image->text", method="mainstay") is not None
        assert asked.value(name, "image->text", "t-map", method="dhta") is not None
    assert asked.value("ssah", "image->text", method="cmla", made_on="dcmh") is not None
    for side, across in (("image", "image->text"), ("text", "text->image")):
        for name, marks in (("dcmh", (1, 2)), ("dcmh-static", (2,)), ("dcmh-control", (2,))):
            own = asked.where(model=name, task=across, metric="map", attack="cmla", one_sided=True)
            assert [(row.threat or {})["steps"] for row in own] == list(marks)
            assert asked.value(name, side, "D", method="cmla", one_sided=True, steps=2) is not None
    assert all(row.n == 12 for row in rows if row.metric == "map" and not any("trade" in note for note in row.notes))


def test_curves_of_both_forms_are_kept_as_points(whole: tuple[Study, list[Row], list[str]]) -> None:
    points = Figures(whole[1]).where(metric="curve-precision")
    for name in ("dcmh", "dcmh-static", "dcmh-control"):
        for task in ("image->text", "text->image"):
            own = points.where(model=name, task=task)
            forms = [
                (one.attack["method"], bool((one.threat or {})["one_sided"])) if one.attack else None for one in own
            ]
            assert set(forms) == {None, ("cmla", False), ("cmla", True)}
            clean = [one.value for one in own if not one.attack]
            assert len(clean) > 3 and all(0 <= (value or 0) <= 1 for value in clean)


def test_a_sheet_shows_images_and_texts_before_and_after(
    whole: tuple[Study, list[Row], list[str]], tmp_path: Path
) -> None:
    study, _, _ = whole
    cell = study.plan.models[0]
    ground = trained(study, cell)
    for make in (cmla, cmla_text):
        spec = AttackSpec(make(steps=1, preset="paper"), across=True)
        found = measure_attack(ground, spec, context=study.watching())
        path = tmp_path / f"{spec.modality}.png"
        draw_attack(path, ground, found)
        assert path.stat().st_size > 10_000 and path.read_bytes().startswith(b"\x89PNG")


def spelled_out(text: str, tmp_path: Path) -> list[ModelCell]:
    """The models of a recipe."""
    path = tmp_path / "asked.toml"
    path.write_text(text)
    return list(expand(read_study(path)).models)


LISTS = """
study = "cross-modal"
seeds = [0, 4]
[data.photos]
source = "fashion-products"
[data.drawn]
source = "scenes"
size = 48
split_seed = 5
drop_duplicates = true
[models.dcmh]
bits = [16, 64]
backbone = "alexnet"
weights = "torchvision"
[models.ssah]
data = "drawn"
bits = 32
[defenses]
models = "ssah"
methods = ["control", "static"]
set = { attack_steps = 7, static = { form = "paper" } }
"""


def test_a_recipe_takes_lists_of_data_bits_and_seeds_a_backbone_and_its_weights(tmp_path: Path) -> None:
    cells = spelled_out(LISTS, tmp_path)
    assert [cell.name for cell in cells if cell.seed == 4] == [
        "dcmh-photos-16-seed4", "dcmh-photos-64-seed4", "dcmh-drawn-16-seed4", "dcmh-drawn-64-seed4", "ssah-seed4",
    ]  # fmt: skip
    assert len(cells) == 10
    for cell in cells:
        assert cell.request and cell.request.model and cell.request.seed == cell.seed
        net, own = cell.request.model, cell.table == "dcmh"
        assert (net.backbone, net.weights) == (("alexnet", "torchvision") if own else (None, None))
        assert cell.request.data.source == {"photos": "fashion-products", "drawn": "scenes"}[cell.data]
        assert str(net.bits) in cell.name or net.bits == 32
    hard = [one for cell in cells for one in cell.defenses]
    assert [one.name for one in hard] == [
        "ssah-seed0-control", "ssah-seed0-static", "ssah-seed4-control", "ssah-seed4-static",
    ]  # fmt: skip
    assert [one.request.parsed.form for one in hard] == ["default", "paper"] * 2
    assert all(one.request.settings["attack_steps"] == 7 for one in hard)
    assert [one.request.seed for one in hard] == [0, 0, 4, 4]
    asked = {cell.data: cell.request.data for cell in cells if cell.request}
    assert (asked["drawn"].size, asked["drawn"].split_seed, asked["drawn"].drop_duplicates) == (48, 5, True)
    assert asked["photos"] == DataSection(source="fashion-products")
    assert all(one.request.data == asked["drawn"] for one in hard), "a defense learns from what its model learned from"


def test_a_recipe_of_one_seed_and_one_table_of_data_is_what_it_was(tmp_path: Path) -> None:
    text = 'study = "cross-modal"\nseed = 3\n[data]\nsource = "scenes"\n[models.dcmh]\n[models.ssah]\nbits = 16\n'
    cells = spelled_out(text, tmp_path)
    assert [(cell.name, cell.data, cell.seed) for cell in cells] == [("dcmh", "", 3), ("ssah", "", 3)]
    assert [cell.request.model.bits for cell in cells if cell.request and cell.request.model] == [32, 16]


def test_finished_cells_are_not_worked_out_again(whole: tuple[Study, list[Row], list[str]]) -> None:
    study, rows, _ = whole
    told: list[str] = []
    found = all_rows(opened(study.recipe, study.store, told))
    assert [row.json() for row in found] == [row.json() for row in rows]  # seconds, too: they were read
    assert told and all(text.endswith(": kept") for text in told), told


def test_a_stopped_study_goes_on_with_the_same_figures(
    whole: tuple[Study, list[Row], list[str]], tmp_path: Path
) -> None:
    study, rows, told = whole
    cells = [text for text in told if text.startswith("dcmh") and "-to-" not in text]
    for stop in (cells[2], cells[-1]):

        def stopping(text: str, stop: str = stop) -> None:
            if text == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            model_chain(opened(study.recipe, tmp_path, tell=stopping), study.plan.models[0])
    found = model_chain(opened(study.recipe, tmp_path), study.plan.models[0])[0]
    assert plain(found) == plain(rows[: len(found)])  # the chain of dcmh came first


def test_a_damaged_cell_is_worked_out_again(tmp_path: Path) -> None:
    cells = Cells(tmp_path)
    made = [Row(metric="map", value=1.0)]
    assert cells.rows("one", {"a": 1}, lambda: made) == made
    cells.path("one", {"a": 1}).write_text("torn")
    assert cells.rows("one", {"a": 1}, lambda: [Row(metric="map", value=2.0)])[0].value == 2.0
    assert cells.rows("one", {"a": 2}, lambda: [Row(metric="map", value=3.0)])[0].value == 3.0


def test_nothing_is_begun_for_a_process_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(StoppedError, match="is gone"):
        Cells(tmp_path, parent=1 << 30).rows("one", 0, lambda: [])


@pytest.mark.slow
def test_processes_give_the_same_rows(
    recipe: Path, whole: tuple[Study, list[Row], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes, one a model, write what one process found. Their parent is the server that has read torch."""
    told: list[str] = []
    monkeypatch.setattr(study_run, "multiprocessing", SimpleNamespace(get_context=lambda kind: SERVER))
    monkeypatch.setattr(study_run, "os", SimpleNamespace(getpid=server_pid, cpu_count=lambda: 2))
    found = study_run.run_study(read_study(recipe), tmp_path / "two", context=Context(tell=told.append))
    assert plain(found.rows) == plain(whole[1])
    assert "ssah: training" in told and "dcmh: training" in told
    assert found.curves == whole[0].found.curves and found.attacked.keys() == whole[0].found.queries.keys()


def test_page_and_pictures_stand_alone(whole: tuple[Study, list[Row], list[str]], tmp_path: Path) -> None:
    study, rows, _ = whole
    report = cross_report(rows, title=study.recipe.title, models=["dcmh", "ssah"])
    assert {
        f"{name} {what}" for name in ("dcmh", "ssah") for what in ("clean", "attacked image", "attacked text")
    } <= set(study.found.curves)
    pictures = draw_cross(report, study.found.curves, tmp_path)
    write_cross_page(report, pictures, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "Tiny &amp; quick" in page and "http" not in page.replace("http-equiv", "")
    assert page.count("data:image/png;base64,") == len(pictures) == 4
    value = Figures(rows).value("dcmh", "image->text")
    assert any(f"{value:.3f}" in cell for table in report.tables for line in table.texts for cell in line)
    titles = [table.title for table in report.tables]
    assert [title.split(":")[0].split(" ")[0] for title in titles] == [
        "Clean", "CMLA", "CMLA", "CMLA", "CMLA", "Whole", "Trade-off", "Attacks", "Defenses", "Transfer",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("study = ", "kind = "), "is no study"),
        (("queries = 12", "queries = 1"), "queries: input should be greater"),
        (("[models.dcmh]", "[models.dcmx]"), "unknown cross-modal method 'dcmx'.*did you mean dcmh"),
        (("text_eps = [0.2]", "text_eps = [8]"), "text_eps"),
        (('methods = ["mainstay", "dhta"]', "methodz = []"), "unknown key guided.methodz; did you mean methods"),
        (("queries = 12", "querys = 12"), "unknown key querys; did you mean queries"),
        (("words = 20", "wordz = 20"), "unknown key wordz.*did you mean words"),
        (("attack_steps = 2", "attack_stepz = 2"), "unknown key attack_stepz.*did you mean attack_steps"),
        (("seed = 3", "seed = "), "no readable recipe"),
        (("[data]\nsource", "[data]\nsourze"), "unknown key data.sourze; did you mean source"),
        (("[data]\nsource", "[data.a]\nsourze"), "unknown key data.a.sourze"),
        (
            ("[models.dcmh]", '[models.dcmh]\ndata = "other"'),
            "models.dcmh.data names 'other', which no table is called",
        ),
        (
            ("[defenses]", '[defenses]\nmodels = "dcmhh"'),
            "defenses.models names 'dcmhh', which no table is called",
        ),
    ],
)
def test_wrong_recipes_say_what_is_wrong(recipe: Path, tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = tmp_path / "wrong.toml"
    text = recipe.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change, 1))
    with pytest.raises(RequestError, match=message):
        expand(read_study(path))


def test_shipped_recipes_are_sound() -> None:
    for name in ("cmla-small", "cmla-scenes"):
        found = read_study(Path(__file__).parents[3] / "recipes" / f"{name}.toml")
        assert isinstance(found, CrossRecipe) and found.defenses and found.tradeoff
        plan = expand(found)
        assert [cell.name for cell in plan.models] == ["dcmh", "ssah"]
        assert [one.name for one in plan.models[0].defenses] == ["dcmh-control", "dcmh-static", "dcmh-minmax"]
        assert [one.name for one in plan.attacks] == ["hag", "mainstay"]


def test_a_file_in_the_way_is_said(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(RequestError, match="is a file"):
        study_run.run_study(read_study(recipe), tmp_path / "out")


def test_data_without_labels_are_said_before_any_work(recipe: Path, tmp_path: Path) -> None:
    with np.load(recipe.parent / "pairs.npz") as held:
        np.savez(tmp_path / "bare.npz", **{**held, "labels": np.zeros_like(held["labels"])})
    bare = tmp_path / "bare.toml"
    bare.write_text(RECIPE.format(source=f"arrays:{tmp_path / 'bare.npz'}"))
    with pytest.raises(RequestError, match="table data: bare has no labels, so nothing is relevant"):
        study_run.run_study(read_study(bare), tmp_path / "out")
    assert not (tmp_path / "out").exists()
