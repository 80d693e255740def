"""Protected copies before searches of the panel: which of them count, and how many of a sample of originals they still find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hamguard.core.digests import digest_content
from hamguard.core.errors import ImageError
from hamguard.core.types import Bytes
from hamguard.images.io import decode, read_file
from hamguard.models.hash_model import HashModel
from hamguard.models.panel import PanelEntry, read_panel, reference_codes
from hamguard.models.shipped import PANEL
from hamguard.models.store import load_any
from hamguard.privacy.effect import Matcher, fit_of, for_matcher
from hamguard.privacy.pairs import NEVER_SEEN, Pair
from hamguard.privacy.trunks import codes_together, share_trunk
from hamguard.retrieval.rank import rank_items

Saw = Callable[[str, str], str]
"""What the protector knew of a hash and a network, see `Protection.saw`."""

TOP = 10


@dataclass(frozen=True)
class Choice:
    """Matchers of the panel for one protector.

    Attributes:
        usable: those that are here, with what the protector knew of each.
        missing: names of those that are not here, with what to do about it.
    """

    usable: tuple[tuple[PanelEntry, str], ...]
    missing: tuple[tuple[str, str], ...]

    @property
    def unseen(self) -> tuple[PanelEntry, ...]:
        """Those that count: neither they, nor their network, nor its family was met by the protector."""
        return tuple(entry for entry, seen in self.usable if seen == NEVER_SEEN)

    @property
    def quick(self) -> tuple[PanelEntry, ...]:
        """Of those that count, and that noise does not fool, the ones on the first network of each family, its quickest."""
        first: dict[str, str] = {}
        steady = [entry for entry in self.unseen if entry.steady]
        for entry in steady:
            first.setdefault(entry.family, entry.network)
        return tuple(entry for entry in steady if first[entry.family] == entry.network)


def choose_panel(saw: Saw) -> Choice:
    """The panel as one protector meets it; nothing is loaded but a list.

    Raises:
        RequestError: the panel's list is missing or damaged.
    """
    entries = read_panel()
    usable = tuple((one, saw(str(one.card["weights_hash"]), one.network)) for one in entries if not one.missing)
    return Choice(usable, tuple((one.name, one.missing) for one in entries if one.missing))


def open_panel(entries: Sequence[PanelEntry], saw: Saw, device: torch.device | str = "cpu") -> list[Matcher]:
    """Load matchers of the panel with their reference codes; those on one network share it.

    Raises:
        RequestError: a part is damaged, or weights are not on this machine.
    """
    found = []
    known: dict[str, HashModel] = {}
    for entry in entries:
        model, card = load_any(PANEL + entry.name, device)
        assert isinstance(model, HashModel)
        seen, reference = saw(model.digest, model.name), reference_codes(entry.name)
        found.append(Matcher(PANEL + entry.name, share_trunk(model, known), card, seen, reference))
    return found


@dataclass(frozen=True)
class Checked:
    """How many originals of a sample searches find by their protected copies; found is among the first `top` answers.

    Attributes:
        photos: of the sample; those that could not be compared are not among them.
        top: answers that count.
        searched: pictures that each search holds: the originals of the sample, and the reference photos of the panel.
        found: for each search of the panel, by name, how many originals it finds.
        found_by_any: originals that at least one of them finds.
        met: searches that do not count, because the protector met them, their network or its family.
        missing: searches that are not here.
    """

    photos: int
    top: int
    searched: int
    found: dict[str, int]
    found_by_any: int
    met: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def mean(self) -> float | None:
        """Mean over the searches of how many originals are found; None without a search."""
        return sum(self.found.values()) / len(self.found) if self.found else None

    @property
    def worst(self) -> str | None:
        """The search that finds most; None without a search."""
        return max(self.found, key=self.found.__getitem__, default=None)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "photos": self.photos,
            "top": self.top,
            "searched": self.searched,
            "found_by_any": self.found_by_any,
            "mean": self.mean,
            "worst": self.worst,
            "found": dict(self.found),
            "met": list(self.met),
            "missing": list(self.missing),
        }


def spread(count: int, items: int) -> list[int]:
    """Places of `count` of `items` things, evenly from the first to the last; all where there are no more.

    >>> spread(3, 9), spread(5, 2), spread(1, 9)
    ([0, 4, 8], [0, 1], [4])
    """
    if count >= items:
        return list(range(items))
    at = np.linspace(0, items - 1, count) if count > 1 else np.array([(items - 1) / 2])
    return [int(place) for place in np.unique(at.round())]


def check_copies(
    pairs: Sequence[Pair],
    saw: Saw,
    *,
    top: int = TOP,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Checked:
    """Search for the originals of some protected copies by the quick matchers that the protector never saw.

    Args:
        pairs: originals and copies; a pair that cannot be read, or whose copy is not the one that was written, is left out.
        saw: what the protector knew.
        top: a picture is found that is among so many answers; equal distances count where most of their orders find it.
        device: where to compute.
        progress: told how many pairs are done, and of how many.

    Raises:
        RequestError: a part of the panel is damaged.
    """
    choice = choose_panel(saw)
    met = tuple(entry.name for entry, seen in choice.usable if seen != NEVER_SEEN)
    missing = tuple(name for name, _ in choice.missing)
    matchers = open_panel(choice.quick, saw, device) if pairs else []
    codes: list[list[Bytes]] = [[] for _ in matchers]  # of originals and copies in turn
    for number, pair in enumerate(pairs if matchers else (), 1):
        try:
            content = read_file(pair.protected)
            if not pair.written or digest_content(content) == pair.written:
                shown = (decode(pair.original), decode(content, name=str(pair.protected)))
                for kept, packed in zip(codes, _codes(shown, matchers, device), strict=True):
                    kept.append(packed)
        except ImageError:
            pass  # it was named when it was protected, or will be by `verify`
        if progress:
            progress(number, len(pairs))
    photos = len(codes[0]) if codes else 0
    if not photos:
        return Checked(0, top, 0, {}, 0, met, missing)
    inside = {}
    for matcher, kept in zip(matchers, codes, strict=True):
        originals, copies = np.stack(kept).swapaxes(0, 1)  # (photos, bytes) each
        assert matcher.reference is not None
        ranks = rank_items(copies, np.concatenate([originals, matcher.reference]), np.arange(photos))
        inside[matcher.name.removeprefix(PANEL)] = ranks.in_top(top) >= 0.5
    found = {name: int(which.sum()) for name, which in inside.items()}
    reference = min(len(matcher.reference) for matcher in matchers if matcher.reference is not None)
    by_any = int(np.any(list(inside.values()), axis=0).sum())
    return Checked(photos, top, photos + reference, found, by_any, met, missing)


def _codes(shown: Sequence[Bytes], matchers: Sequence[Matcher], device: torch.device | str) -> list[Bytes]:
    """For each matcher the codes of some pictures, `(pictures, bytes)`."""
    fits = {fit_of(matcher): matcher for matcher in matchers}
    small = {key: np.stack([for_matcher(one, matcher) for one in shown]) for key, matcher in fits.items()}
    asked = [small[fit_of(matcher)] for matcher in matchers]
    return codes_together(asked, [matcher.model for matcher in matchers], device)


def check_words(checked: Checked) -> list[str]:
    """What a check found, as sentences; the number that matters comes first."""
    if not checked.found:
        why = "the protector met all searches of the panel that are here, or their families" if checked.met else ""
        lost = (
            f"not here: {', '.join(checked.missing)} (hamguard panel says what to install)" if checked.missing else ""
        )
        reasons = "; ".join(word for word in (why, lost) if word) or "no photo could be compared"
        return [f"How many photos are still found was not measured: {reasons}.", UNKNOWN]
    n, count, worst = checked.photos, len(checked.found), checked.worst
    assert worst is not None and checked.mean is not None
    photos = "Of 1 photo tried, " if n == 1 else f"Of {n:,} photos tried, "
    searches = "the search" if count == 1 else f"at least one of {count} searches"
    verb = "is" if checked.found_by_any == 1 else "are"
    words = f"{photos}{checked.found_by_any:,} {verb} still found by {searches} that the protector never saw"
    if count > 1:
        words += f" (mean over searches: {_number(checked.mean)}; worst: {worst} {checked.found[worst]:,} of {n:,})"
    among = f"Found means among the first {checked.top} answers of a search among {checked.searched:,} pictures."
    return [f"{words}.", f"{among} {UNTESTED}"]


UNTESTED = (
    "Not tried: other networks, searches by whole features in place of codes, people who look. Searches change: what none finds "
    "today may be found tomorrow."
)
UNKNOWN = "A search of today may still find these photos."


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
