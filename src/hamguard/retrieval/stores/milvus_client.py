"""Milvus, on a server or in a file, asked in pieces that it answers whole; pymilvus is loaded with the first question.

Milvus cuts an answer at 16,384 rows without a word. So rows are asked for by ranges of a number that they have, which are halved
until what comes back is surely whole. Ids stand in no expression: an item is found by 63 bits of its id's hash, and then compared.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from hamguard.core.errors import RequestError, RunError
from hamguard.retrieval.stores import retry
from hamguard.retrieval.stores.address import Address

try:
    import fcntl
except ImportError:  # milvus-lite has no wheel for Windows
    fcntl = None  # type: ignore[assignment]

R = TypeVar("R")

WHOLE = 16_000  # rows; an answer with fewer was not cut
CHUNK = 2_000  # rows that are sent at once, and values that are asked for in one expression
FILE = ".db"
"""An address that ends so names a file, which milvus-lite opens."""
AWAY = (2, 14, 100)
"""Errors after which the same may be asked again: unavailable, of pymilvus and of gRPC; a collection that is gone."""
_OPEN: dict[str, IO[str]] = {}  # files that this process has open, and what keeps others from them
FULL = ("no space left", "disk quota", "insufficient disk", "quota exceeded", "memory quota")


class Client:
    """A connection to Milvus, kept as long as it holds.

    Args:
        address: `milvus://user:password@host:port/database#name`, or `milvus://FILE.db#name`.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._held: Any = None

    def run(self, work: Callable[[Client], R]) -> R:
        """What some work finds; begun again where the connection is lost.

        Raises:
            RequestError: pymilvus is not installed, or what `work` raises.
            RunError: the server cannot be reached, fails, is full, or does not answer in time.
        """

        def ask() -> R:
            try:
                with self._explained():
                    return work(self)
            except retry.Lost:
                self.close()
                raise

        return retry.again(self.address.shown, ask)

    def close(self) -> None:
        """Let go of the server; of a file, other processes may open it then."""
        held, self._held = self._held, None
        with suppress(Exception):
            held.close()
        if held is not None and self.file:
            release(self.file)

    @property
    def file(self) -> str:
        """The file that is opened; empty for a server."""
        parts = self.address.parts
        path = parts.netloc + parts.path
        return path if path.endswith(FILE) else ""

    @property
    def held(self) -> bool:
        """Whether there is a connection."""
        return self._held is not None

    @property
    def inner(self) -> Any:
        """The client of pymilvus."""
        if self._held is None:
            pymilvus = self._pymilvus()
            if self.file:
                self._lock()
                self._held = pymilvus.MilvusClient(self.file, timeout=retry.CONNECT_SECONDS)
            else:
                parts = self.address.parts
                if not parts.hostname:
                    raise RequestError(
                        f"{self.address.shown} names no server and no file of Milvus; give milvus://HOST:19530/DATABASE#NAME or "
                        "milvus://FILE.db#NAME"
                    )
                words = {
                    "user": parts.username or "",
                    "password": parts.password or "",
                    "db_name": parts.path.strip("/"),
                }
                uri = f"http://{parts.hostname}:{parts.port or 19530}"
                self._held = pymilvus.MilvusClient(uri, timeout=retry.CONNECT_SECONDS, **words)
        return self._held

    def _lock(self) -> None:
        """Keep other processes from the file while this one has it open: that they write over each other nobody else prevents.

        Raises:
            Lost: another process has it.
            RequestError: there is no folder for it, or it may not be written.
        """
        path = str(Path(self.file).resolve())
        if path in _OPEN:
            return
        try:
            handle = open(f"{path}.lock", "a")  # noqa: PTH123, SIM115
        except OSError as error:
            raise RequestError(f"{self.address.shown} cannot be opened: {error.strerror}") from error
        try:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            raise retry.Lost("another process has the file open") from None
        _OPEN[path] = handle

    def schema(self, **fields: Any) -> tuple[Any, Any]:
        """Schema and indexes of a collection whose first field is its key.

        Args:
            fields: name to type and what else it needs: `("VARCHAR", {"max_length": 64})`.
        """
        types = self._pymilvus().DataType
        schema, indexes = (
            self.inner.create_schema(auto_id=False, enable_dynamic_field=False),
            self.inner.prepare_index_params(),
        )
        for number, (name, (kind, more)) in enumerate(fields.items()):
            schema.add_field(name, getattr(types, kind), is_primary=number == 0, **more)
            if kind == "BINARY_VECTOR":
                indexes.add_index(name, index_type="BIN_FLAT", metric_type="HAMMING")
        return schema, indexes

    def make(self, name: str, **fields: Any) -> None:
        """Make a collection whose readers see what was written before they asked, unless it is there."""
        if not self.inner.has_collection(name):
            schema, indexes = self.schema(**fields)
            self.inner.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")
        self.inner.load_collection(name)

    def send(self, name: str, rows: Sequence[dict[str, Any]], *, over: bool = False) -> None:
        """Write rows, over those of the same key where `over` says so."""
        write = self.inner.upsert if over else self.inner.insert
        for start in range(0, len(rows), CHUNK):
            write(name, list(rows[start : start + CHUNK]), timeout=retry.ANSWER_SECONDS)

    def rows(self, name: str, fields: Sequence[str], by: str, below: int, where: str = "") -> Iterator[dict[str, Any]]:
        """All rows of a collection.

        Args:
            name: of the collection.
            fields: what of them.
            by: field of whole numbers, by ranges of which they are asked for.
            below: a number above all of these, or the first that is not meant.
            where: what they must fulfil.
        """
        step = below if where else WHOLE // 2
        for low in range(0, below, step):
            yield from self._range(name, list(fields), (by, where), low, min(low + step, below))

    def _range(
        self, name: str, fields: list[str], of: tuple[str, str], low: int, high: int
    ) -> Iterator[dict[str, Any]]:
        by, where = of
        text = f"{by} >= {low} and {by} < {high}" + (f" and {where}" if where else "")
        found = self.inner.query(name, filter=text, output_fields=fields, timeout=retry.ANSWER_SECONDS)
        if len(found) < WHOLE or high - low == 1:
            yield from found
            return
        middle = (low + high) // 2
        yield from self._range(name, fields, of, low, middle)
        yield from self._range(name, fields, of, middle, high)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of pymilvus as ours, and none of its log on the way.

        Raises:
            Lost: the connection is gone.
            HamguardError: anything else.
        """
        errors = self._pymilvus().exceptions.MilvusException
        log, root = logging.getLogger("pymilvus"), logging.getLogger()  # to the latter milvus-lite writes
        level = log.level
        log.setLevel(logging.CRITICAL)
        root.addFilter(_not_of_lite)
        try:
            yield
        except errors as error:
            raise self._meant(error) from None
        except Exception as error:
            if type(error).__module__.startswith("grpc"):
                raise retry.Lost(self.address.clean(str(error))) from None
            raise
        finally:
            log.setLevel(level)
            root.removeFilter(_not_of_lite)

    def _meant(self, error: Any) -> Exception:
        text, shown = self.address.clean(str(getattr(error, "message", "") or error)), self.address.shown
        code = getattr(error, "code", None)
        number = getattr(code, "value", code)
        number = number[0] if isinstance(number, tuple) else number
        if "Open local milvus failed" in text:
            return retry.Lost("another process has the file open, or it is no file of Milvus")
        if number in AWAY or "UNAVAILABLE" in text:
            return retry.Lost(text)
        if any(word in text.lower() for word in FULL):
            return RunError(f"{shown} has no space left, nothing was changed: {text}")
        if "auth check failure" in text or "unauthenticated" in text.lower():
            return RequestError(f"{shown} refuses the connection: {text}")
        if "DEADLINE_EXCEEDED" in text:
            return RunError(f"{shown} did not answer within {retry.ANSWER_SECONDS} s; nothing was changed")
        return RunError(f"{shown} failed: {text}; nothing was changed")

    def _pymilvus(self) -> Any:
        try:
            if self.file:
                importlib.import_module("milvus_lite")
            return importlib.import_module("pymilvus")
        except ImportError as error:
            extra = "milvus-lite" if self.file else "milvus"
            raise RequestError(
                f"an index at milvus:// needs {error.name or 'pymilvus'}: pip install 'hamguard[{extra}]'"
            ) from error


def release(file: str) -> None:
    """Let go of a file of Milvus, so that another process may open it."""
    with suppress(Exception):
        importlib.import_module("milvus_lite.server_manager").server_manager_instance.release_server(file)
    if handle := _OPEN.pop(str(Path(file).resolve()), None):
        handle.close()


def _not_of_lite(record: logging.LogRecord) -> bool:
    return "milvus_lite" not in record.pathname


def key_of(name: str) -> int:
    """63 bits of the hash of an id."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "big") >> 1
