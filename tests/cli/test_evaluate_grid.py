"""`hamguard evaluate RECIPE.toml` for grids: the command, its files, and everything that it refuses in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hamguard.cli import common
from hamguard.core.context import Context, ProcessGroup
from hamguard.core.errors import RequestError
from hamguard.core.rows import read_rows
from hamguard.evaluation.study.recipe import read_study
from hamguard.evaluation.study.run import run_study
from hamguard.models.hash_model import HashModel
from hamguard.models.store import save_model
from tests.cli.helpers import Shell, write_arrays
from tests.evaluation.study.grid_recipes import GRID, SHORT, changed, write_recipe

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipes `tiny.toml` (all tables) and `short.toml`."""
    folder = tmp_path_factory.mktemp("command")
    write_recipe(folder, GRID)
    write_recipe(folder, SHORT.replace("eps = 0.2", "eps = 0.2\nsheet = true", 1), "short")
    return folder


@pytest.fixture
def wrong(shell: Shell, place: Path) -> object:
    """Refuses a recipe and gives the line."""

    def refuse(*changes: tuple[str, str], recipe: str = "tiny", words: tuple[object, ...] = ()) -> str:
        path = changed(place / f"{recipe}.toml", *changes, name="wrong")
        return shell.fails(2, "evaluate", path, "--out", place / "nothing", *words)

    return refuse


def test_rows_pictures_page_and_tables(shell: Shell, place: Path) -> None:
    out = place / "first" / "short"
    said = shell.done("evaluate", place / "short.toml", "--out", out)
    rows = read_rows(out / "rows.jsonl")
    clean = next(row for row in rows if not row.attack and row.metric == "map")
    hit = {
        m: next(r for r in rows if r.attack and r.attack["method"] == m and r.metric == "map")
        for m in ("pgd", "mainstay")
    }
    line = next(line for line in said.out.splitlines() if line.startswith("dpsh "))
    for row in (clean, *hit.values()):
        assert f"{row.value:.3f}" in line
    assert f"{out / 'report.html'}  rows: {out / 'rows.jsonl'}" in said.out
    page = (out / "report.html").read_text()
    assert "<title>Short" in page and f"{clean.value:.3f}" in page and "queries before and after" in page
    (picture,) = (out / "pictures").glob("dpsh-pgd-*.png")
    assert Image.open(picture).size[0] > 100
    assert "dpsh: training" in said.err and "dpsh-pgd" in said.err
    cells = out.parent / "cells"
    assert len(list(cells.glob("*.jsonl"))) == 3 and not list((cells / "work").glob("*"))
    again = shell.done("evaluate", place / "short.toml", "--out", out)
    assert re.findall(r"\] (.*)", again.err) == [
        f"{name}: kept" for name in ("dpsh-clean", "dpsh-pgd", "dpsh-mainstay")
    ]
    (cells / picture.name).unlink()
    redrawn = shell.done("evaluate", place / "short.toml", "--out", out)
    assert "] dpsh-pgd\n" in redrawn.err and "] dpsh-mainstay: kept\n" in redrawn.err and picture.is_file()


def test_json_is_the_rows_and_nothing_else(shell: Shell, place: Path) -> None:
    cells, out = place / "first" / "cells", place / "second" / "short"
    said = shell.done("evaluate", place / "short.toml", "--out", out, "--cells", cells, "--json")
    assert said.err == "" and said.rows == [json.loads(row.json()) for row in read_rows(out / "rows.jsonl")]
    assert not (out.parent / "cells").exists()


