"""`hamguard protect`: copies are made, originals stay, and what is wrong is said in one line."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hamguard.core import files
from hamguard.images.io import decode
from hamguard.images.originals import read_original
from hamguard.models.protector_store import load_protector, save_protector
from hamguard.privacy.manifest import read_entries
from tests.cli.conftest import World
from tests.cli.helpers import Shell
from tests.panels import REFERENCE, tiny_panel
from tests.privacy.helpers import saved_protector, strong_protector, write

GPS = 0x8825


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_protector(tmp_path_factory.mktemp("weights") / "strong")


@pytest.fixture(autouse=True)
def tried(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny panel stands for the one that ships, whose networks take seconds."""
    tiny_panel(tmp_path_factory.mktemp("panel"), monkeypatch)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "my photos"
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Camera"
    exif[GPS] = {1: "N", 2: (48.0, 8.0, 0.0)}
    write(folder / "a.jpg", 30, 40, exif=exif)
    write(folder / "a.png", 33, 7, layers=4)
    write(folder / "deep" / "gray.webp", 1, 1)
    write(folder / "deep" / "g.png", 20, 20, layers=1)
    (folder / "old.gif").write_bytes(b"GIF89a")
    return folder


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def forget_swept() -> None:
    """A new process has not looked through any folder yet."""
    files._swept.clear()


def test_a_folder(net: Path, photos: Path, shell: Shell, tmp_path: Path) -> None:
    before, out = snapshot(photos), tmp_path / "out"
    answer = shell.done("protect", photos, out, "--protector", net)
    assert snapshot(photos) == before
    assert "4 of 4 pictures protected (8/255, png)" in answer.out and "largest change 8 of 255 levels" in answer.out
    assert "peak memory" in answer.out and "pictures a second" in answer.out and "SSIM" in answer.out
    assert "Note: left out: 1 GIF (old.gif)\n" in answer.out and "hamguard verify" in answer.out
    assert "Note: png" not in answer.out
    copies = {"a.jpg.png", "a.png", "deep/gray.png", "deep/g.png"}
    assert set(snapshot(out)) == copies | {"protect.json", "protect.jsonl"}
    assert decode(out / "a.jpg.png").shape == (40, 30, 3)  # upright
    assert not len(Image.open(out / "a.jpg.png").getexif())
    facts = json.loads((out / "protect.json").read_text())
    assert facts["protector"]["name"] == "strong" and facts["surrogate"] == ["abcd"] and facts["eps"] == 8 / 255
    assert str(tmp_path) not in (out / "protect.json").read_text() + (out / "protect.jsonl").read_text()

    again = shell.done("protect", photos, out, "--protector", net)
    assert "4 of them were done before" in again.out and "a second" not in again.out
    rows = shell.done("protect", photos, out, "--protector", net, "--json").rows
    assert [row["file"] for row in rows[:-1]] == sorted(name for name in before if not name.endswith(".gif"))
    assert rows[-1]["summary"]["done"] == 4 and rows[-1]["summary"]["fresh"] == 0
    assert rows[-1]["summary"]["left_out"] == {"GIF": 1} and rows[-1]["summary"]["change"] == 8


