from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hamguard.core.errors import ImageError, RequestError, RunError, StoppedError
from hamguard.images.io import decode
from hamguard.images.originals import Original, encode_original, read_original
from hamguard.models.protector import STEP
from hamguard.privacy import folder_run, pictures
from hamguard.privacy.folder_run import FolderRun, difference
from hamguard.privacy.manifest import LINES, Manifest, Named, Settings, read_entries
from hamguard.privacy.names import copy_names
from hamguard.privacy.protect import (
    LARGER,
    MOST,
    add_noise,
    as_tensor,
    enlarged,
    noise_pattern,
    noise_size,
    same_size,
    shrunk,
    tile_rows,
    tiled,
)
from tests.privacy.helpers import contents, drawn, strong_protector, write

NET = strong_protector()


def protected(original: Original, eps: float, size: tuple[int, int]) -> np.ndarray:
    pattern = noise_pattern(NET, as_tensor(shrunk(original.seen, size)))[0]
    return add_noise(original, enlarged(pattern, *original.pixels.shape[:2]), eps)


@settings(deadline=None, max_examples=25)
@given(
    st.floats(1 / 255, 0.3), st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]), st.booleans(), st.booleans(),
    st.sampled_from(["png", "webp"]),
)  # fmt: skip
@example(8 / 255, 1, 1, 3, False, False, "png")
@example(8 / 255, 7, 333, 1, False, True, "png")
@example(1 / 255, 333, 7, 3, True, True, "webp")
def test_no_value_of_a_decoded_copy_moves_by_more_than_eps(eps, height, width, layers, clear, fit, kind):
    original = Original(drawn(height, width, layers), drawn(height, width, 1, seed=1) if clear else None)
    size = noise_size(height, width, 16, "fit" if fit else "full")
    pixels = protected(original, eps, size)
    content = encode_original(Original(pixels, original.alpha), kind, quality=100)
    change, _ = difference(original.seen, decode(content, gray=layers == 1))
    assert change <= eps * 255 + 1e-4
    assert pixels.shape == original.pixels.shape


