"""A site whose pictures are protected on their way out, once each; `uvicorn site:app` serves it, here it is asked in process."""

import asyncio
import io
from typing import Any

from PIL import Image

import hamguard as hg

number = hg.data("digits").query.first(1).images[0, 0]
stored = io.BytesIO()
Image.fromarray((number * 255).round().byte().numpy()).resize((256, 256)).save(stored, "JPEG", quality=90)


async def site(scope: Any, receive: Any, send: Any) -> None:
    """Any ASGI application: yours, after it has resized the picture."""
    if scope["type"] == "http":
        kind = [(b"content-type", b"image/jpeg")]
        await send({"type": "http.response.start", "status": 200, "headers": kind})
        await send({"type": "http.response.body", "body": stored.getvalue()})


app = hg.ProtectImages(site, cache="protected", eps="8/255", quality=90)


async def ask(method: str) -> tuple[dict[bytes, bytes], bytes]:
    """What a browser gets."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    await app({"type": "http", "method": method, "path": "/photo.jpg", "headers": []}, receive, send)
    return dict(sent[0]["headers"]), sent[1]["body"]


if __name__ == "__main__":
    headers, body = asyncio.run(ask("GET"))
    again, _ = asyncio.run(ask("HEAD"))  # from the folder `protected`
    same = body == hg.protect_image(stored.getvalue(), quality=90)
    print(
        f"{len(stored.getvalue()):,} bytes are stored, {len(body):,} are served as {headers[b'content-type'].decode()}"
    )
    print(f"as hg.protect_image makes them: {same}; asked again, the same headers: {again == headers}")
