"""Checkpoints are read without executing what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hamguard.core.errors import RequestError
from hamguard.training.checkpoint import load_checkpoint


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"run": "x", "evil": Evil()}, tmp_path / "checkpoint.pt", pickle_module=pickle)
    with pytest.raises(RequestError, match="is damaged"):
        load_checkpoint(tmp_path, "x")
    assert not (tmp_path / "ran").exists()