def test_strong_noise_reaches_the_bound():
    original = Original(drawn(64, 64) // 2 + 60)
    assert difference(original.pixels, protected(original, 8 / 255, (64, 64)))[0] == 8


def assert_alike(one: np.ndarray, other: np.ndarray) -> None:
    """Equal levels, but for one of a thousand that another rounding of the noise brought to the next one."""
    apart = np.abs(one.astype(int) - other.astype(int))
    assert apart.max() <= 1 and (apart > 0).mean() < 1e-3


@pytest.mark.parametrize("regions", [0, 8])
@pytest.mark.parametrize("shape", [(200, 333, 3), (97, 300), (9, 400, 3), (17, 130, 3), (8, 200)])
def test_tiles_give_the_noise_of_the_whole(shape, regions, monkeypatch):
    monkeypatch.setattr(NET, "regions", regions)
    seen = drawn(*shape[:2], 3 if len(shape) == 3 else 1)
    whole = noise_pattern(NET, as_tensor(seen))[0]
    rows = tiled(NET, seen, tile=4 * STEP)
    found = torch.cat([rows(part) for part in tile_rows(shape[0], 4 * STEP)], 1)
    assert torch.allclose(found, whole, atol=1e-4)
    original = Original(seen)
    cut = add_noise(original, rows, 8 / 255, tile_rows(shape[0], 4 * STEP))
    assert_alike(cut, add_noise(original, same_size(whole), 8 / 255))


@pytest.mark.parametrize(
    ("small", "large"), [((5, 7), (23, 31)), ((1, 1), (9, 4)), ((6, 3), (6, 50)), ((4, 4), (4, 4))]
)
def test_enlarging_in_rows_is_torchs_bicubic(small, large):
    pattern = 2 * torch.rand(3, *small, generator=torch.Generator().manual_seed(0)) - 1
    want = F.interpolate(pattern[None], large, mode="bicubic", align_corners=False)[0].clamp(-1, 1)
    rows = enlarged(pattern, *large)
    parts = [slice(top, min(top + 4, large[0])) for top in range(0, large[0], 4)]
    assert torch.allclose(torch.cat([rows(part) for part in parts], 1), want, atol=1e-5)


def test_where_the_noise_is_made():
    assert noise_size(256, 300, 256) == (256, 300)
    assert noise_size(384, 500, 256) == (384, 500)  # just not above LARGER times
    assert noise_size(3000, 4000, 256) == (256, 341) and noise_size(4000, 3000, 256) == (341, 256)
    assert noise_size(3000, 4000, 256, "full") == (3000, 4000)
    assert noise_size(300, 400, 256, "fit") == (256, 341) and noise_size(100, 50, 256, "fit") == (100, 50)
    height, width = noise_size(3000, 4000, 256, "full", refined=True)
    assert height * width == pytest.approx(MOST, rel=0.01) and width / height == pytest.approx(4 / 3, rel=0.01)
    height, width = noise_size(400, 100_000, 256)  # shrunk to 256 it is still too long
    assert height * width <= 1.01 * MOST
    assert LARGER > 1
    with pytest.raises(RequestError, match="unknown scale 'half'; allowed: auto, full, fit"):
        noise_size(1, 1, 1, "half")  # type: ignore[arg-type]


def test_transparent_pixels_stay_as_they_are():
    alpha = np.zeros((20, 20), np.uint8)
    alpha[:10] = 255
    original = Original(np.full((20, 20, 3), 100, np.uint8), alpha)
    pixels = protected(original, 8 / 255, (20, 20))
    assert (pixels[10:] == 100).all() and (pixels[:10] != 100).any()


def test_broken_weights_are_one_error():
    net = strong_protector()
    net.net[0].weight[0] = float("nan")
    with pytest.raises(RunError, match="the protector's noise is NaN or infinite"):
        noise_pattern(net, torch.rand(1, 3, 16, 16))
    with pytest.raises(RequestError, match="did you mean 8 / 255"):
        add_noise(Original(drawn(4, 4)), same_size(torch.zeros(3, 4, 4)), 8)


# --- a folder of them


def photos(folder: Path, n: int = 12) -> Path:
    for number in range(n):
        write(folder / f"{number:02d}.png", 20 + number % 3, 24, seed=number)
    write(folder / "inner" / "gray.jpg", 30, 20, layers=1)
    write(folder / "inner" / "clear.webp", 30, 20, layers=4, lossless=True)
    return folder


def run_of(source: Path, out: Path, **changes) -> FolderRun:
    facts = {
        "protector": Named(name="test", hash=NET.digest), "eps": 8 / 255, "format": "png", "quality": 100,
        "metadata": "strip", "scale": "auto",
    }  # fmt: skip
    words = {key: changes.pop(key) for key in ("batch_size", "window", "threads") if key in changes}
    manifest = Manifest(out, Settings(**{**facts, **changes}))
    files = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
    names = copy_names(files, manifest.settings.format)
    return FolderRun(source, out, names, NET, 256, manifest, **words)


def test_a_folder_is_copied_with_its_names_and_sizes(tmp_path: Path):
    source = photos(tmp_path / "in")
    run_of(source, tmp_path / "out")()
    entries = {entry.file: entry for entry in read_entries(tmp_path / "out")}
    assert len(entries) == 14 and all(entry.status == "done" for entry in entries.values())
    for file, entry in entries.items():
        before, after = read_original(source / file), read_original(tmp_path / "out" / entry.out)
        assert before.pixels.shape == after.pixels.shape and (before.alpha is None) == (after.alpha is None)
        assert (entry.height, entry.width) == before.pixels.shape[:2]
        change, rmse = difference(before.seen, after.seen)
        assert 0 < change <= 8, file
        assert (entry.change, entry.rmse) == (change, rmse)
        assert entry.psnr == pytest.approx(-20 * np.log10(rmse)) and 0 < entry.ssim < 1
    assert entries["inner/gray.jpg"].out == "inner/gray.png"
    clear = read_original(tmp_path / "out" / "inner" / "clear.png")
    assert np.array_equal(clear.alpha, read_original(source / "inner" / "clear.webp").alpha)
    assert read_original(tmp_path / "out" / "inner" / "gray.png").pixels.ndim == 2


def test_cuts_of_batches_and_threads_change_nothing(tmp_path: Path):
    source = photos(tmp_path / "in")
    run_of(source, tmp_path / "a", batch_size=1, threads=1, window=1)()
    run_of(source, tmp_path / "b", batch_size=1, threads=4)()
    run_of(source, tmp_path / "c", batch_size=8, threads=4)()
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(tmp_path / "c")


@pytest.mark.parametrize("window", [1, 3, 5])
def test_no_more_pictures_are_held_than_the_window_allows(tmp_path: Path, window):
    run = run_of(photos(tmp_path / "in"), tmp_path / "out", window=window)
    run()
    assert 1 <= run.most_held <= window and len(read_entries(tmp_path / "out")) == 14


def test_large_pictures_are_held_alone(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(folder_run, "PIXELS", 700)
    run = run_of(photos(tmp_path / "in"), tmp_path / "out")
    run()
    assert run.most_held == 1


def test_large_pictures_are_tiled(tmp_path: Path, monkeypatch):
    write(tmp_path / "in" / "a.png", 150, 200)
    run_of(tmp_path / "in", tmp_path / "whole", scale="full")()
    monkeypatch.setattr(pictures, "TILE", 64)
    monkeypatch.setattr(pictures, "tiled", lambda net, seen: tiled(net, seen, 64))
    monkeypatch.setattr(pictures, "tile_rows", lambda height: tile_rows(height, 64))
    monkeypatch.setattr(pictures, "noise_pattern", None)  # the whole is not asked
    run_of(tmp_path / "in", tmp_path / "tiles", scale="full")()
    whole, tiles = (decode(tmp_path / name / "a.png") for name in ("whole", "tiles"))
    assert_alike(whole, tiles)


def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch):
    source = photos(tmp_path / "in")
    run_of(source, tmp_path / "once")()

    class Killed(BaseException):
        pass

    calls = []

    def add(self, entry):
        calls.append(entry)
        if len(calls) == 6:  # after the line, before the copy takes its name
            original(self, entry)
            raise Killed
        original(self, entry)

    original = Manifest.add
    monkeypatch.setattr(Manifest, "add", add)
    with pytest.raises(Killed):
        run_of(source, tmp_path / "twice", threads=1)()
    monkeypatch.setattr(Manifest, "add", original)
    lines = tmp_path / "twice" / LINES
    lines.write_bytes(lines.read_bytes()[:-5])  # and a line was cut
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "twice").rglob("*.png")}
    again = run_of(source, tmp_path / "twice")
    again.manifest._ours |= {p.relative_to(tmp_path / "twice").as_posix() for p in before}
    again()
    assert contents(tmp_path / "once") == contents(tmp_path / "twice")
    assert 0 < again.fresh < 14
    assert {e.file: e for e in read_entries(tmp_path / "once")} == {e.file: e for e in read_entries(tmp_path / "twice")}
    last = run_of(source, tmp_path / "twice")
    last()
    assert last.fresh == 0


