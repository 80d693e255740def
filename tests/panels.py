"""A tiny panel for tests: three matchers on two networks nobody trained, with codes of 40 pictures that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hamguard.core.digests import digest_array
from hamguard.models import panel
from hamguard.models.hash_model import HashModel
from hamguard.models.panel import Figure, PanelEntry, half_head, write_panel
from hamguard.models.store import make_card

REFERENCE = 40
MATCHERS = (("small-itq", "conv2", 0), ("small-lsh", "conv2", 1), ("deep-itq", "resnet20", 2))


def tiny_panel(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, HashModel]:
    """Write it, let it stand for the one that ships, and give the models that it should give."""
    folder.mkdir(parents=True, exist_ok=True)
    entries, heads, codes, models = [], {}, {}, {}
    for name, network, seed in MATCHERS:
        draw = torch.Generator().manual_seed(seed)
        model = HashModel(network, 16, size=(16, 16), mean=(0.5,), std=(0.1,), generator=draw).eval()
        same = HashModel(network, 16, size=(16, 16), generator=torch.Generator().manual_seed(7)).backbone.state_dict()
        model.backbone.load_state_dict(
            {key: v.half().float() if v.is_floating_point() else v for key, v in same.items()}
        )
        save_file(
            {key: v.half() for key, v in same.items() if v.is_floating_point()}, folder / f"{network}.safetensors"
        )
        model.head.weight.data = model.head.weight.data.half().float()
        codes[name] = np.random.default_rng(seed).integers(0, 256, (REFERENCE, 2)).astype(np.uint8)
        heads[name] = half_head(model.head.weight.detach(), model.head.bias.detach())
        entries.append(
            PanelEntry(
                name=name,
                weights=f"{network}.safetensors",
                codes_hash=digest_array(codes[name]),
                precision=Figure(value=0.5, ci95=(0.4, 0.6)),
                copies=Figure(value=0.9, ci95=(0.8, 1.0)),
                card=make_card(model, method=name.split("-")[1]).model_dump(mode="json"),
            )
        )
        models[name] = model
    write_panel(folder, entries, heads, codes, reference="40 pictures that are none")
    monkeypatch.setattr(panel, "panel_folder", lambda: folder)
    return models