def test_ctrl_c_keeps_the_finished_cells(shell: Shell, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = place / "third" / "short"
    say = common.say

    def stopping(text: str) -> None:
        if text.endswith("dpsh-pgd"):
            raise KeyboardInterrupt
        say(text)

    monkeypatch.setattr(common, "say", stopping)
    stopped = shell("evaluate", place / "short.toml", "--out", out)
    store = out.parent / "cells"
    assert stopped.code == 130 and stopped.out == ""
    assert stopped.err.splitlines()[-1] == (
        f"hamguard: stopped; {store} keeps the finished cells, and the same command goes on from there"
    )
    assert [path.name.partition("-clean")[0] for path in store.glob("*.jsonl")] == ["dpsh"] and not out.exists()
    monkeypatch.setattr(common, "say", say)
    again = shell.done("evaluate", place / "short.toml", "--out", out)
    assert "dpsh-clean: kept" in again.err and "training" not in again.err


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("[audit]", "[audits]", "unknown key audits; did you mean audit?"),
        ("queries = 10", "querys = 10", "unknown key querys; did you mean queries?"),
        ("epochs = 2", "epoch = 2", "unknown key models.dpsh.epoch; did you mean epochs?"),
        ("bits = 8\n", "bitz = 8\n", "unknown key protections.noise.parties.bitz; did you mean bits?"),
        ("[models.dpsh]", "[models.dpsx]", "table models.dpsx: unknown hash method 'dpsx'; allowed: .* did you mean dpsh?"),
        ("[attacks.dhta]", "[attacks.dhtb]", "table attacks.dhtb: unknown attack 'dhtb'; allowed: .* did you mean dhta?"),
        ("[defenses.saat]", "[defenses.saad]", "table defenses.saad: unknown defense 'saad'; allowed: .* did you mean saat?"),
        ('method = "dpsh"', 'method = "dpss"', "table protections.noise.parties: unknown hash method 'dpss'; allowed: .*"),
        ("set = {", "set = { stepz = 2,", "table defenses.saat: unknown key stepz of saat; did you mean steps?"),
        ("[attacks.pgd]", '[attacks.pgd]\nguide = "mainstey"', "table attacks.pgd: unknown guide 'mainstey'; .* mainstay?"),
        ("[attacks.pgd]", "[attacks.pgd]\nset = { los = 1 }", "table attacks.pgd: pgd has no option 'los'; options: loss; did .*"),
        ("[attacks.dhta]", '[attacks.dhta]\nmodels = "csq"', "attacks.dhta.models names 'csq', which no table .*; there are: dpsh"),
        ("[models.dpsh]", '[models.dpsh]\ndata = "toys"', "models.dpsh.data names 'toys', which no table .*; there are: toy"),
        ("[defenses.saat]", '[defenses.saat]\nmodels = "csq"', "defenses.saat.models names 'csq', .*; there are: dpsh"),
        ("noise]\neps", 'noise]\nmade_on = "x"\neps', "protections.noise.made_on names 'x', which no table is called; .* toy"),
        ('attacks = ["mainstay"]', 'attacks = "nag"', "transfer.attacks names 'nag', .*; there are: pgd, mainstay, dhta"),
        ('"pgd", "mainstay"', '"pgd", "nag"', "compare.attacks names 'nag', .*; there are: pgd, mainstay, dhta"),
        ('"pgd", "mainstay"', '"pgd", "dhta"', "compare.attacks: pgd and dhta share no eps, norm and direction .*"),
        ('"dpsh-8", "dpsh-12"', '"dpsh-8"', "transfer.joint takes lists of at least two models, got .*"),
        ('"dpsh-8", "dpsh-12"', '"dpsh-8", "dpsh"', "unknown model in transfer.joint 'dpsh'; allowed: dpsh-8, dpsh-12.*"),
        ("[models.dpsh]", '[models.dpsh]\nload = "models/x"', "models.dpsh: a model that is loaded .*; leave out .*bits.*"),
        ("[attacks.dhta]", "[attacks.prosgan]", "table attacks.prosgan: prosgan needs table generator"),
        ("[attacks.dhta]", "[attacks.dhta.generator]\n[attacks.dhta]", "table attacks.dhta: dhta takes no table generator"),
        ("[attacks.dhta]", "[attacks.dhta]\ngenerator = { epoch = 1 }", "unknown key attacks.dhta.generator.epoch; .* epochs?"),
        ('eps = ["8/255", 0.2]', "eps = 8", 'attacks.pgd.eps: eps must be in .0, 1., got 8; did you mean "8/255"?'),
        ('eps = ["8/255", 0.2]', "eps = 1.5", "attacks.pgd.eps.* less than or equal to 1, got 1.5"),
        ('eps = ["8/255", 0.2]', 'eps = "much"', "attacks.pgd.eps: eps must be a number such as 0.03 or 8/255, got 'much'"),
        ("queries = 10", "queries = 10\nseeds = []", "seeds: .* at least 1 item.*"),
        ("queries = 10", "queries = 1", "queries: .* 2, got 1"),
        ("queries = 10", 'queries = 10\nmetrics = "mapp"', "unknown metric 'mapp'; allowed: .* did you mean map?"),
        ("[data.toy]", "[data]", "data.source: must be a table, got .*"),
        ("[models.dpsh]", "[models.DPSH]", "models.DPSH: a name is at most 40 of a-z, .*"),
        ('"pgd", "mainstay"]', '"pgd"', ".*is no readable recipe: Unclosed array .*"),
        ('study = "grid"', 'study = "gird"', ".*must be study = one of grid, cross-modal, got 'gird'; did you mean grid?.*"),
        ('study = "grid"', "", ".*is no study: its first line must be study = one of grid, cross-modal, got None.*"),
    ],
)  # fmt: skip
def test_a_wrong_recipe_is_refused_in_one_line(wrong: Shell, place: Path, old: str, new: str, line: str) -> None:
    found = wrong((old, new)).removeprefix("hamguard: ").removeprefix(f"{place / 'wrong.toml'}: ")
    assert re.fullmatch(line.replace("?", r"\?"), found), found
    assert not (place / "nothing").exists() and not (place / "cells").exists()


