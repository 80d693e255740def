"""`hamguard audit`: worst case, checks, verdict, resume, the query-only stage, and what it says to wrong requests."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hamguard.core.errors import StoppedError
from hamguard.evaluation.audit import audit as audit_module
from hamguard.evaluation.audit import bench as bench_module
from hamguard.evaluation.audit.checks.battery import AUDIT
from hamguard.evaluation.audit.plan import BATTERY
from hamguard.images.io import decode
from tests.cli.conftest import World
from tests.cli.helpers import Shell, write_arrays, write_pictures

SMALL = ("--eps", "0.1", "--queries", "16", "--steps", "4", "--answers", "12", "--sample", "6", "--batch-size", "5")
BARE = (*SMALL, "--no-substitute", "--check", "none")
HIDDEN = (
    "--eps", "0.2", "--queries", "16", "--batch-size", "16", "--steps", "10", "--answers", "0", "--sample", "8", "--no-substitute",
)  # fmt: skip
MODULE = """
import torch
from torch import nn
from hamguard.models.store import load_folder

class Changed(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.inner = load_folder({folder!r})[0].eval().requires_grad_(False)
        self.kind, self.size, self.channels = kind, self.inner.size, self.inner.channels
    def forward(self, x):
        if self.kind == "steps":
            x = (x * 31).round() / 31
        z = self.inner.logits(x)
        z = z + 0.5 * torch.randn_like(z) if self.kind == "random" else z
        if self.kind == "constant":
            return 0 * z + 1
        return torch.tanh(1e4 * z) if self.kind == "tanh" else 1e4 * z if self.kind == "scale" else z

def scale(): return Changed("scale")
def tanh(): return Changed("tanh")
def steps(): return Changed("steps")
def random(): return Changed("random")
def constant(): return Changed("constant")
"""
ENDPOINT = """
import numpy as np
from pathlib import Path

PLACE = Path({place!r})

class Search:
    calls = 0
    def __call__(self, pixels, k):
        self.calls += 1
        if PLACE.exists() and self.calls >= int(PLACE.read_text()):
            raise OSError("connection reset")
        far = np.abs(pixels.reshape(len(pixels), -1).astype(float) - 128).mean(1).astype(int)
        ids = (far[:, None] + np.arange(k)[None]) % 50
        return [[f"item {{one}}" for one in row] for row in ids]

def search(): return Search()
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMGUARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("hamguard.attacks.endpoint.time.sleep", lambda seconds: None)


@pytest.fixture
def changed(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> str:
    """Module of models that hide the gradients of the world's model."""
    name = f"changed_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(MODULE.format(folder=str(world.model)))
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four attacks stand for the battery: two guides, two losses, with labels and without."""
    for module in (audit_module, bench_module):
        monkeypatch.setattr(module, "BATTERY", BATTERY[:4])


@pytest.fixture(scope="module")
def honest(world: World, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The audit of the world's model that its disguises are held against."""
    from typer.testing import CliRunner

    from hamguard.cli.main import app

    cache = {"HAMGUARD_CACHE": str(tmp_path_factory.mktemp("cache"))}
    words = ["audit", str(world.model), *HIDDEN, "--check", "zero-gradients", "--check", "saturated-tanh", "--json"]
    made = CliRunner().invoke(app, words, env=cache)
    assert made.exit_code == 0, (made.output, made.exception)
    return [json.loads(line) for line in made.stdout.splitlines()]


def result(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return next(row for row in rows if row["metric"] == "map" and (row["attack"] or {}).get("held") is not None)


def checks(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["attack"]["check"]: row for row in rows if row["metric"] == "check"}


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_an_audit_and_its_folder(shell: Shell, world: World, tmp_path: Path) -> None:
    out = tmp_path / "audit"
    rows = shell.done("audit", world.model, *SMALL, "--out", out, "--json").rows
    worst, clean, floor = (
        result(rows),
        rows[0],
        next(r for r in rows if (r["attack"] or {}).get("guide") == "worst of all"),
    )
    assert clean["attack"] is None and clean["metric"] == "map"
    assert worst["value"] < clean["value"] and worst["n"] == 16 and worst["threat"]["eps"] == 0.1
    stages = [row for row in rows if row["metric"] == "map-of-those-attacked"]
    after = [row["attack"]["worst_map_after"] for row in stages]
    assert after == sorted(after, reverse=True) and after[-1] == pytest.approx(worst["value"])
    assert stages[0]["n"] == 16 and stages[0]["attack"]["labels"] == "free"
    kept = np.load(out / "worst.npz")
    assert kept["worst_ap"].mean() == pytest.approx(worst["value"])
    assert (kept["worst_ap"] <= kept["clean_ap"]).all() and kept["floor_ap"].mean() == pytest.approx(floor["value"])
    images = np.load(world.root / "toy.npz")["images"]
    delta = np.abs(kept["pixels"].astype(int) - images[kept["ids"].astype(int)]).max() / 255
    assert 0 < delta <= 0.1 + 1e-9
    assert set(checks(rows)) == {
        "zero-gradients", "saturated-tanh", "repeatable", "raw-logits", "restart-gain", "more-steps", "eps-monotone",
        "large-eps", "query-only", "transfer", "saved-file",
    }  # fmt: skip
    assert (
        checks(rows)["saved-file"]["attack"]["passed"] is True
        and checks(rows)["repeatable"]["attack"]["passed"] is True
    )
    curve = [(row["attack"]["asked"], row["value"]) for row in rows if row["metric"] == "map-after-answers"]
    assert [asked for asked, _ in curve] == [0, 10, 12]
    facts = json.loads((out / "audit.json").read_text())
    assert facts["verdict"]["grade"] in ("broken", "weakened", "holds") and len(facts["verdict"]["sentences"]) == 3
    assert facts["model_hash"] == clean["hashes"]["model"] and not (out / ".work").exists()
    assert decode(out / "audit.png").shape[1] > 400
    again = shell.done("audit", world.model, *SMALL, "--out", out, "--json")
    assert again.rows == rows, "a finished audit is read"
    said = shell.done("audit", world.model, *SMALL, "--out", out)
    assert "Verdict: This search" in said.out and "passed   saved-file" in said.out
    assert "holds another audit" in shell.fails(2, "audit", world.model, *SMALL, "--steps", "9", "--out", out)


def test_never_weaker_than_its_parts(shell: Shell, world: World) -> None:
    rows = shell.done("audit", world.model, *BARE, "--json").rows
    worst = result(rows)["value"]
    for guide, loss in (("own", "inner"), ("center", "inner"), ("mainstay", "mainstay")):
        one = shell.done(
            "attack", world.model, "--method", "adaptive", "--guide", guide, "--set", f"loss={loss}", "--steps", "4",
            "--eps", "0.1", "--queries", "16", "--json",
        ).rows  # fmt: skip
        single = next(
            row for row in one if row["metric"] == "map" and (row["attack"] or {}).get("method") == "adaptive"
        )
        assert worst <= single["value"] + 1e-3
    assert not checks(rows)


@pytest.mark.parametrize(
    ("kind", "named"), [("scale", "saturated-tanh"), ("tanh", "zero-gradients"), ("steps", "zero-gradients")]
)
def test_hidden_gradients_do_not_blind_it_and_are_named(
    shell: Shell, world: World, changed: str, honest: list[dict[str, Any]], tmp_path: Path, kind: str, named: str
) -> None:
    """The outputs are so large that no more than one in a thousand bits is left with a gradient, whatever the weights."""
    words = ("--data", world.data, *HIDDEN[:6])
    pgd = shell.done("attack", f"{changed}:{kind}", "--method", "pgd", "--steps", "10", *words, "--json").rows
    plain = next(row["value"] for row in pgd if row["metric"] == "map" and (row["attack"] or {}).get("method") == "pgd")
    asked = ("audit", f"{changed}:{kind}", "--data", world.data, *HIDDEN, "--check", named, "--out", tmp_path / "audit")
    audited = shell.done(*asked, "--json").rows
    clean = audited[0]["value"]
    assert plain > clean - 0.1, "plain PGD sees nothing"
    assert result(audited)["value"] < result(honest)["value"] + 0.05, "the audit does"
    found = checks(audited)[named]
    assert found["attack"]["passed"] is False and found["value"] > 0.5
    assert checks(honest)[named]["attack"]["passed"] is True
    said = shell.done(*asked)
    assert "hides its gradients" in said.out and named in said.out


def test_a_model_that_finds_nothing_is_audited_all_the_same(
    shell: Shell, world: World, changed: str, short: None
) -> None:
    words = ("--data", world.data, *SMALL, "--no-substitute", "--json")
    rows = shell.done("audit", f"{changed}:constant", *words).rows
    assert result(rows)["value"] == pytest.approx(rows[0]["value"])
    assert checks(rows)["zero-gradients"]["attack"]["passed"] is False


def test_a_model_that_draws_random_numbers_is_named(shell: Shell, world: World, changed: str, short: None) -> None:
    torch.manual_seed(0)
    rows = shell.done("audit", f"{changed}:random", "--data", world.data, *SMALL, "--no-substitute", "--check", "repeatable",
                      "--answers", "0", "--json").rows  # fmt: skip
    assert checks(rows)["repeatable"]["attack"]["passed"] is False


def test_it_goes_on_where_it_was_stopped(
    shell: Shell, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: None
) -> None:
    whole = shell.done("audit", world.model, *SMALL, "--out", tmp_path / "whole", "--json").rows
    real, calls = bench_module.run_attack, []

    def stopping(*arguments: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise StoppedError("stopped")
        return real(*arguments, **more)

    monkeypatch.setattr(bench_module, "run_attack", stopping)
    stopped = shell("audit", world.model, *SMALL, "--out", tmp_path / "parts")
    assert stopped.code not in (0, 2) and (tmp_path / "parts" / ".work").is_dir()
    first = sorted((tmp_path / "parts" / ".work").rglob("*.npz"))
    assert first, "finished batches are kept"
    monkeypatch.setattr(bench_module, "run_attack", real)
    touched = {path: path.stat().st_mtime_ns for path in first}
    kept: list[Path] = []
    monkeypatch.setattr(
        "hamguard.evaluation.audit.audit.forget",
        lambda folder: kept.extend(path for path in touched if path.stat().st_mtime_ns == touched[path]),
    )
    rows = shell.done("audit", world.model, *SMALL, "--out", tmp_path / "parts", "--json").rows
    assert timeless(rows) == timeless(whole)
    assert kept == first, "they are not made again"


def test_only_queries_that_hold_go_on(shell: Shell, world: World) -> None:
    rows = shell.done("audit", world.model, *BARE, "--eps", "0.5", "--steps", "20", "--answers", "0", "--json").rows
    counts = [row["n"] for row in rows if row["metric"] == "map-of-those-attacked"]
    assert counts == sorted(counts, reverse=True) and counts[0] == 16
    assert len(counts) < len(BATTERY) or counts[-1] < 16
    assert result(rows)["attack"]["held"] <= counts[-1]


def test_a_search_that_fails_keeps_what_is_done(
    shell: Shell, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: None
) -> None:
    name, place = f"outside_{abs(hash(str(tmp_path)))}", tmp_path / "fails_at"
    (tmp_path / f"{name}.py").write_text(ENDPOINT.format(place=str(place)))
    monkeypatch.syspath_prepend(str(tmp_path))
    words = ("audit", world.model, *BARE, "--endpoint", f"{name}:search", "--out", tmp_path / "out", "--json")
    place.write_text("15")  # in the second batch
    line = shell.fails(1, *words)
    assert "failed 3 times in a row" in line and "connection reset" in line and " queries are finished and kept" in line
    place.unlink()
    rows = shell.done(*words).rows
    fresh = shell.done(*words[:-2], tmp_path / "fresh", "--json").rows
    assert timeless(rows) == timeless(fresh)
    curve = [row for row in rows if row["metric"] == "map-after-answers"]
    assert curve and curve[0]["attack"]["distances"] is False, "this search tells none"


def test_pictures_of_another_model_are_tried(shell: Shell, world: World, short: None) -> None:
    rows = shell.done("audit", world.model, *SMALL, "--check", "transfer", "--source-model", world.model, "--json").rows
    stage = next(row for row in rows if (row["attack"] or {}).get("method") == "transfer")
    assert str(world.model) in stage["attack"]["stage"] and stage["backwards"] > 0
    assert checks(rows)["transfer"]["attack"]["passed"] in (True, False)
    none = shell.done("audit", world.model, *BARE[:-2], "--answers", "0", "--check", "transfer", "--json").rows
    assert checks(none)["transfer"]["attack"]["passed"] is None and checks(none)["transfer"]["value"] is None


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--check", "zero-gradient"), "did you mean zero-gradients"),
        (("--eps", "8"), "did you mean 8 / 255"),
        (("--threat", "l1"), "unknown threat 'l1'"),
        (("--endpoint", "nowhere:search"), "--endpoint must be package.module:factory"),
        (("--source-model", "nowhere"), "nowhere"),
        (("--picture", "audit.txt"), ".png"),
        (("--steps", "0"), "steps"),
    ],
)  # fmt: skip
def test_wrong_requests(shell: Shell, world: World, words: tuple[str, ...], part: str) -> None:
    assert part in shell.fails(2, "audit", world.model, *words)


def test_a_run_killed_before_its_first_file_had_its_name_begins_again(
    shell: Shell, world: World, tmp_path: Path
) -> None:
    left = tmp_path / "a" / ".work" / ".hamguard-k2llm3_x.json"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    shell.done("audit", world.model, *BARE, "--steps", 1, "--answers", 0, "--queries", 4, "--out", tmp_path / "a")
    assert not left.exists() and (tmp_path / "a" / "audit.json").is_file()


def test_folders_of_others_and_pictures_without_labels_are_refused(shell: Shell, world: World, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert "holds other files" in shell.fails(2, "audit", world.model, *BARE, "--out", tmp_path / "mine")
    some = write_arrays(
        tmp_path / "some.npz", labels=np.eye(2, dtype=np.uint8)[np.zeros(300, int)], split=np.arange(300) % 4
    )
    arrays = dict(np.load(some))
    arrays["labels"][arrays["split"] == 2] = 0
    np.savez(some, **arrays)
    line = shell.fails(2, "audit", world.model, "--data", f"arrays:{some}", *BARE)
    assert "no query of some, or no picture that is searched, has a label" in line


def test_pictures_without_labels_are_asked_for_their_originals(shell: Shell, world: World, tmp_path: Path) -> None:
    bare = write_pictures(tmp_path / "bare", n=60)
    words = ("audit", world.model, "--data", f"folder:{bare}", *SMALL, "--eps", "0.3", "--out", tmp_path / "out")
    answer = shell.done(*words, "--json")
    rows = answer.rows
    assert not [row for row in rows if "map" in (row["metric"] or "")]
    scored = [row for row in rows if row["metric"] == "found"]
    assert {(row["task"], row["at"], row["ties"]) for row in scored} == {("query->database", 10, "expected")}
    clean, (worst,) = scored[0], [row for row in scored if (row["attack"] or {}).get("method") == "audit"]
    assert clean["attack"] is None and clean["value"] > worst["value"]  # below 1: equal codes stand in any order
    assert worst["attack"]["labels"] == "free"  # nobody knows one
    assert {row["attack"]["guide"] for row in rows if (row["attack"] or {}).get("stage")} <= {"own", None}
    assert "no labels: all 60 pictures are searched" in " ".join(clean["notes"])
    done = shell.done(*words)
    assert "share found of them" in done.out and "MAP" not in done.out
    said = (
        f"the share of pictures that find their original among the first 10 answers falls from {clean['value']:.1%} to"
    )
    assert said in done.out and (tmp_path / "out" / "audit.png").stat().st_size > 1000
    shell.done("report", tmp_path / "out", "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "share found" in page and "MAP falls" not in page


def test_every_check_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z-]+)` \|", page, flags=re.MULTILINE) == list(AUDIT)
