"""Checkpoints: one file, written beside its place and renamed, loaded without executing code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from hamguard.core.errors import RequestError, StaleError
from hamguard.core.files import replacing

NAME = "checkpoint.pt"


def save_checkpoint(folder: Path, run: str, content: dict[str, Any]) -> None:
    """Write the checkpoint of `run` (the hash of its request).

    Raises:
        RunError: the folder cannot be written; the last checkpoint stays.
    """
    with replacing(folder / NAME) as temporary:
        try:
            torch.save({"run": run, **content}, temporary)
        except RuntimeError as error:  # torch reports a full disk as RuntimeError
            raise OSError(f"is the disk full? ({str(error).splitlines()[0]})") from error


def load_checkpoint(folder: Path, run: str) -> dict[str, Any] | None:
    """Read the checkpoint of a folder, None where there is none.

    Raises:
        StaleError: the folder holds an unfinished run with another request.
        RequestError: the file is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # a torn file makes the reader raise almost anything
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise RequestError(f"{path} is damaged; start again with --restart: {first}") from error
    if content.get("run") != run:
        raise StaleError(
            f"{folder} holds an unfinished run with other settings; give another --out, "
            "repeat the settings to go on, or --restart to throw it away"
        )
    return content
