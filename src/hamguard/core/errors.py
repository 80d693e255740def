"""Every error that a user may meet, and the exit code that belongs to it.

`RequestError` means that the request was wrong (exit code 2): it is a `ValueError`, so that library users
can catch it as one. `RunError` means that a good request failed on the way (exit code 1).
"""

from __future__ import annotations

from pathlib import Path


class HamguardError(Exception):
    """Base of all errors that are shown to the user as one line."""

    exit_code = 1


class RequestError(HamguardError, ValueError):
    """The request cannot be carried out as it was given: what was wrong, what was received, what is allowed."""

    exit_code = 2


class RunError(HamguardError, RuntimeError):
    """The request was good, the run failed: loss became NaN, disk full, a worker died."""

    exit_code = 1


class MissingFileError(RequestError):
    """A file that was asked for does not exist."""


class DamagedError(RequestError):
    """A file that hamguard wrote, or can read, is not as it was written: never trusted, always named.

    Args:
        path: the file.
        what: what is wrong with it.
    """

    def __init__(self, path: Path | str, what: str) -> None:
        super().__init__(f"{path} is damaged: {what}")


class DataMissingError(RequestError):
    """A named data set is not on this machine; the message says which files to put where."""


class ImageError(RequestError):
    """A picture file cannot be decoded: truncated, too large, or not a picture."""


class StaleError(RequestError):
    """A stored file belongs to another model or split than the one it is used with."""


class CollapseError(RunError):
    """Training ended in constant codes; the message says what to change."""


class StoppedError(HamguardError):
    """A person stopped the run (Ctrl-C); the message says what was kept. The exit code is the shell's for SIGINT."""

    exit_code = 130
