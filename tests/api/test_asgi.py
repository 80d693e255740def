"""`hg.ProtectImages` around small applications, asked in this process: pictures are protected once, all else goes through."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.privacy.helpers import drawn, saved_protector

import hamguard as hg
from hamguard.core.errors import RequestError
from hamguard.privacy.kept_copies import KeptCopies
from hamguard.privacy.pictures import PictureRun

Asked = tuple[int, dict[str, str], bytes]
FILE = bytes(range(256)) * 8


def picture(seed: int = 0, kind: str = "PNG", **words: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(drawn(30, 40, seed=seed)).save(out, kind, **words)
    return out.getvalue()


class Site:
    """Files by path, as a server of files gives them: ranges, conditions, lengths; notes what it was asked."""

    def __init__(self, files: dict[str, tuple[str, bytes]], *, chunk: int = 700, **extra: str) -> None:
        self.files, self.chunk, self.extra = files, chunk, extra
        self.asked: list[tuple[str, dict[bytes, bytes]]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await send({"type": "lifespan.startup.complete"})
            return
        headers = dict(scope["headers"])
        self.asked.append((scope["method"], headers))
        assert scope["method"] == "POST" or "http.response.pathsend" not in scope["extensions"]
        if scope["path"] not in self.files:
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"image/png")]})
            await send({"type": "http.response.body", "body": b"nothing here"})
            return
        kind, body = self.files[scope["path"]]
        status, told = (
            200,
            [(b"ETag", b'"plain"'), (b"last-modified", b"Mon, 30 Nov 2026 06:00:00 GMT"), (b"vary", b"accept")],
        )
        if headers.get(b"if-none-match") == b'"plain"':
            status, body = 304, b""
        elif b"range" in headers:
            first, last = headers[b"range"].removeprefix(b"bytes=").split(b",")[0].split(b"-")
            status, body = 206, body[int(first) : int(last) + 1]
        told += [(name.replace("_", "-").encode(), value.encode()) for name, value in self.extra.items()]
        told += [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": told})
        body = b"" if scope["method"] == "HEAD" else body
        for at in range(0, len(body), self.chunk):
            await send({"type": "http.response.body", "body": body[at : at + self.chunk], "more_body": True})
        await send({"type": "http.response.body"})


async def ask(app: Any, path: str, method: str = "GET", **headers: str) -> Asked:
    """One request; the protocol of answers is checked."""
    scope = {
        "type": "http", "method": method, "path": path, "extensions": {"http.response.pathsend": {}},
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        assert not sent or sent[-1]["type"] == "http.response.start" or sent[-1].get("more_body")
        sent.append(message)

    await app(scope, receive, send)
    start, *rest = sent
    assert start["type"] == "http.response.start" and rest and not rest[-1].get("more_body")
    told = [(name.decode().lower(), value.decode()) for name, value in start["headers"]]
    assert len(told) == len(dict(told)), "no header twice"
    return start["status"], dict(told), b"".join(one.get("body", b"") for one in rest)


def asked(app: Any, path: str, method: str = "GET", **headers: str) -> Asked:
    return asyncio.run(ask(app, path, method, **headers))


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_protector(tmp_path_factory.mktemp("weights") / "strong")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Pictures that were protected, which takes a while here."""
    run, found = PictureRun.__call__, []

    def slow(self: PictureRun, content: bytes, *rest: Any, **words: Any) -> bytes:
        found.append(content)
        assert threading.current_thread().name.startswith("hamguard-protect"), "the loop is not blocked"
        threading.Event().wait(0.05)
        return run(self, content, *rest, **words)

    monkeypatch.setattr(PictureRun, "__call__", slow)
    return found


Layer = Callable[..., hg.ProtectImages]


@pytest.fixture
def layer(net: Path, tmp_path: Path) -> Layer:
    return lambda site, **words: hg.ProtectImages(site, cache=tmp_path / "cache", protector=net, **words)


def test_pictures_are_protected_once_and_the_rest_is_untouched(layer: Layer, made: list[bytes]) -> None:
    content, page = picture(), b"<p>a page</p>" * 200
    site = Site({"/a.png": ("image/png", content), "/": ("text/html; charset=utf-8", page)})
    guarded = layer(site)
    status, headers, body = asked(guarded, "/a.png")
    assert status == 200 and body != content
    assert headers["content-type"] == "image/png" and headers["content-length"] == str(len(body))
    assert headers["vary"] == "accept" and headers["accept-ranges"] == "none" and "last-modified" not in headers
    assert headers["etag"] not in ('"plain"', "") and asked(guarded, "/a.png") == (status, headers, body)
    assert asked(layer(site), "/a.png")[2] == body and len(made) == 1  # another process finds the copy on the disk
    assert asked(guarded, "/") == asked(site_with_extensions(site), "/") and asked(guarded, "/")[2] == page
    assert asked(guarded, "/none.png") == (404, {"content-type": "image/png"}, b"nothing here")
    assert asked(guarded, "/a.png", "POST")[2] == content  # not what a browser shows
    assert asked(layer(site, eps="2/255"), "/a.png")[2] not in (body, content) and len(made) == 2


