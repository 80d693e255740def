"""A layer around an ASGI application that protects the pictures of its responses: plain ASGI, no framework."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from hamguard import __version__
from hamguard.api.serving import picture_run
from hamguard.core.checks import check_choice, check_range
from hamguard.core.errors import HamguardError
from hamguard.core.shown import shown

if TYPE_CHECKING:
    from hamguard.privacy.pictures import PictureRun

__all__ = ["ProtectImages"]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]

LEFT_ALONE = ("image/svg+xml", "image/x-icon", "image/vnd.microsoft.icon")
"""Drawings and icons, which are no photos."""

SERVED_BYTES, SERVED_PIXELS = 16 << 20, 20_000_000
"""Of a picture that a site serves after resizing; a larger one was forgotten on the way."""

_ASKED_IN_PARTS = (b"range", b"if-range")
_OF_THE_ORIGINAL = frozenset(
    b"content-length content-type etag last-modified accept-ranges content-md5 digest content-digest repr-digest "
    b"transfer-encoding".split()
)
_BY_PATH = ("http.response.pathsend", "http.response.zerocopysend")
_OF_304 = (b"cache-control", b"vary", b"expires", b"date", b"content-location", b"set-cookie")
_log = logging.getLogger("hamguard")


class ProtectImages:
    """An ASGI application whose pictures are protected: each once, kept on disk by its content and the options.

    Responses to GET and HEAD of status 200 with a content type `image/*` are read whole, protected as `protect_image` does, and
    sent with their own length and `ETag`; `If-None-Match` is answered with 304. The work runs in threads, and two requests for one
    picture make it once. A request for part of a picture gets all of it (a server may ignore `Range`), and HEAD asks the
    application by GET, because the length of a copy is known once it is made. All else goes through as it is, but for a request
    of several ranges at once, which is made one for the whole.

    Put it next to the application, inside layers that compress. A picture that is compressed already, broken, of a kind that
    `protect_image` does not read (GIF, AVIF), too large, or that fails otherwise is withheld by default.

    Args:
        app: the ASGI application.
        cache: folder for the copies; any number of processes may share it.
        cache_bytes: most bytes of all copies; those that were not asked for the longest go first.
        failing: what becomes of a picture that cannot be protected: `withhold` (status 502, never the original) or `pass` (served
            as it is). Either is logged as a warning of the logger `hamguard`, with its reason.
        leave: content types that are left alone, by default SVG and icons.
        max_bytes: a longer picture is not protected.
        max_pixels: nor one of more pixels.
        workers: pictures that are made at once.
        options: of `protect_image`: protector, eps, format, quality, metadata, scale, context.

    Raises:
        RequestError: unknown options, or no such protector.
    """

    def __init__(
        self,
        app: Application,
        *,
        cache: Path | str,
        cache_bytes: int = 1 << 30,
        failing: Literal["withhold", "pass"] = "withhold",
        leave: Sequence[str] = LEFT_ALONE,
        max_bytes: int = SERVED_BYTES,
        max_pixels: int = SERVED_PIXELS,
        workers: int = 1,
        **options: Any,
    ) -> None:
        from hamguard.privacy.kept_copies import KeptCopies

        check_choice("failing", failing, ("withhold", "pass"))
        for name, value in (("cache_bytes", cache_bytes), ("max_bytes", max_bytes), ("max_pixels", max_pixels)):
            check_range(name, value, 1)
        picture_run(b"", **options)  # a wrong word is told when the server starts, and the protector is there
        self.app, self.options, self.failing = app, options, failing
        self.leave = frozenset(kind.encode().lower() for kind in leave)
        self.max_bytes, self.max_pixels = max_bytes, max_pixels
        self.copies = KeptCopies(cache, cache_bytes, longest=max(64 << 20, 4 * max_bytes))
        self._pool = ThreadPoolExecutor(check_range("workers", workers, 1), "hamguard-protect")
        self._making: dict[str, Future[bytes]] = {}
        self._lock = threading.Lock()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        extensions = {name: one for name, one in (scope.get("extensions") or {}).items() if name not in _BY_PATH}
        several = any(name == b"range" and b"," in value for name, value in scope["headers"])
        first = _Answer(self, {**scope, "extensions": extensions}, send, whole=several)
        await self.app(_whole(first.scope) if several else first.scope, receive, first.take)
        if first.again:
            second = _Answer(
                self, {**_whole(first.scope), "method": "GET"}, send, whole=True, bare=scope["method"] == "HEAD"
            )
            await self.app(second.scope, _nothing_more(receive), second.take)

    async def protected(self, content: bytes) -> bytes:
        """The copy of a picture, from the folder or made now; of two requests at once one makes it.

        Raises:
            HamguardError: it cannot be protected.
        """
        key, run, kept = await asyncio.to_thread(self._look, content)
        if kept is not None:
            return kept
        with self._lock:
            making = self._making.get(key)
            if making is None:
                making = self._making[key] = self._pool.submit(self._made, key, run, content)
                making.add_done_callback(lambda _: self._making.pop(key, None))
        return await asyncio.shield(asyncio.wrap_future(making))  # a client that leaves does not stop it for the others

    def _look(self, content: bytes) -> tuple[str, PictureRun, bytes | None]:
        run = picture_run(content, **self.options)
        facts = (hashlib.sha256(content).hexdigest(), run.settings.digest, __version__)
        key = hashlib.sha256(" ".join(facts).encode()).hexdigest()
        return key, run, self.copies.find(key)

    def _made(self, key: str, run: PictureRun, content: bytes) -> bytes:
        if (kept := self.copies.find(key)) is not None:  # made between the look and the place in the queue
            return kept
        copy = run(content, max_pixels=self.max_pixels)
        try:
            self.copies.keep(key, copy)
        except (HamguardError, OSError) as error:
            _log.warning("a protected copy cannot be kept: %s", error)
        return copy


class _Answer:
    """What the application sends for one request, on its way to the client.

    Args:
        site: the layer.
        scope: of the request, as the client asked.
        send: to the client.
        whole: the application was asked for the whole.
        bare: the client wants no body.

    Attributes:
        again: the application must be asked for the whole; nothing was sent.
    """

    def __init__(self, site: ProtectImages, scope: Message, send: Send, *, whole: bool, bare: bool = False) -> None:
        self.site, self.scope, self.send, self.whole, self.bare = site, scope, send, whole, bare
        self.again = False
        self._start: Message | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._through = False  # it goes to the client as it comes
        self._done = False

    async def take(self, message: Message) -> None:
        """A message of the application."""
        kind = message["type"]
        if self._done or self.again:
            return
        if self._start is not None and kind in _BY_PATH and not self._through:
            await self._fail("the application sends a path, which it was not offered", more=True)
            if self._through:
                await self._pass(message)
        elif self._through or kind not in ("http.response.start", "http.response.body"):
            await self._pass(message)
        elif kind == "http.response.start":
            await self._begin(message)
        else:
            body = bytes(message.get("body", b""))
            self._parts.append(body)
            self._size += len(body)
            if self._size > self.site.max_bytes:
                await self._fail(
                    f"it has more than {self.site.max_bytes:,} bytes", more=message.get("more_body", False)
                )
            elif not message.get("more_body", False):
                await self._protect()

    async def _begin(self, start: Message) -> None:
        headers = {name.lower(): value for name, value in start.get("headers", ())}
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if not kind.startswith(b"image/") or kind in self.site.leave or start["status"] not in (200, 206):
            self._through = True
            await self._pass(start)
        elif self.scope["method"] == "HEAD" or (start["status"] == 206 and not self.whole):
            self.again = True
        else:
            self._start = start
            length = headers.get(b"content-length", b"")
            if start["status"] == 206:
                await self._fail("the application sends parts of it where the whole was asked for", more=True)
            elif headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
                await self._fail("it is compressed already", more=True)
            elif length.isdigit() and int(length) > self.site.max_bytes:
                await self._fail(f"it has {int(length):,} bytes; the limit is {self.site.max_bytes:,}", more=True)

    async def _pass(self, message: Message) -> None:
        if self.bare and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self.send(message)

    async def _protect(self) -> None:
        content = b"".join(self._parts)
        self._parts = []
        try:
            copy = await self.site.protected(content)
        except HamguardError as error:
            self._parts = [content]
            await self._fail(str(error), more=False)
            return
        except Exception as error:  # whatever it was, the original stays here unless it may pass
            self._parts = [content]
            await self._fail(f"{type(error).__name__}: {error}", more=False)
            return
        await self._send_copy(copy)

    async def _send_copy(self, copy: bytes) -> None:
        from hamguard.images.kinds import HEAD, read_format

        assert self._start is not None
        tag = b'"' + hashlib.sha256(copy).hexdigest()[:32].encode() + b'"'
        kept: Headers = [
            (name, value) for name, value in self._start.get("headers", ()) if name.lower() not in _OF_THE_ORIGINAL
        ]
        known = b",".join(value for name, value in self.scope["headers"] if name.lower() == b"if-none-match")
        self._done = True
        if known.strip() == b"*" or tag in [one.strip().removeprefix(b"W/") for one in known.split(b",")]:
            kept = [(name, value) for name, value in kept if name.lower() in _OF_304]
            await self._respond(304, [*kept, (b"etag", tag)], b"")
            return
        facts = [
            (b"content-type", b"image/" + str(read_format(copy[:HEAD])).encode()),
            (b"content-length", str(len(copy)).encode()),
            (b"etag", tag),
            (b"accept-ranges", b"none"),
        ]
        await self._respond(200, [*kept, *facts], copy)

    async def _fail(self, reason: str, *, more: bool) -> None:
        """A picture that cannot be protected: withheld, or passed with what came so far; `more` of it may follow."""
        assert self._start is not None
        passed = self.site.failing == "pass"
        _log.warning("%s %s: %s", shown(self.scope["path"]), "is not protected" if passed else "is withheld", reason)
        if passed:
            self._through = True
            await self.send(self._start)
            if self._parts:
                await self._pass({"type": "http.response.body", "body": b"".join(self._parts), "more_body": more})
            self._parts = []
            return
        self._done, self._parts = True, []
        text = b"This picture could not be protected and is not served.\n"
        head = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
        await self._respond(502, [*head, (b"cache-control", b"no-store")], text)

    async def _respond(self, status: int, headers: Headers, body: bytes) -> None:
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": b"" if self.bare else body, "more_body": False})


def _whole(scope: Message) -> Message:
    """A request for all of a resource."""
    return {**scope, "headers": [one for one in scope["headers"] if one[0].lower() not in _ASKED_IN_PARTS]}


def _nothing_more(receive: Receive) -> Receive:
    """A request whose body was read already: it is empty, and what follows is the client's."""
    told = False

    async def receiving() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": b"", "more_body": False}

    return receiving
