"""Ctrl-C: the first press asks, a second one a moment later interrupts, and the old handler comes back."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from hamguard.training import stopping
from hamguard.training.stopping import StopRequest


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_one_press_asks_and_a_later_one_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), StopRequest() as stop:
        assert not stop.asked
        press()
        press()  # the same press, passed on twice
        assert stop.asked
        monkeypatch.setattr(stopping, "ONE_PRESS", -1.0)
        press()
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_it_does_nothing() -> None:
    found = []

    def work() -> None:
        with StopRequest() as stop:
            found.append(stop.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