def site_with_extensions(site: Site) -> Callable[..., Awaitable[None]]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await site({**scope, "extensions": {}}, receive, send)

    return app


def test_the_copy_is_that_of_protect_image(net: Path, layer: Layer) -> None:
    content = picture(kind="JPEG", quality=90)
    guarded = layer(Site({"/a.jpg": ("image/jpeg; q=1", content)}), format="webp", quality=90)
    status, headers, body = asked(guarded, "/a.jpg")
    assert body == hg.protect_image(content, protector=net, format="webp", quality=90)
    assert (status, headers["content-type"]) == (200, "image/webp")


def test_heads_conditions_and_ranges(layer: Layer, made: list[bytes]) -> None:
    content = picture()
    site = Site({"/a.png": ("image/png", content), "/film": ("video/mp4", FILE)})
    guarded = layer(site)
    head = asked(guarded, "/a.png", "HEAD")
    status, headers, body = asked(guarded, "/a.png")
    assert head == (status, headers, b"") and len(made) == 1
    for tag in (headers["etag"], f'"other", W/{headers["etag"]}', "*"):
        assert asked(guarded, "/a.png", if_none_match=tag) == (304, {"vary": "accept", "etag": headers["etag"]}, b"")
    assert asked(guarded, "/a.png", if_none_match='"other"') == (status, headers, body)
    for part in ("bytes=0-99", "bytes=0-9,20-900"):
        assert asked(guarded, "/a.png", range=part, if_range='"plain"') == (status, headers, body)
        assert asked(guarded, "/a.png", "HEAD", range=part) == (status, headers, b"")
    status, headers, body = asked(guarded, "/film", range="bytes=10-19")
    assert (status, body, headers["etag"]) == (206, FILE[10:20], '"plain"')
    assert asked(guarded, "/film", "HEAD") == (200, {**headers, "content-length": "2048"}, b"")
    assert asked(guarded, "/film", if_none_match='"plain"')[0] == 304
    assert asked(guarded, "/film", range="bytes=0-9,20-29")[::2] == (200, FILE)
    assert len(made) == 1


def test_two_requests_at_once_make_one_copy(layer: Layer, made: list[bytes]) -> None:
    site = Site({f"/{seed}.png": ("image/png", picture(seed)) for seed in range(3)})
    guarded = layer(site, workers=2)

    async def many() -> list[Asked]:
        ticks = asyncio.create_task(ticking())
        leaving = asyncio.create_task(ask(guarded, "/0.png"))
        found = asyncio.gather(*(ask(guarded, f"/{number % 3}.png") for number in range(12)))
        await asyncio.sleep(0.02)
        leaving.cancel()  # a client that goes away takes nothing from the others
        answers = await found
        ticks.cancel()
        return answers

    turns = 0

    async def ticking() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.005)
            turns += 1

    answers = asyncio.run(many())
    assert sorted(made) == sorted(picture(seed) for seed in range(3))
    assert len({body for _, _, body in answers}) == 3 and {status for status, _, _ in answers} == {200}
    assert turns >= 5 and not guarded._making


BROKEN = {
    "/broken.png": ("image/png", picture()[:300], "is truncated"),
    "/a.gif": ("image/gif", b"GIF89a" + bytes(50), "but GIF"),
    "/empty.png": ("image/png", b"", "it is empty"),
    "/large.jpg": ("image/jpeg", bytes(5000), "it has 5,000 bytes; the limit is 4,096"),
}  # fmt: skip


