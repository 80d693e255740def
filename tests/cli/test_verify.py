"""`hamguard verify`: the table, the rows, the files it writes, files that are broken or alone, and what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hamguard.models.hash_model import HashModel
from hamguard.models.protector_store import save_protector
from hamguard.models.store import save_model
from tests.cli.helpers import Shell
from tests.panels import REFERENCE, tiny_panel
from tests.privacy.helpers import strong_protector


def blocks(seed: int, height: int = 24, width: int = 30) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(30, 226, (5, 5, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Fourteen photos as JPEG and their copies as PNG, and two hash models nobody trained."""
    import torch

    for number in range(14):
        folder = "" if number % 2 else "trip/"
        for name in ("in/trip", "out/trip"):
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
        photo = tmp_path / f"in/{folder}{number:02d}.jpg"
        Image.fromarray(blocks(number)).save(photo, quality=95)
        with Image.open(photo) as opened:
            clean = np.asarray(opened).astype(int)
        moved = clean + np.random.default_rng(number).choice([-20, 20], clean.shape) * (number > 3)
        Image.fromarray(np.clip(moved, 0, 255).astype(np.uint8)).save(tmp_path / f"out/{folder}{number:02d}.png")
    for seed, name in enumerate(("one", "two")):
        model = HashModel(
            "conv2", 16, size=(16, 16), mean=(0.5,), std=(0.1,), generator=torch.Generator().manual_seed(seed)
        )
        save_model(model, tmp_path / name)
    return tmp_path


def seen(place: Path, *names: str) -> None:
    hashes = [json.loads((place / name / "card.json").read_text())["weights_hash"] for name in names]
    told = {"protector": {"name": "photos", "hash": "p"}, "eps": 20 / 255, "surrogate": "s"}
    told["matchers"] = [{"name": "x", "hash": one} for one in hashes]
    (place / "out" / "protect.json").write_text(json.dumps(told))


def test_table_page_and_files(shell: Shell, place: Path) -> None:
    seen(place, "one")
    answer = shell.done(
        "verify", place / "in", place / "out", "--matcher", place / "one", "--matcher", place / "two", "--top", 3, "--cards", 5,
    )  # fmt: skip
    out = place / "out-verify"
    assert f"wrote {out / 'report.html'}" in answer.err
    assert f"{place / 'one'}: in the ensemble" in answer.out and f"{place / 'two'}: never seen" in answer.out
    assert "14 pictures were compared with their protected copies; 14 originals are searched." in answer.out
    for word in (
        "protected, as saved",
        "noise of the same size",
        "protected, after resize:0.5",
        "original lost (top 3)",
    ):
        assert word in answer.out
    objects = [json.loads(line) for line in (out / "effect.jsonl").read_text().splitlines()]
    assert [one["file"] for one in objects][:2] == ["01.jpg", "03.jpg"] and len(objects) == 14
    assert list(objects[0]["matchers"][1]["copies"]) == [
        "original",
        "as saved",
        "noise",
        "jpeg:85",
        "jpeg:75",
        "resize:0.5",
    ]
    still = next(one for one in objects if one["file"] == "03.jpg")
    assert still["largest_change"] == 0 and still["matchers"][0]["copies"]["as saved"]["bits_moved"] == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["protect"]["matchers"] and summary["problems"] == [] and len(summary["limits"]) >= 7
    text = (out / "report.html").read_text()
    assert text.count("<article") == 5 and text.count("data:image/jpeg;base64,") == 15
    assert "The 3 worst protected pictures" in text and "2 others" in text and "difference × 6" in text
    assert "http" not in text.replace("http-equiv", "")


def test_rows_are_the_same_every_time(shell: Shell, place: Path) -> None:
    words = (
        "verify",
        place / "in",
        place / "out",
        "--matcher",
        place / "one",
        "--view",
        "blur:1",
        "--out",
        place / "proof",
        "--json",
    )
    rows = shell.done(*words).rows
    assert shell.done(*words).rows == rows
    assert (place / "proof" / "report.html").is_file() and not (place / "out-verify").exists()
    left = [row for row in rows if row["metric"] == "left top"]
    assert [(row["task"], (row["attack"] or {}).get("view")) for row in left] == [
        ("original->original", None), ("protected->original", None), ("original->protected", None),
        ("noise->original", None), ("original->noise", None), ("protected->original", "blur:1"), ("original->protected", "blur:1"),
    ]  # fmt: skip
    assert all(row["at"] == 10 and row["n"] == 14 and row["ties"] == "expected" and row["ci95"] for row in left)
    assert {row["metric"] for row in rows} == {"left top", "bits-moved", "rmse", "ssim", "psnr", "linf"}
    bare = shell.done(*words, "--no-noise", "--cards", 0).rows
    assert not any((row["attack"] or {}).get("method") == "noise" for row in bare)
    assert "<img" not in (place / "proof" / "report.html").read_text()


