"""Imports every method file, so that `REGISTRY` lists all hash methods."""

from __future__ import annotations

from hamguard.hashing import adsh, csq, dph, dpsh, dsdh, dsh, hashnet
from hamguard.hashing.objective import REGISTRY

__all__ = ["REGISTRY", "adsh", "csq", "dph", "dpsh", "dsdh", "dsh", "hashnet"]
