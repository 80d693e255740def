"""Parties that adapt to protected photos, before searches that the protector never saw: what docs/protect.md prints.

    uv run python benchmarks/protect_parties.py --work DIR [--protector P] [--photos 100] [--strong 20] [--pairs 2000] [--out F]

Photos are those of `protect.py`. A party has found a protected copy of each, or several, and looks for the original by 64-bit
codes, among the 6,500 reference photos of the panel and the other originals. It may

* average copies at hand: JPEG files of one copy; copies that were made one by one at four sizes, as a site that protects what it
  serves makes them; copies of `--strong` of three seeds;
* clean what it found: filters, JPEG, shrinking, SciPy's Wiener filter with the size of the noise, and a network that learned from
  pairs that the party made of its own photos with the public protector;
* know the protector: put what it would make of the originals into its data base, too, as items of their own or under the same
  item; subtract the mean change of pairs; or undo it, y <- z - eps G(y) from y = z;
* train on pairs: its ITQ head on protected photos, on both, or on both where directions in which pairs differ count little.

Pairs are of photos of coco18's training part, which are among the reference photos. Beside each party stands a control: the
original itself, treated alike. Rows have the party's name as `defense`; those of model `mean` are means over searches, photo by
photo, and those of `mean by ITQ` over searches by ITQ, with which own heads compare.
Needs HAMGUARD_DATA; features of the reference photos are kept in the cache.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from parties import BOTH, USUAL, Cleaning, Found, Head, codes, looks, lost_of, whitened
from protect import RESULTS, TOP, contents_of, measured_photos, write_photos
from torch import Tensor

import hamguard as hg
from hamguard.codes.binary import hamming
from hamguard.core.files import updating
from hamguard.core.rows import Row, write_rows
from hamguard.core.types import Array, Bytes, Floats
from hamguard.data.sources import open_source
from hamguard.hashing.unsupervised import fit_itq
from hamguard.images.io import decode, encode_bytes
from hamguard.images.views import jpeg_image, resize_image
from hamguard.models.encode import pixels_of
from hamguard.models.hash_model import HashModel
from hamguard.models.protector import Protector
from hamguard.models.protector_store import load_protector
from hamguard.privacy.effect import Matcher, as_channels, for_matcher
from hamguard.privacy.effect_card import mean_share
from hamguard.privacy.pairs import protection_of
from hamguard.privacy.panel_check import choose_panel, open_panel, spread
from hamguard.training.features import frozen_features
from hamguard.training.loop import fit
from hamguard.training.recipe import Recipe

SIZES = (1.0, 0.85, 0.7, 0.55)  # of the copies of a site
SMALLER = 0.75  # size at which a copy was made that the party's own is not
SEEDS = 3
AT_ONCE, PAIRS_LEARNED = 32, 600
CLEANER = Recipe(epochs=8, batch_size=8, lr=1e-3, schedule="cosine")


class Searches:
    """Matchers, and what their networks make of pictures."""

    def __init__(self, matchers: Sequence[Matcher]) -> None:
        self.matchers = list(matchers)
        self.networks: dict[str, Matcher] = {}
        for matcher in matchers:
            self.networks.setdefault(_network(matcher), matcher)

    @torch.no_grad()
    def features(self, pictures: Sequence[Bytes]) -> dict[str, Tensor]:
        """For each network `(n, D)`."""
        found: dict[str, Tensor] = {}
        for name, matcher in self.networks.items():
            small = [for_matcher(one, matcher) for one in pictures]
            parts = [np.stack(small[i : i + AT_ONCE]) for i in range(0, len(small), AT_ONCE)]
            found[name] = torch.cat([_model(matcher).trunk_of(pixels_of(part)) for part in parts])
        return found


def _model(matcher: Matcher) -> HashModel:
    assert isinstance(matcher.model, HashModel)
    return matcher.model


def _network(matcher: Matcher) -> str:
    return _model(matcher).name


class Public:
    """What a party makes of its own photos with the public protector.

    Args:
        contents: JPEG files of its photos.
        protector: folder or name.
        searches: whose networks see both.
    """

    def __init__(self, contents: Sequence[bytes], protector: str, searches: Searches) -> None:
        self.pixels: list[tuple[Bytes, Bytes]] = []  # of the first ones, which are in work again
        parts: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []
        for start in range(0, len(contents), AT_ONCE):
            pairs = [(opened(one), protected(one, protector)) for one in contents[start : start + AT_ONCE]]
            self.pixels += pairs[: max(0, PAIRS_LEARNED - len(self.pixels))]
            clean, copies = (searches.features([pair[side] for pair in pairs]) for side in (0, 1))
            parts.append((clean, copies))
        self.clean, self.copies = (
            {name: torch.cat([part[side][name] for part in parts]) for name in searches.networks} for side in (0, 1)
        )


def opened(content: bytes) -> Bytes:
    """The picture of a file, in color."""
    return as_channels(decode(content, name="photo"), gray=False)


def protected(content: bytes, protector: str) -> Bytes:
    """The protected copy of a file, in color."""
    return opened(hg.protect_image(content, protector=protector, format="png"))


def at_sizes(content: bytes, protector: str | None, sizes: Sequence[float] = SIZES) -> tuple[Bytes, ...]:
    """Copies of a photo that was made smaller first, each protected by itself (None: not), brought back to the photo's size."""
    photo, found = opened(content), []
    for share in sizes:
        H, W = (round(share * side) for side in photo.shape[:2])
        small = encode_bytes(resize_image(photo, (H, W)), "png")
        copy = opened(small) if protector is None else protected(small, protector)
        found.append(resize_image(copy, (photo.shape[0], photo.shape[1])))
    return tuple(found)


