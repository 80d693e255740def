"""What was asked of a server is asked again where the connection is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from hamguard.core.errors import RunError

R = TypeVar("R")

TRIES, PAUSE = 3, 0.5
"""How often the same is asked, and seconds before the second time; twice as many before the third."""
CONNECT_SECONDS, ANSWER_SECONDS, LOCK_SECONDS = 10, 600, 60
"""How long a connection, an answer and another writer are waited for."""


class Lost(Exception):  # noqa: N818 - it is caught here and is none of a user's
    """A connection is gone; what was asked may be asked again."""


def again(shown: str, ask: Callable[[], R]) -> R:
    """What `ask` gives; asked again where the connection is lost.

    Args:
        shown: the server, without a password.
        ask: after a loss nobody knows whether its changes were kept, and it must find out.

    Raises:
        RunError: it is lost every time.
    """
    for turn in range(TRIES):
        if turn:
            time.sleep(PAUSE * 2 ** (turn - 1))
        try:
            return ask()
        except Lost as error:
            last = str(error)
    raise RunError(
        f"{shown} cannot be reached, {TRIES} times in a row, at last with: {last}; run the same command again"
    )
