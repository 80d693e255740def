"""Proof of effect: originals and protected copies through matchers, one pair after the other, and what is kept of them.

A pair's pictures are decoded, changed, brought to each matcher's size and encoded, and then forgotten: memory holds codes and
figures alone, whatever the number of pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image

from hamguard.core.digests import digest_content
from hamguard.core.errors import ImageError, RequestError, RunError
from hamguard.core.types import Bytes
from hamguard.images.distortion import measure_distortion
from hamguard.images.io import decode, read_file
from hamguard.images.named_views import parse_view
from hamguard.images.views import fit_to
from hamguard.models.store import AnyModel, Card
from hamguard.privacy.effect_card import Side, largest_change, measure_side, noise_like
from hamguard.privacy.pairs import Pair, Pairing
from hamguard.privacy.trunks import codes_together

ORIGINAL, SAVED, NOISE = "original", "as saved", "noise"
DEFAULT_VIEWS = ("jpeg:85", "jpeg:75", "resize:0.5")


@dataclass(frozen=True)
class Matcher:
    """A search that the copies must escape.

    Attributes:
        name: as it was given.
        model: the network.
        card: its card, None for foreign models.
        seen: what the protector knew of it, see `Protection.saw`.
        reference: packed codes of further photos that are searched beside the originals, `(n, bytes)`; None for none.
    """

    name: str
    model: AnyModel
    card: Card | None
    seen: str
    reference: Bytes | None = None


@dataclass(frozen=True)
class Look:
    """How one protected copy looks beside its original; values in [0, 1] but for the levels.

    Attributes:
        height, width: of both, in pixels.
        rmse, ssim, psnr: see `Distortion`; `ssim` is NaN for tiny pictures, `psnr` infinite where nothing changed.
        changed: share of values that differ.
        levels: largest change of a value, 0 to 255.
        noise_rmse: RMSE of the noise control; None without it.
    """

    height: int
    width: int
    rmse: float
    ssim: float
    psnr: float
    changed: float
    levels: int
    noise_rmse: float | None


@dataclass
class Codes:
    """What is kept of the pictures for one matcher: packed codes, filled picture by picture."""

    originals: list[Bytes] = field(default_factory=list)
    copies: dict[str, list[Bytes]] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """All figures of a run.

    Attributes:
        pairs: those that were compared.
        looks: of each.
        matchers: the searches.
        sides: for each matcher, kind of copy to its figures: `original`, `as saved`, `noise` and the views.
        database: number of originals that are searched.
        problems: one line a file that could not be compared.
        notes: what else a reader must know.
    """

    pairs: list[Pair]
    looks: list[Look]
    matchers: list[Matcher]
    sides: list[dict[str, Side]]
    database: int
    problems: list[str]
    notes: list[str]

    def searched(self, number: int) -> int:
        """Pictures that a matcher searches: the originals, and the reference photos that come with it."""
        reference = self.matchers[number].reference
        return self.database + (0 if reference is None else len(reference))


def measure_effect(
    pairing: Pairing,
    matchers: Sequence[Matcher],
    *,
    views: Sequence[str] = DEFAULT_VIEWS,
    noise: bool = True,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Measured:
    """Compare every protected copy with its original through every matcher.

    Args:
        pairing: the files.
        matchers: the searches, at least one.
        views: what happens to a protected file afterwards, see `images.named_views.parse_view`.
        noise: measure noise of the same size, too.
        seed: seed of that noise.
        device: where the models are.
        progress: told how many pictures are done, and of how many.

    Raises:
        RequestError: no matcher, an unknown view, or one that is named twice.
        RunError: not a single pair could be compared; the first reason is said.
    """
    if not matchers:
        raise RequestError("a proof of effect needs at least one matcher")
    twice = [view for view, count in Counter(views).items() if count > 1]
    if twice:
        raise RequestError(f"view {twice[0]} is named twice")
    run = _Run(list(matchers), {view: parse_view(view) for view in views}, noise, seed, device)
    by_name = {pair.name: pair for pair in pairing.pairs}
    names = sorted([*by_name, *pairing.alone])
    for number, name in enumerate(names, 1):
        try:
            if name in by_name:
                run.take(by_name[name])
            else:
                run.search_among(decode(pairing.alone[name]))
        except ImageError as error:
            if name in by_name:  # that a file has no partner is said already, and no file counts twice
                run.problems.append(str(error))
        if progress:
            progress(number, len(names))
    if not run.pairs:
        raise RunError(f"none of {len(pairing.pairs)} pairs could be compared: {run.problems[0]}")
    return run.finish(pairing)


class _Run:
    """One pass over the pictures."""

    def __init__(
        self,
        matchers: list[Matcher],
        views: dict[str, Callable[[Bytes], Bytes]],
        noise: bool,
        seed: int,
        device: torch.device | str,
    ) -> None:
        self.matchers, self.views, self.noise, self.seed, self.device = matchers, views, noise, seed, device
        self.pairs: list[Pair] = []
        self.looks: list[Look] = []
        self.problems: list[str] = []
        self.codes = [Codes() for _ in matchers]
        self.place: list[int] = []  # row of each pair's original among all originals
        self.having: dict[str, list[int]] = {}  # kind of copy to the pairs that have one
        self.unfit: Counter[str] = Counter()

    def search_among(self, original: Bytes) -> None:
        """An original that is searched, but has no copy."""
        self._encode({ORIGINAL: original})

    def take(self, pair: Pair) -> None:
        """A pair.

        Raises:
            ImageError: one of its files is broken, the copy is not the one that protect wrote, or their sizes differ; a good
                original is searched all the same.
        """
        original = decode(pair.original)
        try:
            content = read_file(pair.protected)
            if pair.written and digest_content(content) != pair.written:
                raise ImageError(
                    f"{pair.protected} is not the copy that protect wrote: it was changed or replaced since"
                )
            protected = decode(content, name=str(pair.protected))
            if protected.shape[:2] != original.shape[:2]:
                sizes = [f"{image.shape[1]} x {image.shape[0]}" for image in (protected, original)]
                raise ImageError(f"{pair.protected} has {sizes[0]} pixels, its original {sizes[1]}")
        except ImageError:
            self.search_among(original)
            raise
        if protected.ndim != original.ndim:
            original, protected = (as_channels(image, gray=False) for image in (original, protected))
        shown = {ORIGINAL: original, SAVED: protected}
        noisy_rmse = None
        if self.noise:
            shown[NOISE] = noise_like(original, protected, seed=self.seed, name=pair.name)
            noisy_rmse = _rmse(original, shown[NOISE])
        number = len(self.pairs)
        self.place.append(len(self.codes[0].originals))
        for kind in self._encode(shown, protected):
            self.having.setdefault(kind, []).append(number)
        found = measure_distortion(original[None], protected[None])
        self.pairs.append(pair)
        self.looks.append(
            Look(
                original.shape[0],
                original.shape[1],
                float(found.rmse[0]),
                float(found.ssim[0]),
                float(found.psnr[0]),
                float(found.changed[0]),
                largest_change(original, protected),
                noisy_rmse,
            )
        )

    def _encode(self, shown: dict[str, Bytes], viewed: Bytes | None = None) -> list[str]:
        """Encode pictures, and the views of one, which are made one after the other.

        Returns:
            The kinds of copies that there are.
        """
        fits = {fit_of(matcher): matcher for matcher in self.matchers}
        small: dict[tuple[object, ...], dict[str, Bytes]] = {key: {} for key in fits}

        def shrink(kind: str, image: Bytes) -> None:
            for key, matcher in fits.items():
                small[key][kind] = for_matcher(image, matcher)

        for kind, image in shown.items():
            shrink(kind, image)
        for word, view in self.views.items():
            if viewed is None:
                break
            try:
                shrink(word, view(viewed))
            except (RequestError, OSError):  # a crop that is larger than the picture; a side too long for JPEG
                self.unfit[word] += 1
        kinds = list(next(iter(small.values())))
        stacks = {key: np.stack(list(pictures.values())) for key, pictures in small.items()}
        asked = [stacks[fit_of(matcher)] for matcher in self.matchers]
        found = codes_together(asked, [matcher.model for matcher in self.matchers], self.device)
        for packed, codes in zip(found, self.codes, strict=True):  # (kinds, bytes)
            codes.originals.append(packed[0])
            for kind, code in zip(kinds, packed, strict=True):
                if viewed is not None:
                    codes.copies.setdefault(kind, []).append(code)
        return kinds

    def finish(self, pairing: Pairing) -> Measured:
        """Ranks of everything, once all codes are known."""
        sides = []
        for matcher, codes in zip(self.matchers, self.codes, strict=True):
            originals = np.stack(codes.originals)  # (N, bytes)
            one = {}
            for kind in (ORIGINAL, SAVED, NOISE, *self.views):
                if kind in self.having:
                    rows = np.array(self.having[kind])
                    copies, place = np.stack(codes.copies[kind]), np.array(self.place)[rows]
                    one[kind] = measure_side(originals, copies, place, rows, matcher.reference)
            sides.append(one)
        notes = [
            f"{view} does not fit into {count} of {len(self.pairs)} pictures" for view, count in self.unfit.items()
        ]
        return Measured(
            self.pairs,
            self.looks,
            self.matchers,
            sides,
            len(self.codes[0].originals),
            [*pairing.problems, *self.problems],
            [*pairing.notes, *notes],
        )


def fit_of(matcher: Matcher) -> tuple[object, ...]:
    """What a matcher asks of a picture; matchers that ask the same share the small pictures."""
    return matcher.model.channels, tuple(matcher.model.size), matcher.card.fit if matcher.card else "crop"


def for_matcher(image: Bytes, matcher: Matcher) -> Bytes:
    """A picture `(H, W)` or `(H, W, 3)` as a matcher takes it."""
    seen = as_channels(image, gray=matcher.model.channels == 1)
    return fit_to(seen, matcher.model.size, matcher.card.fit if matcher.card else "crop")


def as_channels(image: Bytes, *, gray: bool) -> Bytes:
    """A picture as gray `(H, W)` or color `(H, W, 3)`, as decoding its file so gives it."""
    if gray == (image.ndim == 2):
        return image
    return np.asarray(Image.fromarray(image).convert("L" if gray else "RGB"))


def _rmse(clean: Bytes, noisy: Bytes) -> float:
    delta = np.maximum(clean, noisy) - np.minimum(clean, noisy)
    squares = sum(int((row.astype(np.int64) ** 2).sum()) for row in delta)  # no wide copy of a large picture
    return float(np.sqrt(squares / delta.size)) / 255