def strong_copies(contents: Mapping[int, bytes], work: Path, protector: str) -> list[Found]:
    """Copies of `--strong` of several seeds."""
    source = work / f"strong-{len(contents)}"
    write_photos(source, contents)
    for seed in range(SEEDS):
        out = work / f"strong-{len(contents)}-{seed}"
        hg.protect(source, out, protector=protector, strong=True, check=0, context=hg.Context(seed=seed))
    found = []
    for row in contents:
        copies = [work / f"strong-{len(contents)}-{seed}" / f"{row:04d}.png" for seed in range(SEEDS)]
        pixels = tuple(as_channels(decode(path), gray=False) for path in copies)
        found.append(Found(pixels[0], seeds=pixels))
    return found


@dataclass(frozen=True)
class Source:
    """Pictures that parties have found.

    Attributes:
        index: numbers of their photos, `(m,)`.
        found: what parties have of each.
        attack: what rows say of them; None for the originals.
    """

    index: Array
    found: list[Found]
    attack: dict[str, Any] | None


def sources_of(contents: Mapping[int, bytes], strong: int, work: Path, protector: str) -> dict[str, Source]:
    """The originals, and their copies: as saved, after JPEG, made smaller, and of `--strong` some."""
    files, every = list(contents.values()), np.arange(len(contents))
    one_pass = {"method": "protect", "protector": "one-pass", "view": None}
    copies = [protected(one, protector) for one in files]
    found = {
        "clean": Source(every, [Found(opened(one), at_sizes(one, None)) for one in files], None),
        "saved": Source(
            every, [Found(one, at_sizes(file, protector)) for one, file in zip(copies, files, strict=True)], one_pass
        ),
        "jpeg": Source(every, [Found(jpeg_image(one, 85)) for one in copies], {**one_pass, "view": "jpeg:85"}),
        "smaller": Source(
            every, [Found(at_sizes(one, protector, (SMALLER,))[0]) for one in files], {**one_pass, "made_at": SMALLER}
        ),
    }
    some = np.array(spread(strong, len(files)))
    if strong:
        rows = np.array(list(contents))[some].tolist()
        refined = strong_copies({row: contents[row] for row in rows}, work, protector)
        found["strong"] = Source(some, refined, {**one_pass, "protector": "strong"})
    return found


class Study:
    """Rows of all parties.

    Args:
        searches: the searches.
        originals: photos that are looked for.
        references: features of the reference photos, for each network `(N, D)`.
        public: what parties make of their own photos.
        places: row of each of these among the reference photos.
        base: what all rows share.
    """

    def __init__(
        self,
        searches: Searches,
        originals: Sequence[Bytes],
        references: dict[str, Tensor],
        public: Public,
        places: Array,
        base: Row,
    ) -> None:
        self.searches, self.references, self.public, self.places, self.base = searches, references, public, places, base
        self.own = searches.features(originals)
        self.rows: list[Row] = []

    def search(
        self,
        party: str,
        source: Source,
        asked: dict[str, Tensor],
        *,
        heads: Mapping[str, Head] | None = None,
        also: dict[str, Tensor] | None = None,
    ) -> None:
        """A party that searches clean photos.

        Args:
            party: what it is called.
            source: what it has found.
            asked: features of what it searches with, for each network.
            heads: of its own for each network, in place of the panel's.
            also: features of another picture, which it searches with, too; the smaller distance counts.
        """
        lost = {}
        for matcher, head in self._heads(heads):
            name = _network(matcher)
            database = codes(head, torch.cat([self.own[name], self.references[name]]))
            dist = hamming(codes(head, asked[name]), database)
            if also is not None:
                dist = np.minimum(dist, hamming(codes(head, also[name]), database))
            lost[matcher.name] = lost_of(dist, source.index)
        self._add(party, source, lost)

    def search_both(self, source: Source, asked: dict[str, Tensor], copies: dict[str, Tensor]) -> None:
        """Parties whose data base has protected copies that they made themselves: as items of their own, or under the same item."""
        lost: dict[str, dict[str, Floats]] = {"copies in the data base": {}, "smaller of both distances": {}}
        for matcher, head in self._heads(None):
            name, n = _network(matcher), len(source.index)
            query, at = codes(head, asked[name]), source.index
            clean = hamming(query, codes(head, torch.cat([self.own[name], self.references[name]])))  # (m, n + N)
            made = hamming(query, codes(head, torch.cat([copies[name], self.public.copies[name]])))  # (m, n + M)
            rows, every = np.arange(n), np.concatenate([clean, made], 1)
            place = np.where(made[rows, at] < clean[rows, at], clean.shape[1] + at, at)
            lost["copies in the data base"][matcher.name] = lost_of(every, place)
            both, photos = clean.copy(), len(copies[name])
            where = np.concatenate([np.arange(photos), photos + self.places])
            both[:, where] = np.minimum(both[:, where], made)
            lost["smaller of both distances"][matcher.name] = lost_of(both, at)
        for party, found in lost.items():
            self._add(party, source, found)

    def _heads(self, heads: Mapping[str, Head] | None) -> list[tuple[Matcher, Head]]:
        if heads is None:
            return [(matcher, _model(matcher).tail) for matcher in self.searches.matchers]
        return [(replace(m, name=f"{name}, own head"), heads[name]) for name, m in self.searches.networks.items()]

    def _add(self, party: str, source: Source, lost: Mapping[str, Floats]) -> None:
        """A row for each search, and one for their mean; for those by ITQ another, with which own heads compare."""
        groups = {**lost, "mean": np.mean(list(lost.values()), 0)}
        if by_itq := [one for name, one in lost.items() if name.endswith("-itq")]:
            groups["mean by ITQ"] = np.mean(by_itq, 0)
        for name, values in groups.items():
            share = mean_share(values, seed=0)
            clean = source.attack is None
            self.rows.append(
                replace(
                    self.base, model=name, attack=source.attack, threat=None if clean else self.base.threat,
                    defense=None if party == USUAL else {"method": party}, value=share.value, ci95=(share.low, share.high),
                    n=share.n, task="original->original" if clean else "protected->original",
                )
            )  # fmt: skip
        sys.stderr.write(f"{party}; {source.attack}: {100 * float(np.mean(list(lost.values()))):.0f}%\n")


