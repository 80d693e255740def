"""The strong form of protection: refining against an ensemble that ships, so that a person needs no model of their own.

Networks of two families, EfficientNet-Lite at its own size and a ResNet that looks at 64 pixels; searches of all other families
stay unseen, for the panel to tell what the result is worth on them. What their middle layers see of photos lies in the package,
beside the panel: means and deviations of statistics, no photo.

It begins at the photo itself, not at the generator's noise, which anybody has and can take off. Its bound is larger than the
generator's, because on even grounds neither comes near it (`models/contrast.py`).
"""

from __future__ import annotations

from dataclasses import replace

import torch

from hamguard.core.errors import DamagedError
from hamguard.models.hash_model import HashModel
from hamguard.models.panel import panel_entry, panel_folder
from hamguard.models.protector import Protector
from hamguard.models.shipped import PANEL
from hamguard.models.stages import Stages, StageScale
from hamguard.models.weight_files import read_safetensors
from hamguard.privacy.matchers import Matcher, matcher_of

ENSEMBLE = ("lite0-itq", "lite1-itq", "lite2-itq", "resnet56-itq")
STEPS = 80
"""Gradients a photo."""
EPS = 10 / 255
"""Bound where no other is asked for, and even grounds have one of their own."""
FILE = "stages.safetensors"


def strong_eps(net: Protector) -> float:
    """The bound where no other is asked for, in pixel units: `EPS`, or the protector's own where it has none for even grounds."""
    return max(net.eps, EPS) if net.even < net.eps else net.eps


def strong_ensemble(device: torch.device | str = "cpu") -> tuple[list[Matcher], list[str]]:
    """The matchers that are here, and what to install for those that are not.

    Raises:
        RequestError: a part of the panel is missing or damaged.
    """
    entries = [panel_entry(name) for name in ENSEMBLE]
    found = [_with_middle(matcher_of(PANEL + one.name, device)) for one in entries if not one.missing]
    return found, list(dict.fromkeys(one.missing for one in entries if one.missing))


def _with_middle(matcher: Matcher) -> Matcher:
    """The matcher with its middle layers, and what they see of photos."""
    known = read_safetensors(panel_folder() / FILE)
    assert isinstance(matcher.model, HashModel)
    stages = Stages(matcher.model)
    names = [f"{matcher.network}.{number}" for number in range(len(stages))]
    if missing := [name for name in names if f"{name}.mean" not in known or f"{name}.deviation" not in known]:
        raise DamagedError(panel_folder() / FILE, f"it has no {missing[0]}")
    scale = StageScale(*([known[f"{name}.{part}"] for name in names] for part in ("mean", "deviation")))
    stages.scale = scale.to(next(matcher.model.parameters()).device)
    return replace(matcher, middle=stages)
