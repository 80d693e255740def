"""Shared by all tests: one thread a process (xdist runs several), and the real data where they are."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture
def data_root() -> Path:
    """Folder of the real data; a test that needs it is skipped where it is absent, because users do not have it."""
    place = os.environ.get("HAMGUARD_DATA")
    if not place or not Path(place).is_dir():
        pytest.skip("the real data sets are not here: set HAMGUARD_DATA to their folder")
    return Path(place)