def test_other_settings_need_a_restart(net: Path, photos: Path, shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shell.done("protect", photos, out, "--protector", net)
    line = shell.fails(2, "protect", photos, out, "--protector", net, "--eps", "4/255")
    assert "was protected with other settings (eps); give another folder, or --restart" in line
    answer = shell.done("protect", photos, out, "--protector", net, "--format", "jpeg", "--quality", 90, "--restart")
    assert "Note: jpeg of quality 90 adds errors of its own; the bound of 8/255 holds before encoding" in answer.out
    assert not list(out.rglob("a*.png")) and (out / "a.jpg").is_file() and (out / "a.png.jpg").is_file()


def test_another_protector_of_the_same_weights_needs_a_restart(
    net: Path, photos: Path, shell: Shell, tmp_path: Path
) -> None:
    out, (made, card) = tmp_path / "out", load_protector(net)
    shell.done("protect", photos, out, "--protector", net)
    made.even = 1 / 255
    save_protector(made, tmp_path / "even", side=card.side, surrogates=card.surrogates)
    line = shell.fails(2, "protect", photos, out, "--protector", tmp_path / "even")
    assert "was protected with other settings (protector); give another folder, or --restart" in line


def test_copies_that_are_protected_again_are_named(net: Path, photos: Path, shell: Shell, tmp_path: Path) -> None:
    shell.done("protect", photos, tmp_path / "once", "--protector", net)
    answer = shell.done("protect", tmp_path / "once", tmp_path / "twice", "--protector", net)  # exit code 0
    assert (
        "Note: 4 pictures are protected copies already (a.jpg.png, a.png, deep/g.png, ...): the changes add up"
        in answer.out
    )
    assert "4 of 4 pictures protected" in answer.out


def test_metadata_as_asked(net: Path, photos: Path, shell: Shell, tmp_path: Path) -> None:
    words = ("protect", photos / "a.jpg")
    shell.done(*words, tmp_path / "n.jpg", "--protector", net, "--metadata", "no-location")
    exif = Image.open(tmp_path / "n.jpg").getexif()
    assert exif[0x010F] == "Camera" and exif[0x0112] == 1 and GPS not in exif
    shell.done(*words, tmp_path / "k.webp", "--protector", net, "--metadata", "keep", "--quality", 100)
    assert Image.open(tmp_path / "k.webp").getexif().get_ifd(GPS)[1] == "N"
    assert "unknown metadata 'gps'" in shell.fails(2, *words, tmp_path / "x.png", "--metadata", "gps")


def test_one_picture(net: Path, photos: Path, shell: Shell, tmp_path: Path) -> None:
    one = photos / "a.png"
    answer = shell.done("protect", one, tmp_path / "copy.png", "--protector", net)
    assert "1 of 1 picture protected" in answer.out and not (tmp_path / "protect.json").exists()
    assert np.array_equal(read_original(tmp_path / "copy.png").alpha, read_original(one).alpha)
    line = shell.fails(2, "protect", one, tmp_path / "copy.png", "--protector", net, "--restart")
    assert "copy.png exists and was not written by hamguard protect" in line
    shell.done("protect", one, tmp_path / "new", "--protector", net)
    assert (tmp_path / "new" / "a.png").is_file() and len(list((tmp_path / "new").iterdir())) == 1
    assert "format jpeg does not go with b.png" in shell.fails(
        2, "protect", one, tmp_path / "b.png", "--format", "jpeg"
    )
    assert "written as .png, .jpg or .webp, got b.bmp" in shell.fails(2, "protect", one, tmp_path / "b.bmp")
    assert "is no picture that can be read" in shell.fails(2, "protect", photos / "old.gif", tmp_path / "b.png")
    assert "itself; originals are never overwritten" in shell.fails(2, "protect", one, one)


def test_originals_and_foreign_files_stay(net: Path, photos: Path, shell: Shell, tmp_path: Path) -> None:
    before = snapshot(tmp_path)
    (tmp_path / "link").symlink_to(photos)
    for out, words in (
        (photos, "itself"), (tmp_path / "link", "itself"), (photos / "out", "lies in"), (tmp_path, "never overwritten"),
    ):  # fmt: skip
        assert words in shell.fails(2, "protect", photos, out, "--protector", net, "--restart")
    (tmp_path / "link").unlink()
    assert snapshot(tmp_path) == before
    write(tmp_path / "out" / "deep" / "g.png", 5, 5)
    before = snapshot(tmp_path)
    line = shell.fails(2, "protect", photos, tmp_path / "out", "--protector", net, "--restart")
    assert "g.png exists and was not written by hamguard protect; it is never overwritten" in line
    assert snapshot(tmp_path) == before


def test_broken_files(net: Path, photos: Path, shell: Shell, tmp_path: Path) -> None:
    content = write(photos / "cut.jpg", 90, 90).read_bytes()
    (photos / "cut.jpg").write_bytes(content[: len(content) // 2])
    for _ in range(2):  # the second time they are still named
        answer = shell("protect", photos, tmp_path / "out", "--protector", net)
        assert answer.code == 1 and "4 of 5 pictures protected" in answer.out
        assert answer.err.startswith("skipped: cut.jpg is truncated") and answer.err.count("\n") == 1
    assert (tmp_path / "out" / "a.png").is_file() and not (tmp_path / "out" / "cut.png").exists()


def test_refining_against_a_model(world: World, net: Path, photos: Path, shell: Shell, tmp_path: Path) -> None:
    words = ("protect", photos, tmp_path / "out", "--protector", net)
    assert "refine 2 needs models to work against; give a matcher" in shell.fails(2, *words, "--refine", 2)
    assert "a matcher belongs to refine" in shell.fails(2, *words, "--matcher", world.model)
    answer = shell.done(*words, "--refine", 2, "--matcher", world.model)
    assert "2 gradient steps against model)" in answer.out and "largest change 8 of 255" in answer.out
    facts = json.loads((tmp_path / "out" / "protect.json").read_text())
    card = json.loads((world.model / "card.json").read_text())
    assert facts["matchers"] == [{"name": "model", "hash": card["weights_hash"], "network": card["backbone"]}]
    assert facts["refine"] == 2


def test_what_is_wrong_is_one_line(net: Path, photos: Path, shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def line(*words: object) -> str:
        said = shell.fails(2, "protect", *words)
        assert not out.exists() or not list(out.rglob("*.png"))
        return said

    (tmp_path / "empty").mkdir()
    assert "holds no picture; looked for .png" in line(tmp_path / "empty", out, "--protector", net)
    assert "none does not exist; give a picture or a folder" in line(tmp_path / "none", out)
    assert "is not a protector folder" in line(photos, out, "--protector", tmp_path / "none")
    assert "eps must be in (0, 1], got 8; did you mean 8 / 255?" in line(photos, out, "--eps", "8")
    assert "unknown scale 'big'" in line(photos, out, "--scale", "big")
    assert "unknown picture format 'gif'; allowed: png, jpeg, webp" in line(photos, out, "--format", "gif")
    assert "quality 90 belongs to jpeg and webp" in line(photos, out, "--quality", "90")
    assert "no model at" in line(photos, out, "--protector", net, "--refine", 1, "--matcher", tmp_path / "none")
    (tmp_path / "file").write_text("")
    assert "is a file; a folder" in line(photos, tmp_path / "file", "--protector", net)
    broken = strong_protector()
    broken.net[0].weight[0] = float("nan")
    save_protector(broken, tmp_path / "nan", side=64)
    assert "holds NaN or infinite weights" in line(photos, out, "--protector", tmp_path / "nan")


def test_the_last_lines_say_how_many_are_still_found(net: Path, photos: Path, shell: Shell, tmp_path: Path) -> None:
    words = ("protect", photos, tmp_path / "out", "--protector", net)
    *_, said, among, following = shell.done(*words).out.splitlines()
    assert re.match(
        r"Of 4 photos tried, \d (is|are) still found by at least one of 3 searches that the protector never saw", said
    )
    assert "(mean over searches: " in said and re.search(r"; worst: \S+ \d of 4\)\.$", said)
    assert "among the first 10 answers of a search among 44 pictures" in among and "people who look" in among
    assert following.startswith("Next: hamguard verify ") and "--matcher" not in following
    kept = json.loads((tmp_path / "out" / "protect.json").read_text())["check"]
    assert (
        kept["photos"] == 4
        and kept["searched"] == 4 + REFERENCE
        and set(kept["found"]) == {"small-itq", "small-lsh", "deep-itq"}
    )
    assert said.startswith(f"Of 4 photos tried, {kept['found_by_any']} ")

    *_, summary = shell.done(*words, "--check", 2, "--json").out.splitlines()  # a run that goes on checks again
    again = json.loads(summary)
    assert again["summary"]["check"]["photos"] == 2 and again["summary"]["fresh"] == 0
    assert json.loads((tmp_path / "out" / "protect.json").read_text())["check"]["photos"] == 2
    out = shell.done(*words, "--check", 0).out
    assert "was not measured (--check 24 measures it)" in out and "photos tried" not in out


def test_one_photo_is_checked_too(net: Path, photos: Path, shell: Shell, tmp_path: Path) -> None:
    out = shell.done("protect", photos / "a.jpg", tmp_path / "one.png", "--protector", net).out
    assert re.search(r"Of 1 photo tried, [01] (is|are) still found by at least one of 3 searches", out)


def test_relatives_of_what_the_protector_met_do_not_count(photos: Path, shell: Shell, tmp_path: Path) -> None:
    told = {"side": 64, "surrogates": ["abcd"]}
    save_protector(strong_protector(), tmp_path / "net", networks=["resnet56"], **told)
    out = shell.done("protect", photos / "a.jpg", tmp_path / "one.png", "--protector", tmp_path / "net").out
    assert "at least one of 2 searches" in out
    save_protector(strong_protector(), tmp_path / "all", networks=["resnet56", "conv8"], **told)
    out = shell.done("protect", photos / "a.jpg", tmp_path / "two.png", "--protector", tmp_path / "all").out
    assert (
        "How many photos are still found was not measured: the protector met all searches of the panel that are here"
        in out
    )


def test_what_was_refined_against_does_not_count(net: Path, photos: Path, shell: Shell, tmp_path: Path) -> None:
    words = ("protect", photos, tmp_path / "out", "--protector", net, "--refine", 1, "--matcher", "panel:small-itq")
    assert "the search that the protector never saw" in shell.done(*words).out
    kept = json.loads((tmp_path / "out" / "protect.json").read_text())
    assert kept["matchers"][0]["network"] == "conv2" and set(kept["check"]["found"]) == {"deep-itq"}
    assert kept["check"]["met"] == ["small-itq", "small-lsh"]


def test_one_odd_file_stops_nothing(net: Path, shell: Shell, tmp_path: Path) -> None:
    source = tmp_path / "in"
    write(source / "good.jpg", 20, 24)
    content = (source / "good.jpg").read_bytes()
    (source / "caf\udce9.jpg").write_bytes(content)
    (source / ("l" * 251 + ".jpg")).write_bytes(content)
    (source / ("n" * 254)).write_bytes(content)  # its copy's name would be longer than a name may be
    (source / "bad\nhamguard: all fine.jpg").write_bytes(content[:300])
    (source / "empty.jpg").write_bytes(b"")
    with (source / "huge.jpg").open("wb") as stream:
        stream.truncate(40 << 30)
    os.mkfifo(source / "pipe.jpg")
    (source / "gone.jpg").symlink_to(tmp_path / "nothing")
    (source / "loop.jpg").symlink_to(source / "loop.jpg")
    for fresh in (True, False):
        answer = shell("protect", source, tmp_path / "out", "--protector", net)
        assert answer.code == 1 and "3 of 10 pictures protected" in answer.out
        assert ("3 of them were done before" in answer.out) != fresh
        told = answer.err.splitlines()
        assert [line.split()[1] for line in told] == [
            "bad\\nhamguard:", "empty.jpg", "gone.jpg", "huge.jpg", "loop.jpg", "n" * 254 + ":", "pipe.jpg",
        ]  # fmt: skip
        assert "its copy can have no name here: File name too long" in told[5]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"good.png", "caf\udce9.png", "l" * 251 + ".png", "protect.json", "protect.jsonl"}
    shell("protect", source, tmp_path / "out", "--protector", net, "--json")


def test_photos_are_known_by_content_and_what_is_left_out_is_named(net: Path, shell: Shell, tmp_path: Path) -> None:
    source = tmp_path / "in"
    write(source / "one.jpg", 20, 24)
    content = (source / "one.jpg").read_bytes()
    for name in ("two.jfif", "three.jpe", "FOUR.JPG", "plain", "really.png", ".hidden.jpg", "IMG.2024"):
        (source / name).write_bytes(content)
    (source / ".album").mkdir()
    (source / ".album" / "x.png").write_bytes(content)
    (source / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    for name in ("notes.txt", "one.xmp", ".DS_Store", "Thumbs.db"):
        (source / name).write_text("words")
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "green", "blue")]
    frames[0].save(source / "moving.webp", save_all=True, append_images=frames[1:])
    answer = shell.done("protect", source, tmp_path / "out", "--protector", net)
    assert "8 of 8 pictures protected" in answer.out
    assert (
        "Note: 1 moving picture or file with several pictures: only the first frame was kept of moving.webp (3 frames)\n"
        in answer.out
    )
    assert (
        "Note: left out: 1 HEIC (a.heic), 2 hidden (.album/x.png, .hidden.jpg), 2 no picture (notes.txt, one.xmp); "
        "protect.jsonl names all\n" in answer.out
    )
    copies = {path.name for path in (tmp_path / "out").iterdir() if path.suffix == ".png"}
    assert copies == {
        "one.png",
        "two.png",
        "three.png",
        "FOUR.png",
        "plain.png",
        "really.png",
        "IMG.2024.png",
        "moving.png",
    }
    assert all((tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG") for name in copies)
    left = {entry.file: entry.reason for entry in read_entries(tmp_path / "out") if entry.status == "left out"}
    assert left == {
        "a.heic": "HEIC", ".album/x.png": "hidden", ".hidden.jpg": "hidden", "notes.txt": "no picture", "one.xmp": "no picture",
    }  # fmt: skip
    lines = (tmp_path / "out" / "protect.jsonl").read_bytes()
    shell.done("protect", source, tmp_path / "out", "--protector", net)
    assert (tmp_path / "out" / "protect.jsonl").read_bytes() == lines, "nothing new to note"


def test_a_copy_that_is_not_what_protect_wrote_is_made_again(
    net: Path, photos: Path, shell: Shell, tmp_path: Path
) -> None:
    words = ("protect", photos, tmp_path / "out", "--protector", net)
    shell.done(*words)
    before = snapshot(tmp_path / "out")
    (tmp_path / "out" / "a.png").write_bytes((photos / "a.png").read_bytes())
    (tmp_path / "out" / "deep" / "g.png").write_bytes(before["deep/g.png"][:200])
    answer = shell.done(*words)
    assert "2 of them were done before" in answer.out
    assert "Note: 2 copies were not as protect wrote them, and were made again: a.png, deep/g.png\n" in answer.out
    after = snapshot(tmp_path / "out")
    assert {name: after[name] for name in before if name != "protect.jsonl"} == {
        name: before[name] for name in before if name != "protect.jsonl"
    }
    assert "made again" not in shell.done(*words).out

    # as version 0.1.0 left it: no seals and no hashes
    out = tmp_path / "out"
    told = json.loads((out / "protect.json").read_text())
    (out / "protect.json").write_text(json.dumps({k: v for k, v in told.items() if k not in ("digest", "edition")}))
    lines = [json.loads(line) for line in (out / "protect.jsonl").read_text().splitlines()]
    old = [{k: v for k, v in line.items() if k not in ("digest", "copy_hash", "frames")} for line in lines]
    (out / "protect.jsonl").write_text("".join(json.dumps(line) + "\n" for line in old if line["status"] == "done"))
    answer = shell.done(*words)
    assert "Note: an older hamguard kept no hashes of its 4 copies; they were made again" in answer.out
    assert "4 of 4 pictures" in answer.out and "done before" not in answer.out
    assert "older" not in shell.done(*words).out and snapshot(out)["a.png"] == before["a.png"]


def test_what_is_no_file_and_no_folder(net: Path, shell: Shell, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    for source in (tmp_path / "pipe.jpg", "/dev/zero"):
        assert "is not an ordinary file; give a picture or a folder" in shell.fails(
            2, "protect", source, tmp_path / "out"
        )
    assert "loop.jpg does not exist" in shell.fails(2, "protect", tmp_path / "loop.jpg", tmp_path / "out")
    write(tmp_path / "plain.jpg").rename(tmp_path / "plain")
    shell.done("protect", tmp_path / "plain", tmp_path / "out", "--protector", net)
    assert (tmp_path / "out" / "plain.png").is_file()


def test_transparent_pictures_of_16_bits_keep_their_transparency(net: Path, shell: Shell, tmp_path: Path) -> None:
    wide = np.full((20, 24), 40000, np.uint16)
    wide[:10] = 0
    (tmp_path / "in").mkdir()
    Image.fromarray(wide).save(tmp_path / "in" / "clear16.png", transparency=0)
    Image.fromarray((wide >> 8).astype(np.uint8)).save(tmp_path / "in" / "clear8.png", transparency=0)
    shell.done("protect", tmp_path / "in", tmp_path / "out", "--protector", net)
    for name in ("clear16.png", "clear8.png"):
        with Image.open(tmp_path / "out" / name) as copy:
            alpha = np.asarray(copy)[..., 1]
            assert copy.mode == "LA" and not alpha[:10].any() and (alpha[10:] == 255).all()


def test_what_a_killed_run_left_is_removed(net: Path, photos: Path, shell: Shell, tmp_path: Path) -> None:
    words = ("protect", photos, tmp_path / "out", "--protector", net)
    shell.done(*words)
    left = [tmp_path / "out" / ".hamguard-abcd1234.png", tmp_path / "out" / "deep" / ".hamguard-ab_d1234.png"]
    for path in left:
        path.write_bytes(b"half")
    forget_swept()
    shell.done(*words)
    assert not any(path.exists() for path in left)
