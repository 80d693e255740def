"""One picture's way through the protector, from the bytes of its file to those of its copy: what a folder and a server share.

A folder takes the steps one by one, so that pictures of one size are computed together and threads read and write; a server
takes them all at once. Every random number comes from the picture's content, so both write the same copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from hamguard.core.digests import digest_content
from hamguard.core.types import Bytes
from hamguard.images.io import MAX_PIXELS
from hamguard.images.originals import Original, encode_original, read_original
from hamguard.models.protector import Protector
from hamguard.privacy.manifest import Settings
from hamguard.privacy.protect import (
    TILE,
    add_noise,
    as_tensor,
    enlarged,
    noise_pattern,
    noise_size,
    shrunk,
    tile_rows,
    tiled,
)
from hamguard.privacy.refine import Refine

Key: TypeAlias = tuple[int, int, int, bool]


@dataclass
class Held:
    """A picture in memory.

    Attributes:
        file: its path inside its folder, or how errors call it.
        source: content hash.
        original: its layers.
        small: what a person sees of it, at the size of its noise.
    """

    file: str
    source: str
    original: Original
    small: Bytes

    @property
    def key(self) -> Key:
        """Pictures with one key are computed together."""
        return (*self.small.shape[:2], 1 if self.small.ndim == 2 else 3, self.original.alpha is not None)

    @property
    def is_tiled(self) -> bool:
        """Whether its noise is made at its own size, which is too large for one pass."""
        return self.small.shape == self.original.pixels.shape and self.small.shape[0] * self.small.shape[1] > TILE**2


@dataclass(frozen=True)
class PictureRun:
    """Protect one picture after the other, as settings say; safe to call from several threads at once.

    Attributes:
        net: the generator, frozen, in evaluation mode.
        side: shorter side of the pictures that it learned from.
        settings: bound, format, quality, metadata and scale.
        refine: gradient steps after the generator's pass; None for none.
    """

    net: Protector
    side: int
    settings: Settings
    refine: Refine | None = None

    def __call__(self, content: bytes, name: str = "picture", *, max_pixels: int = MAX_PIXELS) -> bytes:
        """The protected copy of a picture file, as bytes.

        Args:
            content: of the file.
            name: how errors call it.
            max_pixels: larger pictures are refused before their pixels are decoded.

        Raises:
            ImageError: it cannot be decoded, is too large, or cannot be held by the format.
            RunError: weights are broken.
        """
        one = self.read(content, name, digest_content(content), max_pixels=max_pixels)
        pixels = self.in_tiles(one) if self.by_tiles(one) else self.with_pattern(one, self.patterns([one])[0])
        return self.encode(one, pixels)

    def read(self, content: bytes, file: str, source: str, *, max_pixels: int = MAX_PIXELS) -> Held:
        """The picture of a file whose content hash is `source`.

        Raises:
            ImageError: it cannot be decoded, or is too large.
        """
        original = read_original(content, name=file, metadata=self.settings.metadata, max_pixels=max_pixels)
        height, width = original.pixels.shape[:2]
        size = noise_size(height, width, self.side, self.settings.scale, refined=self.refine is not None)
        return Held(file, source, original, shrunk(original.seen, size))

    def by_tiles(self, one: Held) -> bool:
        """Whether noise and picture are made in one go, tile by tile; the others have patterns first."""
        return one.is_tiled and self.refine is None

    def in_tiles(self, one: Held) -> Bytes:
        """The pixels of a copy whose noise is made tile by tile."""
        return add_noise(one.original, tiled(self.net, one.small), self.settings.eps, tile_rows(one.small.shape[0]))

    def patterns(self, group: Sequence[Held]) -> list[Tensor]:
        """Noise of pictures with one key, at the size of `small`, each `(C, h, w)` in [-1, 1].

        Raises:
            RunError: weights are broken.
        """
        at = next(self.net.parameters()).device
        x = torch.cat([as_tensor(one.small) for one in group]).to(at)  # (B, C, h, w)
        fresh = self.refine is not None and self.refine.fresh
        # each by itself: rounding would depend on the group, and so on where a run was stopped
        alone = [x[number : number + 1] for number in range(len(x))]
        pattern = torch.zeros_like(x) if fresh else torch.cat([noise_pattern(self.net, one) for one in alone])
        if self.refine is not None:
            alphas = [one.original.alpha for one in group]
            size = (int(x.shape[2]), int(x.shape[3]))
            opaque = (
                torch.cat([as_tensor(shrunk(a, size)) for a in alphas if a is not None]) if group[0].key[3] else None
            )
            index = [int(one.source, 16) for one in group]
            pattern = self.refine(x, pattern, index, None if opaque is None else opaque.to(at))
        return list(pattern.cpu())

    def with_pattern(self, one: Held, pattern: Tensor) -> Bytes:
        """The pixels of a copy, its noise enlarged to the picture's own size."""
        return add_noise(one.original, enlarged(pattern, *one.original.pixels.shape[:2]), self.settings.eps)

    def encode(self, one: Held, pixels: Bytes) -> bytes:
        """The file of a copy.

        Raises:
            ImageError: the format cannot hold it.
        """
        copy, settings = replace(one.original, pixels=pixels), self.settings
        return encode_original(copy, settings.format, quality=settings.quality, name=one.file)
