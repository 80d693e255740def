"""Training of hash models in two published code bases; presets `prosgan` and `saat` of pairwise methods name them.

ProS-GAN (github.com/xunguangwang/ProS-GAN, `hashing.py` and `model/dpsh.py`): the networks of ProS-GAN's tables, VGG-11 and others.
SAAT (github.com/xandery-geek/SAAT, `hashing.py`): the networks of SAAT's tables, AlexNet.

Both start from ImageNet weights, compare a batch with a memory of all training pictures that begins at zero, know no weights of
their own for the new layer, and take no random views. Deliberate difference: the rate falls at one and at two thirds of the
run; theirs falls after every 33 of 100 epochs, and so a third time for the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PAIRS: Mapping[str, Any] = {"pairs": "bank", "fill": False, "balance": False}

_BOTH: Mapping[str, Any] = {
    "epochs": 100,
    "batch_size": 32,
    "optimizer": "sgd",
    "schedule": "step",
    "head_lr_factor": 1.0,
    "augment": "none",
}
TRAINING: Mapping[str, Mapping[str, Any]] = {
    "prosgan": {**_BOTH, "lr": 0.05, "momentum": 0.0, "weight_decay": 1e-5},
    "saat": {**_BOTH, "lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4},
}
"""Training recipe by preset."""