def test_a_changed_source_is_done_again(tmp_path: Path):
    source = photos(tmp_path / "in")
    run_of(source, tmp_path / "out")()
    old = contents(tmp_path / "out")
    write(source / "03.png", 20, 24, seed=99)
    again = run_of(source, tmp_path / "out")
    again()
    new = contents(tmp_path / "out")
    assert again.fresh == 1 and {name for name in old if old[name] != new[name]} == {"03.png"}
    assert difference(decode(source / "03.png"), decode(tmp_path / "out" / "03.png"))[0] <= 8


def test_broken_files_are_skipped_and_the_rest_is_done(tmp_path: Path):
    source = photos(tmp_path / "in")
    whole = write(source / "cut.jpg", 60, 60).read_bytes()
    (source / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (source / "text.png").write_text("no picture")
    write(source / "wide.png", 1, 17_000)
    run_of(source, tmp_path / "out", format="webp")()
    skipped = {e.file: e.reason for e in read_entries(tmp_path / "out") if e.status == "skipped"}
    assert "cut.jpg is truncated" in skipped["cut.jpg"] and "text.png is not a picture" in skipped["text.png"]
    assert "wide.png cannot be written as webp" in skipped["wide.png"] and len(skipped) == 3
    assert len(list((tmp_path / "out").rglob("*.webp"))) == 14
    again = run_of(source, tmp_path / "out", format="webp")
    again()
    assert again.fresh == 0


@pytest.mark.parametrize(("kind", "quality"), [("jpeg", 90), ("webp", 80)])
def test_lossy_formats_are_measured_after_decoding(tmp_path: Path, kind, quality):
    source = photos(tmp_path / "in", n=2)
    run_of(source, tmp_path / "out", format=kind, quality=quality)()
    for entry in read_entries(tmp_path / "out"):
        before = read_original(source / entry.file).seen
        after = decode(tmp_path / "out" / entry.out, gray=before.ndim == 2)
        assert entry.change == difference(before, after)[0] > 8  # random pixels are hard to keep


def test_ctrl_c_finishes_what_was_begun_and_says_so(tmp_path: Path, monkeypatch):
    source = photos(tmp_path / "in")
    run = run_of(source, tmp_path / "out", batch_size=1, threads=1, window=3)

    class Asked:
        asked = False

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    stop = Asked()
    monkeypatch.setattr(folder_run, "StopRequest", lambda: stop)
    with pytest.raises(StoppedError, match=r"stopped after \d+ of 14 pictures; the same command goes on"):
        run(lambda share, text: setattr(stop, "asked", True))
    monkeypatch.undo()
    entries = read_entries(tmp_path / "out")
    # however the threads run: the three that were held, and one more in the round in which it was asked
    assert 0 < len(entries) <= 4 and all((tmp_path / "out" / entry.out).is_file() for entry in entries)
    run_of(source, tmp_path / "out")()
    assert len(read_entries(tmp_path / "out")) == 14


def test_a_full_disk_and_a_file_that_appears_are_one_error(tmp_path: Path, monkeypatch):
    source = photos(tmp_path / "in", n=2)
    run = run_of(source, tmp_path / "out")
    write(tmp_path / "out" / "00.png")
    with pytest.raises(RunError, match=r"00.png appeared while protect ran"):
        run()
    assert decode(tmp_path / "out" / "00.png").shape == (20, 24, 3)
    run = run_of(source, tmp_path / "full")

    def no_space(self, content):
        raise OSError(28, "No space left on device")

    (tmp_path / "full").mkdir()
    run.manifest.begin()
    monkeypatch.setattr(Path, "write_bytes", no_space)
    with pytest.raises(RunError, match=r"cannot write .*\.png: No space left on device"):
        run()
    monkeypatch.undo()
    assert not list((tmp_path / "full").rglob("*.png"))


def test_wrong_numbers(tmp_path: Path):
    photos(tmp_path / "in", n=1)
    with pytest.raises(RequestError, match="batch size must be at least 1, got 0"):
        run_of(tmp_path / "in", tmp_path / "out", batch_size=0)
    with pytest.raises(RequestError, match="window must be at least 1, got 0"):
        run_of(tmp_path / "in", tmp_path / "out", window=0)
    with pytest.raises(ImageError):
        read_original(tmp_path / "missing.png")
