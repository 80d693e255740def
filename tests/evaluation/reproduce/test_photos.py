"""The forms on photos: each recipe runs to its verdicts on a few drawn pictures, small nets in the place of the networks."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hamguard as hg
from hamguard.core.errors import HamguardError
from hamguard.data.registry import SOURCES
from hamguard.evaluation.reproduce.experiment import EXPERIMENTS
from hamguard.evaluation.reproduce.run import recipe_of
from tests.cli.helpers import InThisProcess, few_photos
from tests.evaluation.reproduce.planted import found, planted

PHOTOS = [name for name, one in EXPERIMENTS.items() if "photos" in one.scales]
NETWORKS = {"efficientnet_lite0": "conv2", "mobilenet_v2_tf": "dsh", "squeezenet1_0": "conv2"}


def small(recipe: Path, path: Path) -> Path:
    """The recipe with least numbers and nets that learn from nothing; every table stays."""
    text = recipe.read_text(encoding="utf-8").replace('weights = "pretrained"\n', "")
    for name, net in NETWORKS.items():
        text = text.replace(f'backbone = "{name}"', f'backbone = "{net}"')
    text = text.replace("lr = 1e-3,", "width = 8, prototype_steps = 5,")
    text = re.sub(r"(bits = .*)\nset = { freeze = true }", r"\1\nepochs = 1", text)
    for key, value in {"size": "32", "queries": "6", "epochs": "1"}.items():
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.M)
    text = re.sub(r"^steps = \d+$", "steps = 2", text, flags=re.M)
    text = re.sub(r"^((?:\w+_)?steps) = \[\d.*\]$", r"\1 = [1, 2]", text, flags=re.M)
    text = text.replace("attack_steps = 20", "attack_steps = 2")
    path.write_text(re.sub(r"epochs = \d+, batch", "epochs = 1, batch", text), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", PHOTOS)
def test_every_form_on_photos_runs_to_its_verdicts(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small(recipe_of(EXPERIMENTS[name], "photos"), tmp_path / "small.toml")
    monkeypatch.setitem(SOURCES._entries, "coco18", few_photos(tmp_path / "few.npz"))
    monkeypatch.setattr("hamguard.evaluation.study.run.ProcessPoolExecutor", InThisProcess)
    monkeypatch.setattr("hamguard.evaluation.reproduce.run.recipe_of", lambda experiment, scale: recipe)
    done = hg.reproduce(name, scale="photos", out=tmp_path / "run")
    assert done is not None and done.judged.relations
    for relation in done.judged.relations:
        if "@1000" not in relation.claim:  # so many are not searched here
            assert relation.verdict != "not testable" or "person" in relation.figures, relation
    missing = [line.setting for line in done.judged.lines if line.ours is None]
    assert not missing
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "On photos: 8,000 MS-COCO photos" in page


@pytest.mark.parametrize("name", PHOTOS)
def test_recipes_on_photos_are_of_coco18_and_published_radii(name: str) -> None:
    text = recipe_of(EXPERIMENTS[name], "photos").read_text(encoding="utf-8")
    recipe: dict[str, Any] = tomllib.loads(text)
    source = {"source": "coco18", "size": 112}
    if recipe["study"] == "grid":
        radii = {attack.get("eps") for attack in recipe["attacks"].values()}
        assert radii <= {"8/255", "1/255", "own", None} and "8/255" in radii
        assert recipe["data"] == {"coco18": source}
    else:
        assert recipe["attack"].get("eps", "10/255") == "10/255" and recipe["data"] == source
    assert all(model["set"]["freeze"] for model in recipe["models"].values())
    assert f"hamguard reproduce {name}" in text or f"(and {name})" in text
    assert EXPERIMENTS[name].minutes_at("photos") > 0


def test_photos_that_are_not_here_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(HamguardError, match=r"photos/coco18\.npz") as caught:
        hg.reproduce("hag-examples", scale="photos", out=tmp_path / "run", root=tmp_path)
    assert "\n" not in str(caught.value)


def test_printed_figures_of_coco_stand_beside_its_photos() -> None:
    more = {"dataset": "coco18", "bits": 32}
    rows = [planted(0.7, "map", **more), planted(0.3, "map", "hag", threat={"steps": 100}, **more)]
    judged = EXPERIMENTS["hag-iterations"].judge(found([], {("dph", "hag-100"): rows}), "photos")
    assert [line.published for line in judged.lines] == [0.7365, 0.4451]
    others = [replace(row, dataset="fashion-products") for row in rows]
    judged = EXPERIMENTS["hag-iterations"].judge(found([], {("dph", "hag-100"): others}), "small")
    assert [line.published for line in judged.lines] == [0.9281, 0.5221]  # of FLICKR-25K


def test_raw_steps_are_named_as_they_were_run() -> None:
    more = {"dataset": "coco18", "bits": 32, "model": "dpsh"}
    rows = [planted(0.5, "t-map", "dhta", threat={"steps": 500}, **more), planted(0.01, "rmse", "dhta", **more)]
    judged = EXPERIMENTS["prosgan-table2"].judge(found([], {("dpsh", "dhta"): rows}), "photos")
    assert any(line.setting == "dpsh, DHTA (500 iter), t-MAP" and line.published == 0.6322 for line in judged.lines)
    assert any("500 raw steps" in one.claim for one in judged.relations)
    assert not any("2,000" in one.claim for one in judged.relations)