def test_a_grid_without_models_is_refused(shell: Shell, tmp_path: Path) -> None:
    for name, text, line in (
        ("empty", "[data.toy]\n", "a grid needs at least one table [models.NAME] or [protections.NAME]"),
        ("dataless", "[models.csq]\n", "data: field required"),
    ):
        (tmp_path / f"{name}.toml").write_text(f'study = "grid"\n{text}')
        assert line in shell.fails(2, "evaluate", tmp_path / f"{name}.toml")
    assert "no recipe at" in shell.fails(2, "evaluate", tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--workers", 2), "--workers goes with cross-modal studies; several processes of a grid: torchrun"),
        (("--queries", 5), "--queries: the recipe decides this; edit"),
        (("--seed", 1), "--seed: the recipe decides this; edit"),
        (("--batch-size", 8, "--ties", "stable"), "--ties, --batch-size: the recipe decides this; edit"),
        (("--norm", "hits", "--empty", "skip"), "--norm, --empty: the recipe decides this; edit"),
        (("--metric", "map", "--data", "digits"), "--data, --metric: the recipe decides this; edit"),
        (("--curves", "a.png", "--view", "jpeg:50"), "--view, --curves: the recipe decides this; edit"),
        (("--device", "tpu"), "unknown device 'tpu'; allowed: auto, cpu, cuda, cuda:N"),
    ],
)
def test_options_that_a_recipe_decides_are_refused(
    shell: Shell, place: Path, words: tuple[object, ...], line: str
) -> None:
    assert line in shell.fails(2, "evaluate", place / "tiny.toml", "--out", place / "nothing", *words)


def test_cells_go_with_recipes(shell: Shell, tmp_path: Path) -> None:
    assert "--cells goes with a recipe" in shell.fails(2, "evaluate", "models/x", "--cells", tmp_path)


def test_a_file_in_the_way_is_said(shell: Shell, place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = shell.fails(2, "evaluate", place / "tiny.toml", "--out", tmp_path / "file")
    assert said == f"hamguard: {tmp_path / 'file'} is a file; --out must be a folder"
    said = shell.fails(2, "evaluate", place / "tiny.toml", "--out", tmp_path / "new", "--cells", tmp_path / "file")
    assert said == f"hamguard: {tmp_path / 'file'} is a file; --cells must be a folder"


def test_missing_or_useless_data_are_said_before_any_work(
    shell: Shell, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HAMGUARD_DATA", raising=False)
    named = write_recipe(tmp_path, GRID, source="cifar10")
    root = tmp_path / "root"
    root.mkdir()
    said = shell.fails(2, "evaluate", named, "--out", tmp_path / "out" / "x", "--data-root", root)
    assert "cifar10" in said and str(root) in said and ".npz" in said, said
    none = write_recipe(tmp_path, GRID, source=f"arrays:{tmp_path / 'none.npz'}")
    assert "none.npz" in shell.fails(2, "evaluate", none, "--out", tmp_path / "out" / "x")
    write_arrays(tmp_path / "bare.npz", n=40, classes=2, size=16, labels=np.zeros((40, 2)))
    bare = write_recipe(tmp_path, GRID, source=f"arrays:{tmp_path / 'bare.npz'}")
    said = shell.fails(2, "evaluate", bare, "--out", tmp_path / "out" / "x")
    assert said == "hamguard: table data.toy: bare has no labels, so nothing is relevant; a grid needs them"
    assert not (tmp_path / "out").exists()


def test_models_to_load_are_looked_at_before_any_work(shell: Shell, place: Path, tmp_path: Path) -> None:
    def refuse(load: object, more: str = "") -> str:
        text = SHORT.replace("[attacks.pgd]", f'[models.given]\nload = "{load}"\n[attacks.pgd]') + more
        out = tmp_path / "out" / "x"
        said = shell.fails(2, "evaluate", write_recipe(place, text, "loads"), "--out", out)
        assert not (tmp_path / "out").exists()
        return said.removeprefix("hamguard: ")

    assert refuse(tmp_path / "none").startswith(f"table models.given: no model at {tmp_path / 'none'}")
    net = HashModel("conv2", 8, channels=1, size=(16, 16), mean=[0.5], std=[0.5])
    save_model(HashModel("conv2", 8, channels=1, size=(20, 20), mean=[0.5], std=[0.5]), tmp_path / "large")
    assert "takes pictures of 20x20 pixels, the data have 16x16" in refuse(tmp_path / "large")
    torch.nn.init.constant_(net.head.weight, float("nan"))
    save_model(net, tmp_path / "broken")
    assert refuse(tmp_path / "broken").endswith("model.safetensors holds NaN or infinite weights in head.weight")
    factory = "tests.cli.test_evaluate_grid:foreign"
    assert refuse(factory, "[defenses.saat]\nepochs = 1\n") == (
        f"table defenses.saat: {factory} is no model folder, so it cannot be trained on"
    )


def foreign() -> HashModel:
    """A model of other people."""
    return HashModel("conv2", 8, channels=1, size=(16, 16), mean=[0.5], std=[0.5])


def test_protections_run_in_one_process(place: Path, tmp_path: Path) -> None:
    recipe = read_study(place / "tiny.toml")
    with pytest.raises(RequestError, match="protections run in one process; start them without torchrun"):
        run_study(recipe, tmp_path / "cells", context=Context(process_group=ProcessGroup(0, 2)))
