"""Addresses of indexes: a folder, or `scheme://user:password@host:port/database#name`; no password is ever shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from hamguard.core.errors import RequestError

NAME = "hamguard"
"""What an index in a data base is called where the address does not say."""
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,39}")
_SECRET = re.compile(r"pass(word|wd)?|token|secret", re.IGNORECASE)


@dataclass(frozen=True)
class Address:
    """Where in a data base an index lies.

    Attributes:
        url: address of the data base, without the name; it may hold a password.
        name: what the index is called there.
    """

    url: str = field(repr=False)
    name: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address.

        Raises:
            RequestError: it is none, or the name is none of small letters, digits and underscores.
        """
        url, _, name = text.partition("#")
        name = name or NAME
        if not _NAME.fullmatch(name):
            raise RequestError(  # what stands there may be the rest of a password
                "the name of an index, behind the # of its address, is of small letters, digits and _, at most 40; "
                "a # in a password is written %23"
            )
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError as error:
            raise RequestError(f"{hidden(url)} is no address of a data base: host or port") from error
        if not parts.scheme or "://" not in url:
            raise RequestError(
                f"{hidden(url)} is no address of a data base; it begins with a scheme such as postgresql://"
            )
        return cls(url, name)

    @property
    def parts(self) -> SplitResult:
        """The address taken apart."""
        return urlsplit(self.url)

    @property
    def shown(self) -> str:
        """The address without a password, as messages and rows may hold it."""
        return f"{hidden(self.url)}#{self.name}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown, as it is written in the address, and as it is meant."""
        parts = self.parts
        found = [parts.password or ""] + [value for key, value in parse_qsl(parts.query) if _SECRET.search(key)]
        return tuple(sorted({one for held in found if held for one in (held, unquote(held))}, key=len, reverse=True))

    def clean(self, text: str) -> str:
        """A message in one line, without what must not be shown."""
        line = " ".join(text.split())
        for secret in self.secrets:
            line = line.replace(secret, "***")
        return line


def is_address(place: object) -> bool:
    """Whether a place is an address of a data base, and no folder."""
    return isinstance(place, str) and "://" in place


def hidden(url: str) -> str:
    """An address with its passwords left out.

    >>> hidden("postgresql://me:secret@host/photos?sslmode=require")
    'postgresql://me@host/photos?sslmode=require'
    """
    scheme, between, rest = url.partition("://")
    if "@" in rest and "@" not in rest.partition("/")[0]:  # a slash in a password, which should be %2F
        rest = rest.rpartition("@")[2]
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    path, mark, query = path.partition("?")
    kept = "&".join(one for one in query.split("&") if not _SECRET.search(one.partition("=")[0]))
    return f"{scheme}{between}{user.partition(':')[0]}{at}{host}{slash}{path}{mark if kept else ''}{kept}"