def main() -> None:
    """Find, treat, search, write rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--protector", default="photos")
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument(
        "--strong", type=int, default=20, help="of these photos, which --strong works on, by several seeds"
    )
    parser.add_argument("--pairs", type=int, default=2000, help="photos that a party protects to learn from")
    parser.add_argument("--out", type=Path, default=RESULTS / "protect_parties.jsonl")
    ask = parser.parse_args()
    net, card = load_protector(ask.protector)
    told = {"protector": {"name": Path(ask.protector).name, "hash": card.weights_hash}, "surrogates": card.surrogates}
    saw = protection_of({**told, "networks": card.learned_networks}).saw
    dataset, split = open_source("coco18")
    matchers = open_panel(choose_panel(saw).quick, saw)
    searches = Searches([one for one in matchers if tuple(one.model.size) == tuple(dataset.images.size)])
    references = {
        name: frozen_features(_model(one), dataset.images, split.database) for name, one in searches.networks.items()
    }
    at = np.array(spread(ask.pairs, len(split.train)))
    own = contents_of(0, lambda rows: rows[at])
    public = Public(list(own.values()), ask.protector, searches)
    places = np.searchsorted(split.database, split.train[at])
    cleaner = Protector(3, "small", card.eps)
    run = f"{card.weights_hash}-{ask.pairs}"
    fit(Cleaning(cleaner, public.pixels), CLEANER, seed=0, folder=ask.work / "cleaner", run=run)
    contents = measured_photos(ask.photos)
    sources = sources_of(contents, ask.strong, ask.work, ask.protector)
    photos = [one.one for one in sources["clean"].found]
    notes = (f"{len(searches.matchers)} searches never seen", f"{ask.pairs} pairs of the party's own photos")
    threat = {"norm": "linf", "eps": card.eps}
    base = Row(
        dataset="coco18 photos", bits=64, threat=threat, metric="left top", at=TOP, ties="expected", seed=0,
        hashes={"protector": card.weights_hash}, notes=notes,
    )  # fmt: skip
    study = Study(searches, photos, references, public, places, base)
    usual: dict[str, dict[str, Tensor]] = {}
    for party, look in looks(net, card.side, card.eps, public.pixels, cleaner).items():
        for name, source in sources.items():
            seen = [look(one) for one in source.found]
            if any(one is None for one in seen):
                continue
            asked = searches.features([one for one in seen if one is not None])
            if party == USUAL:
                usual[name] = asked
            study.search(party, source, asked)
            if party in BOTH:
                study.search(f"{party}, and as found", source, asked, also=usual[name])
    for name, source in sources.items():
        study.search_both(source, usual[name], usual["saved"])
    heads: dict[str, dict[str, Head]] = {
        "head on protected photos": {n: fit_itq(public.copies[n], 64, 0) for n in searches.networks},
        "head on both": {n: fit_itq(torch.cat([public.clean[n], public.copies[n]]), 64, 0) for n in searches.networks},
        "head on pairs": {n: whitened(public.clean[n], public.copies[n], 64) for n in searches.networks},
    }
    for name, source in sources.items():
        for party, own_heads in heads.items():
            study.search(party, source, usual[name], heads=own_heads)
    with updating(ask.out.parent):
        write_rows(ask.out, study.rows)


if __name__ == "__main__":
    main()
