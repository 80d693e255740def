"""Names of files, labels and ids as a terminal or a page may show them: nothing in them can move the cursor or begin a line."""

from __future__ import annotations

import re

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
