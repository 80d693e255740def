"""The command line inside a process of its own: exit code and both streams, as a shell would see them, at the cost of a call."""

from __future__ import annotations

import gc
import os
import resource
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, NamedTuple

ROOM = 3 << 30
"""Bytes that a command may take beyond what its process has: no fixture needs them, a damaged header asks for far more."""


class Answer(NamedTuple):
    """What a command left behind; `code` is -1 where an error came through."""

    code: int
    out: str
    err: str


class Killed(BaseException):
    """Stands for SIGKILL inside one process."""


class Shell:
    """Runs commands in this process, with files in the place of its two streams, so that C libraries are heard, too."""

    def __init__(self) -> None:
        self.files = [tempfile.TemporaryFile("w+b"), tempfile.TemporaryFile("w+b")]  # noqa: SIM115 - as long as the process
        for number, file in enumerate(self.files, 1):
            os.dup2(file.fileno(), number)
        self.streams = [
            open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
            for number in (1, 2)
        ]
        self.least = memory_taken()
        if self.least:
            resource.setrlimit(resource.RLIMIT_AS, (self.least + ROOM, resource.getrlimit(resource.RLIMIT_AS)[1]))
        for name in ("HAMGUARD_DATA", "HAMGUARD_DEBUG", "RANK", "WORLD_SIZE"):
            os.environ.pop(name, None)
        os.environ["COLUMNS"] = "160"
        import torch
        from typer.main import get_command

        from hamguard.cli import main

        torch.set_num_threads(1)
        main.guarded = nullcontext  # type: ignore[assignment]  # this process is the child that may die
        main.app = get_command(main.app)  # type: ignore[assignment]  # made once: it costs more than most commands

    def __call__(self, *words: object) -> Answer:
        """`shell("evaluate", folder, "--json")`; a function in the place of the verb is called with the other words."""
        from hamguard.cli import main

        for file in self.files:
            file.seek(0)
            file.truncate()
        sys.stdout, sys.stderr = self.streams
        kept = sys.argv, list(sys.path)
        code = -1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("default")
                if callable(words[0]):
                    code = _call(words)
                else:
                    sys.argv = ["hamguard", *map(str, words)]
                    main.run()
        except SystemExit as ended:
            code = int(ended.code or 0)
        except Killed:
            code = 137
        except BaseException:
            traceback.print_exc()
        finally:
            sys.argv, sys.path[:] = kept
            for stream in self.streams:
                stream.flush()
        return Answer(code, *(_read(file) for file in self.files))

    def is_tired(self) -> bool:
        """Whether so much memory is kept, by cycles or by libraries, that whole files could fail."""
        if memory_taken() > self.least + ROOM // 3:
            gc.collect()
        return memory_taken() > self.least + ROOM // 2


def _call(words: Sequence[object]) -> int:
    """A reader of the library, with errors as the command line shows them."""
    from hamguard.core.errors import HamguardError

    function, *arguments = words
    try:
        print(function(*arguments))  # type: ignore[operator]  # noqa: T201
    except HamguardError as error:
        print(f"hamguard: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "backslashreplace")


def memory_taken() -> int:
    """Bytes of address space of this process; 0 where the system does not say."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[0]) * resource.getpagesize() if status.is_file() else 0


@contextmanager
def killed_after(name: str, count: int = 1) -> Iterator[None]:
    """End with `Killed` whatever runs inside, once files of this name have been finished so often."""
    replace, seen = Path.replace, []

    def counting(self: Path, target: Path | str) -> Path:
        done = replace(self, target)
        if Path(target).match(name):
            seen.append(target)
            if len(seen) >= count:
                raise Killed
        return done

    Path.replace = counting  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Path.replace = replace  # type: ignore[method-assign]
