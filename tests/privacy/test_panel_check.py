"""What a protector met, which searches count, shared networks, and how many originals of a sample are still found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hamguard.codes.binary import hamming
from hamguard.core.digests import digest_content
from hamguard.images.io import decode
from hamguard.models.encode import codes_of
from hamguard.models.hash_model import HashModel
from hamguard.models.panel import Figure, panel_entry, read_panel
from hamguard.privacy import panel_check
from hamguard.privacy.pairs import NEVER_SEEN, Pair, protection_of
from hamguard.privacy.panel_check import Checked, check_copies, check_words, choose_panel, open_panel, spread
from hamguard.privacy.trunks import codes_together, share_trunk
from tests.panels import MATCHERS, REFERENCE, tiny_panel
from tests.privacy.helpers import write


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, HashModel]:
    return tiny_panel(tmp_path / "panel", monkeypatch)


def pairs_of(folder: Path, count: int, strength: int) -> list[Pair]:
    """Pictures and copies that differ by so much."""
    found = []
    for number in range(count):
        original = write(folder / "in" / f"{number}.png", 24, 24, seed=number)
        clean = np.asarray(Image.open(original)).astype(int)
        moved = np.clip(clean + strength * np.random.default_rng(number).choice([-1, 1], clean.shape), 0, 255)
        copy = folder / "out" / f"{number}.png"
        copy.parent.mkdir(exist_ok=True)
        Image.fromarray(moved.astype(np.uint8)).save(copy)
        found.append(Pair(original.name, original, copy, digest_content(copy.read_bytes())))
    return found


def test_marks_follow_hashes_networks_and_families() -> None:
    told = {
        "surrogate": ["s"],
        "networks": ["squeezenet1_0", "resnet20+64"],
        "matchers": [{"name": "x", "hash": "e", "network": "efficientnet_lite1"}],
    }
    saw = protection_of(told).saw
    assert saw("e", "conv2") == saw("new", "efficientnet_lite1") == "in the ensemble"
    assert saw("s", "conv2") == saw("new", "squeezenet1_0") == saw("new", "resnet20") == "surrogate"
    assert saw("new", "squeezenet1_1") == saw("new", "resnet56") == saw("new", "efficientnet_lite2") == "same family"
    assert saw("new", "alexnet_st") == saw("new", "resnet50") == saw("new") == NEVER_SEEN


def test_of_each_family_the_first_network_is_quick(made: dict[str, HashModel]) -> None:
    choice = choose_panel(lambda digest, network: NEVER_SEEN)
    assert [one.name for one in choice.quick] == [name for name, _, _ in MATCHERS] and not choice.missing
    met = made["small-lsh"].digest
    choice = choose_panel(lambda digest, network: "surrogate" if digest == met else NEVER_SEEN)
    assert [one.name for one in choice.unseen] == ["small-itq", "deep-itq"]


def test_searches_that_noise_fools_are_not_asked(made: dict[str, HashModel], monkeypatch: pytest.MonkeyPatch) -> None:
    before = [one.name for one in choose_panel(lambda digest, network: NEVER_SEEN).quick]
    fooled = [
        one.model_copy(update={"noise": Figure(value=0.4 if one.name == before[0] else 0.6)}) for one in read_panel()
    ]
    monkeypatch.setattr(panel_check, "read_panel", lambda: fooled)
    choice = choose_panel(lambda digest, network: NEVER_SEEN)
    assert before[0] in [one.name for one in choice.unseen] and before[0] not in [one.name for one in choice.quick]


def test_shared_networks_give_the_same_codes(made: dict[str, HashModel]) -> None:
    known: dict[str, HashModel] = {}
    models = [share_trunk(model, known) for model in made.values()]
    assert models[0].trunk is models[1].trunk and models[1].trunk is not models[2].trunk
    seen: list[int] = []
    models[0].trunk.register_forward_hook(lambda *_: seen.append(1))
    pictures = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    together = codes_together([pictures] * 3, models)
    assert len(seen) == 1, "one look for two heads"
    for codes, model in zip(together, models, strict=True):
        assert np.array_equal(codes, codes_of(pictures, model))


def test_what_is_found_is_what_brute_force_finds(made: dict[str, HashModel], tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path, 6, 90)
    checked = check_copies(pairs, lambda digest, network: NEVER_SEEN, top=3)
    assert checked.photos == 6 and checked.searched == 6 + REFERENCE and set(checked.found) == set(made)
    by_any = np.zeros(6, bool)
    for matcher in open_panel([panel_entry(name) for name in made], lambda digest, network: NEVER_SEEN):
        small = [
            np.stack([_small(one) for one in side])
            for side in ([p.original for p in pairs], [p.protected for p in pairs])
        ]
        originals, copies = (codes_of(one, matcher.model) for one in small)
        assert matcher.reference is not None
        dist = hamming(copies, np.concatenate([originals, matcher.reference]))
        own = dist[np.arange(6), np.arange(6)][:, None]
        share = np.clip((3 - (dist < own).sum(1)) / (dist == own).sum(1), 0, 1)
        assert checked.found[matcher.name.removeprefix("panel:")] == (share >= 0.5).sum()
        by_any |= share >= 0.5
    assert checked.found_by_any == by_any.sum() and checked.worst is not None


def _small(path: Path) -> np.ndarray:
    from hamguard.images.views import fit_to

    return fit_to(decode(path), (16, 16), "crop")


def test_the_original_itself_is_always_found(made: dict[str, HashModel], tmp_path: Path) -> None:
    pairs = [Pair(one.name, one.original, one.original) for one in pairs_of(tmp_path, 5, 0)]
    checked = check_copies(pairs, lambda digest, network: NEVER_SEEN)
    assert set(checked.found.values()) == {5} and checked.found_by_any == 5


def test_copies_that_are_not_as_written_do_not_count(made: dict[str, HashModel], tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path, 4, 20)
    pairs[0].protected.write_bytes(b"no picture")
    write(pairs[1].protected, 24, 24, seed=9)
    checked = check_copies(pairs, lambda digest, network: NEVER_SEEN)
    assert checked.photos == 2
    assert check_copies(pairs[:2], lambda digest, network: NEVER_SEEN).photos == 0


def test_words_say_what_a_person_needs() -> None:
    first, second = check_words(Checked(24, 10, 6524, {"a-itq": 8, "b-lsh": 1, "c": 0}, 9))
    assert first == (
        "Of 24 photos tried, 9 are still found by at least one of 3 searches that the protector never saw "
        "(mean over searches: 3; worst: a-itq 8 of 24)."
    )
    assert second.startswith(
        "Found means among the first 10 answers of a search among 6,524 pictures. Not tried: other networks"
    )
    (one, _) = check_words(Checked(1, 10, 6501, {"a": 1}, 1))
    assert one == "Of 1 photo tried, 1 is still found by the search that the protector never saw."
    none, unknown = check_words(Checked(0, 10, 0, {}, 0, ("a", "b"), ("c",)))
    assert none.startswith("How many photos are still found was not measured: the protector met all searches")
    assert "not here: c (hamguard panel says what to install)" in none and "may still find these photos" in unknown


def test_a_sample_is_spread_over_the_folder() -> None:
    assert spread(24, 1000)[0] == 0 and spread(24, 1000)[-1] == 999 and len(spread(24, 1000)) == 24
    assert spread(24, 3) == [0, 1, 2] and len(set(spread(7, 8))) == 7
