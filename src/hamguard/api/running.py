"""Where and how a call is carried out, where its caller does not say: the device that is there, and a bar where somebody looks."""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from hamguard.core.context import Context
from hamguard.core.errors import RequestError

if TYPE_CHECKING:
    import torch
    from rich.progress import Progress, TaskID


def choose_device(name: str) -> torch.device:
    """The device that `auto`, `cpu`, `cuda` or `cuda:N` names.

    Raises:
        RequestError: no such device here.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise RequestError(f"unknown device {name!r}; allowed: auto, cpu, cuda, cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise RequestError(f"unknown device {name!r}; allowed: auto, cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RequestError(f"device {name} is not there: this machine has {torch.cuda.device_count()} CUDA devices")
    return device


def running(context: Context | None, model: object = None) -> Context:
    """The context of a call: as given, its device looked for; else on the model's own device (a path's: the best), with bars.

    Args:
        context: what the caller said.
        model: the model that the call is about; None or a path where it is not loaded yet.
    """
    if context is not None:
        return context.but(device=choose_device(str(context.device)))
    if model is None or isinstance(model, (str, Path)):
        return Context(device=choose_device("auto"), stage=Bar)
    weights = getattr(model, "parameters", None)
    first = next(iter(weights()), None) if callable(weights) else None
    return Context(device="cpu" if first is None else first.device, stage=Bar)


def notebook_shows_bars() -> bool:
    """Whether output is shown by a notebook that can move a bar; without ipywidgets it would print a warning a step."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell" and find_spec("ipywidgets") is not None


class Bar:
    """A progress bar on standard error, on a terminal or in a notebook only, and only once the work has lasted two seconds.

    Use as a context manager; the object itself is the callback `(share, text)`.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._started = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._wanted = sys.stderr.isatty() or notebook_shows_bars()

    def __enter__(self) -> Bar:
        return self

    def __call__(self, share: float, text: str = "") -> None:
        """Show that `share` of the work is done."""
        if not self._wanted or (self._bar is None and time.monotonic() - self._started < 2):
            return
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
            times = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[text]}"))
            self._bar = Progress(*columns, *times, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self.what, total=1.0, text="")
        if self._task is not None:
            self._bar.update(self._task, completed=share, text=text)

    def count(self, done: int, total: int) -> None:
        """Show that `done` of `total` things are done."""
        self(done / max(1, total), f"{done:,} of {total:,}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