def test_what_is_broken_or_alone_is_said_and_the_rest_done(shell: Shell, place: Path) -> None:
    out = place / "out"
    (out / "01.png").write_bytes((out / "01.png").read_bytes()[:200])
    (out / "03.png").unlink()
    Image.fromarray(blocks(5, 30, 24)).save(out / "05.png")
    shutil.copy(out / "07.png", out / "stray.png")
    (place / "in" / "trip" / "00.jpg").write_text("no picture")
    answer = shell("verify", place / "in", out, "--matcher", place / "one", "--view", "jpeg:85", "--json")
    assert answer.code == 1
    lines = answer.err.splitlines()
    assert lines[-1] == "hamguard: 5 files could not be compared; the rest is done"
    sizes = "has 24 x 30 pixels, its original 30 x 24"
    told = ("03.jpg has no protected copy", "stray.png in", "01.png is truncated", sizes, "is not a picture")
    assert all(message in line for message, line in zip(told, lines, strict=False)), lines
    assert {row["n"] for row in answer.rows if row["metric"] == "left top"} == {10}
    assert json.loads((place / "out-verify" / "summary.json").read_text())["problems"] == lines[:5]
    assert "Files that could not be compared" in (place / "out-verify" / "report.html").read_text()


def test_one_file(shell: Shell, place: Path) -> None:
    answer = shell.done("verify", place / "in/05.jpg", place / "out/05.png", "--matcher", place / "one")
    assert "With 1 searched, nothing can leave the first 10" in answer.out
    assert "All pictures, the worst protected first (1)" in (place / "out" / "05-verify" / "report.html").read_text()
    shell.done("verify", place / "in/05.jpg", place / "out", "--matcher", place / "one", "--out", place / "x")


def test_help(shell: Shell) -> None:
    text = " ".join(shell.done("verify", "--help").out.replace("│", " ").split())
    assert (
        "Examples" in text
        and "hamguard verify photos protected --matcher models/other" in text
        and "--no-noise" in text
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("IN", "OUT", "--matcher", "nowhere"), "no model at nowhere"),
        (("IN", "OUT", "--matcher", "ONE", "--matcher", "ONE"), "is named twice"),
        (("IN", "OUT", "--matcher", "ONE", "--view", "jpeg"), "view 'jpeg' needs a number"),
        (("IN", "OUT", "--matcher", "ONE", "--view", "jpeg:8", "--view", "jpeg:8"), "view jpeg:8 is named twice"),
        (("IN", "OUT", "--matcher", "ONE", "--top", "0"), "got '0'"),
        (("IN", "IN", "--matcher", "ONE"), "are both"),
        (("IN", "ONE", "--matcher", "ONE"), "holds no picture"),
        (("IN", "nowhere", "--matcher", "ONE"), "nowhere does not exist"),
        (("IN", "OUT", "--matcher", "ONE", "--out", "FILE"), "is a file; a folder is needed"),
    ],
)
def test_wrong_requests(words: tuple[str, ...], message: str, shell: Shell, place: Path) -> None:
    places = {"IN": place / "in", "OUT": place / "out", "ONE": place / "one", "FILE": place / "one" / "card.json"}
    assert message in shell.fails(2, "verify", *(places.get(word, word) for word in words))
    assert not (place / "out-verify").exists()


def protected(shell: Shell, place: Path) -> Path:
    """What `hamguard protect` makes of the photos, with a protector that makes strong noise."""
    save_protector(strong_protector(), place / "net", side=64)
    shell("protect", place / "in", place / "made", "--protector", place / "net")
    return place / "made"


