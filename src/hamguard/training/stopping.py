"""Ctrl-C in training: the step at hand is finished and saved, so that stopping loses nothing."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

ONE_PRESS = 1.0  # seconds: the terminal and torchrun may both pass on the same Ctrl-C


class StopRequest:
    """While this context is open, Ctrl-C (SIGINT) only sets `asked`; pressed again a second later, it interrupts at once.

    Outside the main thread, where Python takes no signals, it does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._since = 0.0
        self._before: Any = None

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._take)
        return self

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.asked and time.monotonic() - self._since > ONE_PRESS:
            raise KeyboardInterrupt
        if not self.asked:
            self.asked, self._since = True, time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
