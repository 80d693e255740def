"""Out of memory, in whatever words a library says it: told apart from other faults, and said in one line."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
from collections.abc import Iterator
from types import FrameType

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

SAID = re.compile(
    r"can.?t allocate memory|cannot allocate memory|unable to allocate|failed to allocate|not enough memory|out of memory"
    r"|bad_alloc|failed to map segment|can.?t start new thread|failed to create thread|memory allocation",
    re.IGNORECASE,
)
"""How torch, NumPy, faiss, CUDA, the loader of libraries, and Python's threads say it."""
ASKED = re.compile(r"(?:tried to allocate|unable to allocate) ([\d.,]+ ?(?:bytes|[KMGTP]i?B))", re.IGNORECASE)
LEFT = "a smaller --batch-size, fewer items at once or a higher limit need less or give more"
ENDS = (signal.SIGABRT, signal.SIGSEGV, signal.SIGILL)  # how a library ends a process that gets no memory

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # numbers of malloc.h
KEPT = 2**31 - 1  # bytes, the most that a C int can say


def memory_line(error: BaseException) -> str | None:
    """What to say where memory was too small; None where the error, and what it came from, is another one."""
    seen: BaseException | None = error
    for _ in range(20):
        if seen is None:
            return None
        if _is_memory(seen):
            asked = ASKED.search(str(seen))
            more = f": {asked[1]} more could not be had" if asked else ""
            return f"not enough memory{more}{_limit_words()}; {LEFT}"
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return None


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    if isinstance(error, SystemError):  # a library that gave up without a word
        return limit() is not None
    return isinstance(error, (RuntimeError, ImportError)) and bool(SAID.search(str(error)))


def limit() -> int | None:
    """Bytes of addresses that this process may use at most (`ulimit -v`); None without a limit."""
    if resource is None:
        return None
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if most in (resource.RLIM_INFINITY, -1) else most


def _limit_words() -> str:
    most = limit()
    return "" if most is None else f" (the limit of this shell is {most >> 20:,} MiB)"


def keep_freed() -> None:
    """Let the process keep memory that it frees for its next batch, where the system's library can be told so (glibc).

    A network asks for the same hundreds of MiB at every batch. By default they go back to the system and come again page by page,
    which costs more than the network itself at 224 pixels. Whoever set `MALLOC_...` in the environment has said it otherwise.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    with contextlib.suppress(Exception):  # no glibc, no such call
        import ctypes

        library = ctypes.CDLL(None)
        for parameter in (TRIM_THRESHOLD, MMAP_THRESHOLD):
            library.mallopt(parameter, KEPT)


@contextlib.contextmanager
def guarded() -> Iterator[int | None]:
    """Under a memory limit, let a child process do the work.

    A library that gets no memory may end the process at once, with a line of its own or none, before Python can say a word.

    Yields:
        None to whoever has to do the work; the exit code of the child to its parent, 1 where it ended in this way.
    """
    if limit() is None or not hasattr(os, "fork"):
        yield None
        return
    child = os.fork()
    if child == 0:
        _end_with_parent()
        yield None
        return

    def pass_on(number: int, _: FrameType | None) -> None:
        os.kill(child, number)

    before = {one: signal.signal(one, pass_on) for one in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the child, too, which answers it
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for one, handler in before.items():
        signal.signal(one, handler)
    if -code in ENDS or code == 127:  # the loader of libraries ends with 127
        os.write(2, f"hamguard: not enough memory{_limit_words()}; {LEFT}\n".encode())
        code = 1
    yield code if code >= 0 else 128 - code


def _end_with_parent() -> None:
    with contextlib.suppress(Exception):  # Linux alone has it
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
