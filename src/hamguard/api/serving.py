"""Pictures that a site serves, protected on their way out: bytes to bytes, and a layer around an ASGI application."""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamguard.api.arguments import checked
from hamguard.api.protect import SHIPPED, checked_words, opened_protector, settings_facts
from hamguard.api.running import running
from hamguard.core.checks import check_choice, check_range, received
from hamguard.core.errors import ImageError, RequestError

if TYPE_CHECKING:
    from hamguard.core.context import Context
    from hamguard.models.protector import Protector
    from hamguard.models.protector_store import ProtectorCard
    from hamguard.privacy.pictures import PictureRun

__all__ = ["protect_image"]

_loading = threading.Lock()


@checked
def protect_image(
    data: bytes,
    *,
    protector: str | Path = SHIPPED,
    eps: float | str | None = None,
    format: str | None = None,
    quality: int | None = None,
    metadata: str = "strip",
    scale: str = "auto",
    max_bytes: int | None = None,
    max_pixels: int | None = None,
    context: Context | None = None,
) -> bytes:
    """The protected copy of one picture file, bytes to bytes: what a server does after it has resized a picture.

    The copy is what `protect` writes for one file of these bytes with the same options, byte for byte, and depends on nothing but
    them; in a folder pictures of one size are computed together, where rounding may differ. It is upright, and says no places
    unless `metadata` keeps them. Of a moving picture it has the first frame. The protector is loaded once a process and kept;
    several threads may call at once, each with the memory of its own picture.

    Args:
        data: the picture file: JPEG, PNG, WebP or BMP.
        protector: protector folder, or the name of one that ships with hamguard.
        eps: how far pixels may move, in pixel units of [0, 1]; a number, or text such as "8/255". By default the protector's own.
        format: of the copy, `png`, `jpeg` or `webp`; by default that of the picture, png for BMP.
        quality: of jpeg and webp, 1 to 100; 95 by default, and webp of 100 is exact. Copies that stay png have none.
        metadata: `strip` (color profile only), `no-location` (EXIF without places) or `keep`.
        scale: noise of large pictures: `full` (own size), `fit` (enlarged) or `auto`.
        max_bytes: a longer file is refused; 512 MiB by default.
        max_pixels: a larger picture is refused before its pixels are decoded; 50 megapixels by default.
        context: the device.

    Raises:
        RequestError: `data` are not bytes, unknown options, or no such protector.
        ImageError: the picture is broken, of another kind, or too large.
        RunError: weights are broken.
    """
    from hamguard.images.io import MAX_BYTES, MAX_PIXELS

    content = _bytes(data, MAX_BYTES if max_bytes is None else check_range("max_bytes", max_bytes, 1))
    most = MAX_PIXELS if max_pixels is None else check_range("max_pixels", max_pixels, 1)
    run = picture_run(content, protector, eps, format, quality, metadata, scale, context)
    return run(content, max_pixels=most)


def picture_run(
    content: bytes,
    protector: str | Path = SHIPPED,
    eps: float | str | None = None,
    format: str | None = None,
    quality: int | None = None,
    metadata: str = "strip",
    scale: str = "auto",
    context: Context | None = None,
) -> PictureRun:
    """How a picture of these bytes is protected, by the options of `protect_image`.

    Raises:
        RequestError: unknown options, or no such protector.
    """
    from hamguard.images.kinds import HEAD, read_format
    from hamguard.privacy.manifest import Settings
    from hamguard.privacy.names import SUFFIX
    from hamguard.privacy.pictures import PictureRun

    bound = checked_words(eps, metadata, scale, 0, ())
    if format is not None:
        check_choice("picture format", format, SUFFIX)
    if quality is not None:
        check_range("quality", quality, 1, 100)
        if format == "png":
            raise RequestError(f"quality {quality} belongs to jpeg and webp; png is exact")
    found = read_format(content[:HEAD])
    form = format or (found if found in SUFFIX else "png")
    net, card = kept_protector(protector, str(running(context).device))
    return PictureRun(
        net, card.side, Settings(**settings_facts(protector, card, bound, (form, quality), metadata, scale))
    )


def kept_protector(protector: str | Path, device: str) -> tuple[Protector, ProtectorCard]:
    """A protector on a device, loaded once a process; a folder that was written anew is loaded anew.

    Raises:
        RequestError: no protector of that name, or one that does not bound every value.
    """
    from hamguard.models.protector_store import CARD

    card = Path(protector) / CARD
    written = card.stat().st_mtime_ns if card.is_file() else 0
    name = str(Path(protector).resolve()) if written else str(protector)
    with _loading:
        return _loaded(name, written, device)


@lru_cache(maxsize=4)
def _loaded(name: str, written: int, device: str) -> tuple[Protector, ProtectorCard]:
    net, card = opened_protector(name)
    return net.to(device), card


def _bytes(data: Any, most: int) -> bytes:
    """The bytes of a picture file.

    Raises:
        RequestError: not bytes.
        ImageError: more than `most`.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise RequestError(f"data must be the bytes of a picture file, got {received(data)}; hg.protect takes paths")
    size = data.nbytes if isinstance(data, memoryview) else len(data)
    if size > most:
        raise ImageError(f"picture has {size:,} bytes, too many; the limit is {most:,}")
    return bytes(data)
