"""Names of files, labels and ids as a terminal or a page may show them: nothing in them can move the cursor or begin a line."""

from __future__ import annotations

import json
import re
from typing import Any

_ACTIVE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, marks that turn the direction of writing, line ends of all kinds, and bytes that were no UTF-8."""


def shown(text: object) -> str:
    r"""A name in one line, with everything that a terminal would act on written as an escape.

    Bytes of a file name that are no UTF-8 (Python keeps them as halves of surrogate pairs) are written as `\xe9`.

    >>> print(shown("bad\nhamguard: all fine.jpg"))
    bad\nhamguard: all fine.jpg
    >>> print(shown("caf\udce9 \x1b[2J"))
    caf\xe9 \x1b[2J
    """
    return _ACTIVE.sub(lambda found: _escaped(found.group()), str(text))


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode() if not 0xD800 <= code <= 0xDFFF else f"\\u{code:04x}"


def json_line(value: Any, encoding: str | None = "utf-8") -> str:
    r"""A JSON value in one line in which nothing moves a cursor, and which any encoding of the output can write.

    >>> print(json_line({"file": "caf\udce9 \x9b2J"}))
    {"file": "caf\udce9 \u009b2J"}
    """
    plain = (encoding or "").lower().replace("-", "").replace("_", "") not in ("utf8", "utf8sig")
    return _ACTIVE.sub(lambda found: f"\\u{ord(found.group()):04x}", json.dumps(value, ensure_ascii=plain))
