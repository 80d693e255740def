"""Figures of an effect card on codes worked out by hand, the noise control, the order of cards, and the pass over files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hamguard.codes.binary import pack
from hamguard.core.errors import RequestError, RunError
from hamguard.images.distortion import measure_distortion
from hamguard.images.io import decode, encode
from hamguard.models.encode import codes_of
from hamguard.models.hash_model import HashModel
from hamguard.privacy.effect import NOISE, ORIGINAL, SAVED, Matcher, Measured, as_channels, measure_effect
from hamguard.privacy.effect_card import (
    choose_cards,
    largest_change,
    left_top,
    measure_side,
    noise_like,
    worst_first,
)
from hamguard.privacy.effect_cards import amplify, card_pictures, common_factor, protection_order
from hamguard.privacy.effect_summary import effect_rows, file_objects, look_shares, plain_words, summary_lines
from hamguard.privacy.pairs import Pair, Pairing, Protection, read_protection

BITS = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1], [0, 1, 1, 1]])
NO_FILE = Path("nowhere")


def picture(seed: int, height: int = 20, width: int = 24, color: bool = True) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 4, 3) if color else (4, 4)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def matcher(name: str = "m", seed: int = 0, channels: int = 3, seen: str = "never seen", bits: int = 12) -> Matcher:
    import torch

    generator = torch.Generator().manual_seed(seed)
    model = HashModel("conv2", bits, channels=channels, size=(16, 16), mean=(0.5,), std=(0.1,), generator=generator)
    return Matcher(name, model.eval().requires_grad_(False), None, seen)


def test_a_side_worked_out_by_hand() -> None:
    originals = pack(BITS)
    copies = pack(np.array([[0, 0, 1, 1], [1, 1, 1, 1]]))  # of originals 0 and 2
    side = measure_side(originals, copies, np.array([0, 2]), np.array([5, 7]))
    assert side.rows.tolist() == [5, 7] and side.bits_moved.tolist() == [2, 0]
    # copy 0 is 2, 1, 2, 1 bits from the originals: two are nearer than original 0, and original 2 stands beside it
    assert side.forward.expected().tolist() == [3.5, 1] and side.forward.in_top(3).tolist() == [0.5, 1]
    # original 0 is 2 and 4 bits from the copies, original 2 is 2 and 0
    assert side.backward.expected().tolist() == [1, 1]
    share = left_top(side.forward, 3, seed=0)
    assert share.value == 0.25 and share.low <= 0.25 <= share.high and share.n == 2


def test_noise_is_as_large_as_the_change_everywhere() -> None:
    clean = np.full((9, 11, 3), 120, np.uint8)
    protected = clean.copy()
    protected[2, 3, 1] = 113
    noisy = noise_like(clean, protected, seed=1, name="a.png")
    delta = noisy.astype(int) - clean
    assert largest_change(clean, protected) == 7 and set(np.unique(delta)) == {-7, 7} and abs(delta.mean()) < 2
    assert np.array_equal(noisy, noise_like(clean, protected, seed=1, name="a.png"))
    for other in (
        noise_like(clean, protected, seed=2, name="a.png"),
        noise_like(clean, protected, seed=1, name="b.png"),
    ):
        assert not np.array_equal(noisy, other)
    edge = noise_like(np.zeros((4, 4), np.uint8), np.full((4, 4), 200, np.uint8), seed=0, name="x")
    assert set(np.unique(edge)) == {0, 200}, "clipped, never wrapped"
    with pytest.raises(RequestError, match="must have the shape of its original"):
        noise_like(clean, protected[:3], seed=0, name="x")


def test_the_worst_protected_stand_first() -> None:
    originals = pack(BITS)
    strong = measure_side(originals, pack(1 - BITS), np.arange(4), np.arange(4))
    weak = measure_side(originals, pack(BITS), np.arange(4), np.arange(4))
    mixed = measure_side(originals, pack(np.vstack([1 - BITS[:1], BITS[1:]])), np.arange(4), np.arange(4))
    assert worst_first([mixed], [4], 1).tolist() == [1, 2, 3, 0]
    assert worst_first([strong, mixed], [4, 4], 1).tolist() == [1, 2, 3, 0], "the matcher that finds it best counts"
    assert worst_first([strong, weak], [4, 4], 1).tolist() == [0, 1, 2, 3]
    with pytest.raises(RequestError, match="at least one matcher"):
        worst_first([], [], 1)


def test_which_cards_are_shown() -> None:
    order = np.arange(10)[::-1]
    assert choose_cards(order, 10) == (order.tolist(), []) and choose_cards(order, 0) == ([], [])
    assert choose_cards(order, 4) == ([9, 8], [7, 0]) and choose_cards(order, 1) == ([9], [])
    assert choose_cards(order, 2) == ([9], [0])
    worst, spread = choose_cards(order, 7)
    assert worst == [9, 8, 7, 6] and spread[0] == 5 and spread[-1] == 0 and len(set(worst + spread)) == 7
    with pytest.raises(RequestError, match="cards must be at least 0"):
        choose_cards(order, -1)


def test_the_difference_around_gray() -> None:
    clean, moved = np.array([[[100, 100, 100]]], np.uint8), np.array([[[100, 104, 60]]], np.uint8)
    assert amplify(clean, moved, 5).tolist() == [[[128, 148, 0]]]


@pytest.fixture
def folders(tmp_path: Path) -> Pairing:
    """Twelve originals, the first of them gray; copies of ten, one of them the original itself; two originals alone."""
    pairs = []
    for number in range(10):
        original, copy = tmp_path / f"{number}.png", tmp_path / f"{number}-p.png"
        clean = picture(number, color=number > 0)
        shift = 0 if number == 3 else 30
        encode(clean, original)
        encode(
            np.clip(clean.astype(int) + np.where(np.indices(clean.shape)[1] % 2, shift, -shift), 0, 255).astype(
                np.uint8
            ),
            copy,
        )
        pairs.append(Pair(original.name, original, copy))
    alone = {}
    for number in (10, 11):
        encode(picture(number), tmp_path / f"{number}.png")
        alone[f"{number}.png"] = tmp_path / f"{number}.png"
    return Pairing(pairs, alone, ["one without a partner"])


def test_a_run_is_the_literal_measurement(folders: Pairing) -> None:
    tried = [matcher(), matcher("gray", 1, channels=1, bits=9)]
    ticks: list[tuple[int, int]] = []
    found = measure_effect(folders, tried, views=("jpeg:60", "crop:21"), seed=4, progress=lambda *t: ticks.append(t))
    assert ticks[-1] == (12, 12) and found.database == 12 and found.problems == ["one without a partner"]
    assert [pair.name for pair in found.pairs] == sorted(pair.name for pair in folders.pairs)
    assert "crop:21" not in found.sides[0] and found.notes == ["crop:21 does not fit into 10 of 10 pictures"]
    names = sorted([*(pair.name for pair in folders.pairs), *folders.alone])
    places = {**folders.alone, **{pair.name: pair.original for pair in folders.pairs}}
    from hamguard.images.named_views import parse_view
    from hamguard.images.views import fit_to

    for one, sides in zip(tried, found.sides, strict=True):

        def code(image: np.ndarray, one: Matcher = one) -> np.ndarray:
            small = fit_to(as_channels(image, gray=one.model.channels == 1), (16, 16), "crop")
            return codes_of(small[None], one.model)[0]

        database = np.stack([code(decode(places[name])) for name in names])
        for number, pair in enumerate(found.pairs):
            clean, copy = decode(pair.original), decode(pair.protected)
            kinds = {
                ORIGINAL: clean, SAVED: copy, "jpeg:60": parse_view("jpeg:60")(copy),
                NOISE: noise_like(clean, copy, seed=4, name=pair.name),
            }  # fmt: skip
            for kind, image in kinds.items():
                dist = np.bitwise_count(code(image) ^ database).sum(1)
                own = dist[names.index(pair.name)]
                assert sides[kind].bits_moved[number] == own, (kind, pair.name)
                assert sides[kind].forward.expected()[number] == (dist < own).sum() + ((dist == own).sum() + 1) / 2
            assert set(sides) == set(kinds)
            look, told = found.looks[number], measure_distortion(clean[None], copy[None])
            assert (look.rmse, look.ssim, look.levels) == (told.rmse[0], told.ssim[0], round(told.linf[0] * 255))
            expected = measure_distortion(clean[None], kinds[NOISE][None]).rmse[0]
            assert look.noise_rmse == pytest.approx(expected)
    same = [pair.name for pair in found.pairs].index("3.png")
    assert found.sides[0][SAVED].bits_moved[same] == 0 and np.isinf(found.looks[same].psnr)


def summary_of(found: Measured, protection: Protection) -> tuple[list[str], list[dict[str, object]]]:
    lines = summary_lines(found, 3, 0)
    rows = effect_rows(found, lines, protection, dataset="in", top=3, seed=0)
    return plain_words(found, lines, protection, top=3, seed=0), [json.loads(row.json()) for row in rows]


def test_rows_objects_and_words(folders: Pairing, tmp_path: Path) -> None:
    tried = [matcher("a", seen="surrogate"), matcher("b", 1)]
    found = measure_effect(folders, tried, views=("jpeg:60",))
    protection = Protection(True, "photos", "p1", 30 / 255, frozenset(), frozenset(), {})
    words, rows = summary_of(found, protection)
    objects = file_objects(found, 3)
    json.dumps(objects, allow_nan=False)
    assert objects[3]["file"] == "3.png" and objects[3]["psnr"] is None and objects[3]["largest_change"] == 0
    for number, name in enumerate("ab"):
        copies = [one["matchers"][number]["copies"][SAVED] for one in objects]
        told = [
            r
            for r in rows
            if r["model"] == name and r["metric"] == "left top" and (r["attack"] or {}).get("method") == "protect"
        ]
        saved = [row for row in told if row["attack"]["view"] is None]  # type: ignore[index]
        assert [row["task"] for row in saved] == ["protected->original", "original->protected"]
        assert saved[0]["value"] == pytest.approx(np.mean([1 - copy["in_top"] for copy in copies]), abs=1e-6)
        assert saved[1]["value"] == pytest.approx(np.mean([1 - copy["reverse_in_top"] for copy in copies]), abs=1e-6)
        assert saved[0]["at"] == 3 and saved[0]["threat"] == {"norm": "linf", "eps": 30 / 255}
        assert saved[0]["hashes"] == {"protector": "p1", "model": tried[number].model.digest}
        noise = [row for row in rows if row["model"] == name and (row["attack"] or {}).get("method") == "noise"]  # type: ignore[attr-defined]
        assert [row["task"] for row in noise] == ["noise->original", "original->noise", "query"] and noise[0][
            "threat"
        ] is None
    looks = look_shares(found, 0)
    assert looks["psnr"] is not None and looks["psnr"].n == 9, "an unchanged file has no ratio"
    assert words[0] == "10 pictures were compared with their protected copies; 12 originals are searched."
    assert words[1] == "1 file could not be compared; see the list of problems."
    assert words[2].startswith("b (never seen): searching with a protected file") and words[3].startswith(
        "a (surrogate)"
    )
    assert words[4].startswith("What counts are the matchers that the protector never saw: b.")
    assert "picked by lot, the first 3 of 12 answers hold the original for 25%" in words[5]
    lines = summary_lines(found, 12, 0)
    assert any("nothing can leave the first 12" in one for one in plain_words(found, lines, protection, top=12, seed=0))
    judged = [one["matchers"][1]["copies"][SAVED] for one in objects]  # of b, which was never seen
    order = sorted(range(10), key=lambda i: (-judged[i]["in_top"], judged[i]["rank"], judged[i]["bits_moved"]))
    assert protection_order(found, 3).tolist() == order
    assert common_factor(found, [3]) == 64 and common_factor(found, range(10)) == 4
    shown = card_pictures(found, 0, 4)  # a gray one
    assert [decode(one.jpeg).shape for one in shown.trio] == [(20, 24, 3)] * 3 and shown.parts == []
    again = measure_effect(folders, [matcher("a", seen="surrogate")], views=("jpeg:60",), noise=False)
    assert NOISE not in again.sides[0] and again.looks[0].noise_rmse is None
    assert np.array_equal(again.sides[0]["jpeg:60"].bits_moved, found.sides[0]["jpeg:60"].bits_moved)
    assert (
        "The protector saw every matcher that was tried here, or a relative of it, so these figures are optimistic"
        in " ".join(summary_of(again, protection)[0])
    )
    assert "There is no protect.json" in " ".join(summary_of(again, read_protection(tmp_path))[0])


def test_broken_files_are_named_and_the_rest_is_done(folders: Pairing) -> None:
    whole = measure_effect(folders, [matcher()], views=())
    content = folders.pairs[1].protected.read_bytes()
    folders.pairs[1].protected.write_bytes(content[: len(content) // 2])
    folders.pairs[2].original.write_text("no picture")
    encode(picture(0, 10, 10), folders.pairs[4].protected)
    found = measure_effect(folders, [matcher()], views=())
    assert [pair.name for pair in found.pairs] == [f"{n}.png" for n in (0, 3, 5, 6, 7, 8, 9)]
    assert found.database == 11, "a good original is searched though its copy is broken"
    told = ("without a partner", "is truncated", "is not a picture", "10 x 10 pixels, its original 24 x 20")
    assert all(message in line for message, line in zip(told, found.problems, strict=True)), found.problems
    kept = [0, 3, 5, 6, 7, 8, 9]
    assert np.array_equal(found.sides[0][SAVED].bits_moved, whole.sides[0][SAVED].bits_moved[kept])


def test_what_is_refused(folders: Pairing) -> None:
    with pytest.raises(RequestError, match="at least one matcher"):
        measure_effect(folders, [])
    with pytest.raises(RequestError, match="view jpeg:60 is named twice"):
        measure_effect(folders, [matcher()], views=("jpeg:60", "jpeg:60"))
    with pytest.raises(RequestError, match="unknown view"):
        measure_effect(folders, [matcher()], views=("zoom:2",))
    with pytest.raises(RequestError, match="top must be at least 1"):
        summary_lines(measure_effect(folders, [matcher()], views=()), 0, 0)
    broken = Pairing([Pair("x.png", NO_FILE / "x.png", NO_FILE / "y.png")], {}, [])
    with pytest.raises(RunError, match=r"none of 1 pairs could be compared: .*x\.png does not exist"):
        measure_effect(broken, [matcher()])


def test_a_file_that_changed_meanwhile_has_no_card(folders: Pairing) -> None:
    found = measure_effect(folders, [matcher()], views=())
    encode(picture(0, 10, 10), folders.pairs[0].protected)
    with pytest.raises(RequestError, match="changed while it was measured"):
        card_pictures(found, 0, 4)
