"""One connection to PostgreSQL, made again where it is lost, and its errors in one line each; psycopg is loaded with the first."""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from hamguard.core.errors import HamguardError, RequestError, RunError
from hamguard.retrieval.stores import retry
from hamguard.retrieval.stores.address import Address

R = TypeVar("R")

OLDEST = 140000  # bit_count came with PostgreSQL 14

LOST = ("08", "40001", "40P01", "57P01", "57P02", "57P03")  # errors after which the same may be asked again
PASSING = ("starting up", "shutting down", "too many clients", "recovery mode")  # says a server that will answer soon


class Session:
    """A connection to a data base, kept as long as it holds.

    Args:
        address: where.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._held: Any = None

    def run(self, work: Callable[[Any], R]) -> R:
        """What some work on a connection finds, in one transaction; begun again where the connection is lost.

        Args:
            work: is given the connection; after a loss nobody knows whether its changes were kept, and it must find out.

        Raises:
            RequestError: psycopg is not installed, the server refuses the connection, or what `work` raises.
            RunError: the server cannot be reached, fails, is full, or does not answer in time.
        """

        def ask() -> R:
            try:
                with self._explained():
                    connection = self._connection()
                    with connection.transaction():
                        return work(connection)
            except retry.Lost:
                self._drop()
                raise

        return retry.again(self.address.shown, ask)

    def _connection(self) -> Any:
        psycopg = self._psycopg()
        if self._held is not None and self._held.closed:
            self._held = None
        if self._held is None:
            timeout = {} if "connect_timeout" in self.address.url else {"connect_timeout": retry.CONNECT_SECONDS}
            # Plans are made for each statement anew: a kept one would survive a change of the tables' indexes.
            self._held = psycopg.connect(
                self.address.url, autocommit=True, prepare_threshold=None, application_name="hamguard", **timeout
            )
            weakref.finalize(self, self._held.close)
            if self._held.info.server_version < OLDEST:
                raise RequestError(
                    f"{self.address.shown} is PostgreSQL {self._held.info.server_version // 10000}; 14 is the oldest"
                )
        return self._held

    def _drop(self) -> None:
        held, self._held = self._held, None
        with suppress(Exception):
            held.close()

    def _psycopg(self) -> Any:
        try:
            return importlib.import_module("psycopg")
        except ImportError as error:
            raise RequestError("an index at postgresql:// needs psycopg: pip install 'hamguard[postgres]'") from error

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of psycopg as ours.

        Raises:
            Lost: the connection is gone.
            HamguardError: anything else.
        """
        errors = self._psycopg().Error
        try:
            yield
        except errors as error:
            raise self._meant(error) from None  # an error of psycopg holds the password

    def _meant(self, error: Any) -> Exception:
        text, state, shown = self.address.clean(str(error)), error.sqlstate or "", self.address.shown
        if self._held is None:
            if type(error).__name__ == "ProgrammingError":
                return RequestError(f"{shown} is no address that PostgreSQL reads: {text}")
            if "FATAL" in text and not any(word in text for word in PASSING):
                return RequestError(f"{shown} refuses the connection: {text.rpartition('FATAL:')[2].strip()}")
            return retry.Lost(text)
        if state.startswith(LOST) or self._held.closed or self._held.broken:
            return retry.Lost(text)
        return _MEANT.get(state, _other)(shown, text)


def _other(shown: str, text: str) -> HamguardError:
    return RunError(f"{shown} failed: {text}; nothing was changed")


def _no_index(shown: str, text: str) -> HamguardError:
    return RequestError(f"no index at {shown}; build one with `hamguard index build`")


def _held_long(shown: str, text: str) -> HamguardError:
    waited = f"another process has held {shown} for {retry.LOCK_SECONDS} s"
    return RunError(f"{waited}, nothing was changed; run the same command again when it is done")


_MEANT: dict[str, Callable[[str, str], HamguardError]] = {
    "3F000": _no_index,
    "42P01": _no_index,
    "42501": lambda shown, text: RequestError(f"{shown}: the user of the address may not do this: {text}"),
    "53100": lambda shown, text: RunError(f"{shown} has no space left, nothing was changed: {text}"),
    "55P03": _held_long,
    "57014": lambda shown, text: RunError(
        f"{shown} did not answer within {retry.ANSWER_SECONDS} s; nothing was changed"
    ),
}
"""What errors of these states say."""