def test_a_broken_original_counts_once(shell: Shell, place: Path) -> None:
    content = (place / "in" / "01.jpg").read_bytes()
    (place / "in" / "text.jpg").write_text("no picture")
    (place / "in" / "empty.jpg").write_bytes(b"")
    (place / "in" / "half.jpg").write_bytes(content[: len(content) // 2])
    made = protected(shell, place)
    answer = shell("verify", place / "in", made, "--matcher", place / "one", "--no-noise", "--view", "blur:1")
    assert answer.code == 1 and "14 pictures were compared" in answer.out
    assert "\n3 files could not be compared; see the list of problems.\n" in answer.out
    *told, _, last = answer.err.splitlines()
    assert last == "hamguard: 3 files could not be compared; the rest is done"
    assert [line.split()[0] for line in told] == ["empty.jpg", "half.jpg", "text.jpg"]


def test_a_copy_that_protect_did_not_write_is_named_and_not_counted(shell: Shell, place: Path) -> None:
    made = protected(shell, place)
    (made / "01.png").write_bytes((place / "out" / "01.png").read_bytes())
    (made / "03.png").write_bytes((made / "03.png").read_bytes() + b"\0")  # it looks the same
    words = ("verify", place / "in", made, "--matcher", place / "one", "--no-noise", "--view", "blur:1")
    answer = shell(*words)
    assert answer.code == 1 and "12 pictures were compared with their protected copies; 14 originals" in answer.out
    assert answer.err.splitlines()[:2] == [
        f"{made / name} is not the copy that protect wrote: it was changed or replaced since"
        for name in ("01.png", "03.png")
    ]
    line = shell.fails(1, "verify", place / "in/01.jpg", made / "01.png", "--matcher", place / "one", "--no-noise")
    assert "none of 1 pairs could be compared" in line and "is not the copy that protect wrote" in line


def test_what_version_0_1_0_wrote_is_compared_with_a_note(shell: Shell, place: Path) -> None:
    made = protected(shell, place)
    lines = [json.loads(line) for line in (made / "protect.jsonl").read_text().splitlines()]
    old = [
        {key: value for key, value in line.items() if key not in ("digest", "copy_hash", "frames")} for line in lines
    ]
    (made / "protect.jsonl").write_text("".join(json.dumps(line) + "\n" for line in old))
    words = ("verify", place / "in", made, "--matcher", place / "one", "--no-noise", "--view", "blur:1")
    assert (
        "Note: " in (said := shell.done(*words).out) and "has no hash of 14 copies (an older hamguard wrote it)" in said
    )


@pytest.mark.parametrize("name", ["protect.json", "protect.jsonl"])
def test_a_changed_record_is_damage(shell: Shell, place: Path, name: str) -> None:
    made = protected(shell, place)
    (made / name).write_text((made / name).read_text().replace("0", "1", 1))
    line = shell.fails(2, "verify", place / "in", made, "--matcher", place / "one")
    assert f"{name} is damaged" in line and "was changed after it was written" in line


def test_names_cannot_act_on_the_terminal_or_the_page(shell: Shell, place: Path) -> None:
    content = (place / "in" / "01.jpg").read_bytes()
    for name in ("bad\nhamguard: all fine.jpg", "e\x1b[31mred.jpg", "caf\udce9.jpg", "<b>\u202egpj.exe.jpg"):
        (place / "in" / name).write_bytes(content)
    (place / "in" / "torn\nline.jpg").write_bytes(b"")
    (place / "in" / "x\x07y.txt").write_text("")
    made = protected(shell, place)
    answer = shell(
        "verify", place / "in", made, "--matcher", place / "one", "--no-noise", "--view", "blur:1", "--cards", 40
    )
    text = (place / "made-verify" / "report.html").read_text(encoding="utf-8")
    for said in (answer.out, answer.err, text):
        assert not any(mark in said for mark in ("\x1b", "\x07", "\u202e", "\nhamguard: all fine", "torn\nline"))
    assert "torn\\nline.jpg was not protected" in answer.err and "x\\x07y.txt" in answer.out
    for name in ("bad\\nhamguard: all fine.jpg", "e\\x1b[31mred.jpg", "caf\\xe9.jpg", "&lt;b&gt;\\u202egpj.exe.jpg"):
        assert f"<h3>{name}</h3>" in text


def test_files_that_go_while_they_are_verified(shell: Shell, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hamguard.api import verify_page

    made = verify_page.effect_page

    def late(measured, *words, **more):
        (place / "out" / "01.png").unlink()
        return made(measured, *words, **more)

    monkeypatch.setattr(verify_page, "effect_page", late)
    shell.done("verify", place / "in", place / "out", "--matcher", place / "one", "--no-noise", "--view", "blur:1")
    text = (place / "out-verify" / "report.html").read_text()
    assert "no picture on this page: " in text and "01.png does not exist" in text and text.count("<article") == 13


def test_neither_file_nor_folder(shell: Shell, place: Path) -> None:
    os.mkfifo(place / "pipe.jpg")
    for words in (
        (place / "pipe.jpg", place / "out"),
        (place / "in", "/dev/zero"),
        (place / "in" / "01.jpg", place / "pipe.jpg"),
    ):
        assert "is not an ordinary file" in shell.fails(2, "verify", *words, "--matcher", place / "one")


def test_without_a_matcher_the_panel_is_tried(
    shell: Shell, place: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_panel(tmp_path_factory.mktemp("panel"), monkeypatch)
    told = {"protector": {"name": "photos", "hash": "p"}, "eps": 20 / 255, "networks": ["resnet56"]}
    (place / "out" / "protect.json").write_text(json.dumps(told))
    out = " ".join(shell.done("verify", place / "in", place / "out", "--view", "jpeg:85").out.split())
    assert "14 originals are searched, by searches of the panel among 40 photos more." in out
    assert "On average over 2 searches that the protector never saw, " in out
    assert "panel:small-itq never seen" in out and "panel:deep-itq same family" in out, "one table of all"
    assert "searching with a protected file" not in out and "median rank" not in out
    objects = [json.loads(line) for line in (place / "out-verify" / "effect.jsonl").read_text().splitlines()]
    for one in objects:
        assert [matcher["searched"] for matcher in one["matchers"]] == [14 + REFERENCE] * 3
        for matcher in one["matchers"]:
            assert matcher["copies"]["original"]["bits_moved"] == 0 and matcher["copies"]["original"]["in_top"] == 1
    summary = json.loads((place / "out-verify" / "summary.json").read_text())
    assert any("14 originals and 40 reference photos are searched" in row["notes"] for row in summary["rows"])
    text = (place / "out-verify" / "report.html").read_text()
    box = text[text.index('<ul class="words">') : text.index("<h2>The searches</h2>")]
    assert box.count("<li>") == 3 and box.index("On average over 2 searches") < box.index(
        "The search that finds most is"
    )
    assert "among 40 photos more" in box and "Each search by itself" in text and text.count(">median rank<") == 3
    table = text[text.index("Originals lost (top 10)") : text.index("Each search by itself")]
    lines = [line for line in re.findall(r"<tr.*?</tr>", table, re.DOTALL) if "<td" in line]
    assert len(lines) == 4 and "mean of 2" in lines[0] and "same family" in lines[-1], "those that count stand first"
    mean = next(row for row in summary["rows"] if (row["model"], row["metric"]) == ("panel:small-itq", "left top"))
    assert mean["value"] == 0 and "original" not in lines[0]

    one = shell.done("verify", place / "in", place / "out", "--matcher", "panel:small-itq", "--json").out
    rows = [json.loads(line) for line in one.splitlines()]
    assert {row["model"] for row in rows if row["model"]} == {"panel:small-itq"}
    assert "14 originals and 40 reference photos are searched" in rows[0]["notes"]


def test_reference_photos_push_originals_back(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hamguard as hg
    from hamguard.models import panel

    made = tiny_panel(tmp_path / "panel", monkeypatch)
    ask = {"views": (), "noise": False, "cards": 0}
    given = {"alone": made["small-lsh"], "named": "panel:small-lsh", "loaded": hg.load("panel:small-lsh")}
    found = {
        name: hg.verify(place / "in", place / "out", **ask, matchers=[one], out=tmp_path / name).measured
        for name, one in given.items()
    }
    assert [one.searched(0) for one in found.values()] == [14, 14 + REFERENCE, 14 + REFERENCE]
    ranks = {name: one.sides[0]["as saved"].forward.expected() for name, one in found.items()}
    assert (ranks["named"] >= ranks["alone"]).all() and (ranks["named"] == ranks["loaded"]).all()
    moved = [one.sides[0]["as saved"].bits_moved.tolist() for one in found.values()]
    assert moved[0] == moved[1] == moved[2] and panel.reference_of() == "40 pictures that are none"
