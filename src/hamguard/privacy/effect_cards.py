"""The pictures of a proof of effect: original, protected copy and their difference made visible, as small JPEG files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hamguard.core.errors import ImageError
from hamguard.core.types import Bytes, Ints
from hamguard.images.io import decode, encode_bytes
from hamguard.images.views import shrink_image
from hamguard.privacy.effect import SAVED, Measured, as_channels
from hamguard.privacy.effect_card import worst_first
from hamguard.privacy.effect_details import details
from hamguard.privacy.pairs import NEVER_SEEN

SIDE = 420  # longest side of a picture on the page
PART_QUALITY = 98  # of parts at full size, whose noise a file shall not hide
MOST = 64  # largest factor: above it, single levels would fill the range


@dataclass(frozen=True)
class CardPicture:
    """A small JPEG file.

    Attributes:
        jpeg: its bytes.
        width, height: in pixels.
    """

    jpeg: bytes
    width: int
    height: int


def judges(measured: Measured) -> list[int]:
    """Numbers of the matchers that count: those that the protector never saw, or all where it saw every one."""
    unseen = [i for i, matcher in enumerate(measured.matchers) if matcher.seen == NEVER_SEEN]
    return unseen or list(range(len(measured.matchers)))


def protection_order(measured: Measured, top: int) -> Ints:
    """Pairs by what their saved files do against the matchers that count, the worst protected first, `(n,)`."""
    chosen = judges(measured)
    bits = [measured.matchers[i].model.bits for i in chosen]
    return worst_first([measured.sides[i][SAVED] for i in chosen], bits, top)


def common_factor(measured: Measured, shown: Sequence[int]) -> int:
    """One factor for all differences shown, so that they compare: the largest change fills the range from gray."""
    largest = max((measured.looks[i].levels for i in shown), default=0)
    return max(1, min(MOST, 127 // max(1, largest)))


@dataclass(frozen=True)
class CardPictures:
    """What a card shows.

    Attributes:
        trio: original, protected copy, and the difference times a factor around gray.
        parts: of original and copy at full size, and what each shows (`effect_details.py`).
    """

    trio: tuple[CardPicture, CardPicture, CardPicture]
    parts: list[tuple[str, CardPicture, CardPicture]]


def card_pictures(measured: Measured, number: int, factor: int) -> CardPictures:
    """The pictures of a card, decoded once more from their files.

    Raises:
        ImageError: a file has gone or changed since it was measured.
    """
    pair = measured.pairs[number]
    original, protected = (as_channels(decode(path), gray=False) for path in (pair.original, pair.protected))
    if original.shape != protected.shape:
        raise ImageError(f"{pair.protected} changed while it was measured")
    clean, copy = (
        shrink_image(one, SIDE, kernel="nearest") for one in (original, protected)
    )  # averages hide fine noise
    trio = (
        _picture(shrink_image(original, SIDE)),
        _picture(shrink_image(protected, SIDE)),
        _picture(amplify(clean, copy, factor), 85),
    )
    parts = [
        (one.what, _picture(one.original, PART_QUALITY), _picture(one.protected, PART_QUALITY))
        for one in details(original, protected)
    ]
    return CardPictures(trio, parts)


def amplify(clean: Bytes, protected: Bytes, factor: int) -> Bytes:
    """The difference made visible: `128 + factor * (protected - clean)`, clipped; no change is gray."""
    delta = protected.astype(np.int32) - clean
    shown: Bytes = np.clip(128 + factor * delta, 0, 255).astype(np.uint8)
    return shown


def _picture(image: Bytes, quality: int = 92) -> CardPicture:
    return CardPicture(
        encode_bytes(np.ascontiguousarray(image), "jpeg", quality=quality), image.shape[1], image.shape[0]
    )