@pytest.mark.parametrize("path", BROKEN)
def test_what_cannot_be_protected_is_withheld_or_passed(
    layer: Layer, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    kind, content, why = BROKEN[path]
    site = Site({path: (kind, content)})
    with caplog.at_level(logging.WARNING, "hamguard"):
        status, headers, body = asked(layer(site, max_bytes=4096), path)
    assert status == 502 and body.startswith(b"This picture could not be protected")
    assert headers == {
        "content-type": "text/plain; charset=utf-8",
        "content-length": str(len(body)),
        "cache-control": "no-store",
    }
    assert f"{path} is withheld: " in caplog.text and why in caplog.text
    assert asked(layer(site, max_bytes=4096), path, "HEAD") == (status, headers, b"")
    with caplog.at_level(logging.WARNING, "hamguard"):
        passed = asked(layer(site, max_bytes=4096, failing="pass"), path)
    assert passed == asked(site_with_extensions(site), path) and f"{path} is not protected: " in caplog.text


def test_a_long_body_without_a_length_is_not_collected(layer: Layer) -> None:
    sent = 0

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"image/png")]})
        for sent in range(1, 21):
            await send({"type": "http.response.body", "body": bytes(1000), "more_body": sent < 20})

    assert asked(layer(endless, max_bytes=4096), "/a.png")[0] == 502 and sent == 20
    assert asked(layer(endless, max_bytes=4096, failing="pass"), "/a.png")[2] == bytes(20_000)


def test_drawings_compressed_bodies_and_faults(layer: Layer, monkeypatch: pytest.MonkeyPatch) -> None:
    drawing = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    site = Site({"/a.svg": ("image/svg+xml", drawing), "/a.gif": ("image/gif", b"GIF89a")})
    assert asked(layer(site), "/a.svg")[2] == drawing
    assert asked(layer(site, leave=["image/GIF"]), "/a.gif")[2] == b"GIF89a"
    packed = Site({"/a.png": ("image/png", picture())}, content_encoding="gzip")
    assert asked(layer(packed), "/a.png")[0] == 502

    def broken(*rest: Any, **words: Any) -> bytes:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(PictureRun, "__call__", broken)
    content = picture()
    assert asked(layer(Site({"/a.png": ("image/png", content)})), "/a.png")[0] == 502
    assert asked(layer(Site({"/a.png": ("image/png", content)}), failing="pass"), "/a.png")[2] == content


def test_a_path_that_was_not_asked_for_is_no_way_out(layer: Layer) -> None:
    async def by_path(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"image/png")]})
        await send({"type": "http.response.pathsend", "path": "/photos/a.png"})

    assert asked(layer(by_path), "/a.png")[0] == 502


def test_other_protocols_go_through(layer: Layer) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(layer(Site({}))({"type": "lifespan"}, None, send))
    assert sent == [{"type": "lifespan.startup.complete"}]


def test_wrong_options_are_told_when_the_server_starts(layer: Layer, tmp_path: Path) -> None:
    for words, line in (
        ({"failing": "ignore"}, "unknown failing 'ignore'; allowed: withhold, pass"),
        ({"quality": 0}, "quality must be between 1 and 100"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"cache_bytes": 0}, "cache_bytes must be at least 1"),
    ):
        with pytest.raises(RequestError, match=line):
            layer(Site({}), **words)
    with pytest.raises(RequestError, match="none is not a protector folder"):
        hg.ProtectImages(Site({}), cache=tmp_path, protector="none")


def test_kept_copies_are_bounded_and_whole(tmp_path: Path) -> None:
    (tmp_path / "aa").mkdir()
    mine = tmp_path / "aa" / "photo.png"
    mine.write_bytes(bytes(5000))
    copies = KeptCopies(tmp_path, 4000, longest=2000)
    keys = [f"{number:064x}" for number in range(8)]
    for number, key in enumerate(keys):
        copies.keep(key, bytes([number]) * 900)
        assert copies.find(keys[0]) is not None  # it is asked for all the time
    left = [number for number, key in enumerate(keys) if copies.find(key)]
    assert left[0] == 0 and left[-1] == 7 and len(left) <= 4 and mine.is_file()
    assert copies.find(keys[0]) == bytes(900)
    copies.keep("a" * 64, bytes(2001))
    assert copies.find("a" * 64) is None  # too long to be kept
    path = tmp_path / keys[7][:2] / keys[7]
    path.write_bytes(path.read_bytes()[:-1])  # cut by somebody
    assert copies.find(keys[7]) is None
    assert KeptCopies(tmp_path, 4000, longest=2000).find(keys[0]) == bytes(900)


def test_a_folder_that_cannot_be_written_serves_all_the_same(
    net: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    guarded = hg.ProtectImages(Site({"/a.png": ("image/png", picture())}), cache=tmp_path / "file", protector=net)
    with caplog.at_level(logging.WARNING, "hamguard"):
        assert asked(guarded, "/a.png")[0] == 200
    assert "cannot be kept" in caplog.text
