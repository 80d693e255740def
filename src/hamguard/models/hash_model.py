"""`HashModel`: pixels in [0, 1] to hash codes. Normalization happens inside, so a budget is always in pixel units."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hamguard.codes.binary import relax, sign
from hamguard.core.checks import check_range
from hamguard.core.digests import digest_state
from hamguard.core.errors import RequestError
from hamguard.core.html import Shown
from hamguard.models.backbones import backbone_channels, build_backbone, count_features, feature_layer
from hamguard.models.channels import match_channels
from hamguard.models.feature_net import FEATURES

LARGE = 512  # pixels of a side


class HashModel(Shown, nn.Module):
    """Normalization, backbone, linear hash head.

    Args:
        name: backbone name, see `BACKBONES`.
        bits: code length K.
        channels: channels of the pictures that it was made for, 1 or 3.
        size: height and width in pixels.
        mean: per-channel mean that is subtracted, one number or one a channel.
        std: per-channel standard deviation that divides.
        generator: source of the initial weights.
        weights: weights that it will be given, see `build_backbone`; `check_size` is to be called once it has them.

    Raises:
        RequestError: `bits` below 1, unknown backbone, pictures too small for it.
    """

    mean: Tensor
    std: Tensor
    card: Any = None
    """The card (`store.Card`) of a model that was loaded or trained; None for one that was built."""
    place: str = ""
    """Where it was loaded from or trained to, which is what rows call it; empty for one that was built."""
    initial_weights: str = ""
    """Where the first weights of its backbone came from; empty for random ones."""

    def __init__(
        self,
        name: str,
        bits: int,
        *,
        channels: int = 3,
        size: tuple[int, int] = (224, 224),
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        generator: torch.Generator | None = None,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        check_range("bits", bits, 1)
        generator = generator or torch.Generator().manual_seed(0)
        self.name, self.bits, self.size = name, bits, size
        self.channels = channels
        self.inside = backbone_channels(name, channels)  # what the backbone takes
        self.backbone, self.features = build_backbone(name, channels, size, generator, weights)
        self.head = nn.Linear(self.features, bits, device="meta")
        if not torch.empty(0).is_meta:  # inside `torch.device("meta")` only shapes are asked for
            self.head.to_empty(device="cpu")  # drawn below
        with torch.no_grad():  # framework default of nn.Linear, but drawn from our generator
            bound = self.features**-0.5
            for value in self.head.parameters():
                value.uniform_(-bound, bound, generator=generator)
        self.register_buffer("mean", torch.tensor(list(mean), dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(list(std), dtype=torch.float32).view(1, -1, 1, 1))

    def check_size(self) -> None:
        """Check, in evaluation mode, that the head takes what the backbone gives on pictures of `size`.

        Raises:
            RequestError: it does not, or the backbone cannot take such pictures.
        """
        if max(self.size) > LARGE:  # the shapes alone, for a wrong size may ask for more than the memory holds
            with torch.device("meta"):
                found = count_features(copy.deepcopy(self.backbone).to("meta"), self.name, self.inside, self.size)
        else:
            found = count_features(self.backbone, self.name, self.inside, self.size)
        if found != self.features:
            raise RequestError(
                f"pictures of {self.size[0]}x{self.size[1]} pixels give {found} features, the hash head takes {self.features}"
            )

    def normalize(self, x: Tensor) -> Tensor:
        """Pixels `(B, C, H, W)` in [0, 1] to backbone inputs `(B, inside, H, W)`; gray is repeated, color becomes luminance.

        Raises:
            RequestError: not four-dimensional, or neither 1 nor 3 channels.
        """
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise RequestError(f"pictures must have shape (B, 1 or 3, H, W), got {tuple(x.shape)}")
        return (match_channels(x, self.inside) - self.mean) / self.std

    def features_of(self, x: Tensor) -> Tensor:
        """What the hash head takes, `(B, D)`, of pixels `(B, C, H, W)` in [0, 1]."""
        found: Tensor = self.neck(self.trunk_of(x))  # (B, D)
        return found

    @property
    def trunk(self) -> nn.Module:
        """The backbone without a feature layer (`NAME+F`): what may stay as it is while the rest learns."""
        return next(self.backbone.children()) if feature_layer(self.name) else self.backbone

    @property
    def neck(self) -> nn.Module:
        """The feature layer above the trunk; it hands features on where there is none."""
        return nn.Sequential(*list(self.backbone.children())[1:]) if feature_layer(self.name) else nn.Identity()

    @property
    def tail(self) -> nn.Module:
        """All that stands above the trunk: the feature layer where there is one, and the hash head."""
        return nn.Sequential(*self.neck.children(), self.head) if feature_layer(self.name) else self.head

    @property
    def trunk_features(self) -> int:
        """Features that the trunk gives."""
        first = next(self.neck.children(), None)  # none where the trunk is all
        return first.in_features if isinstance(first, nn.Linear) else self.features

    def trunk_of(self, x: Tensor) -> Tensor:
        """What `tail` takes, `(B, trunk_features)`, of pixels `(B, C, H, W)` in [0, 1]."""
        found: Tensor = self.trunk(self.normalize(x))
        return found

    def logits(self, x: Tensor) -> Tensor:
        """Unbounded outputs z, `(B, K)`, of pixels `(B, C, H, W)` in [0, 1]."""
        z: Tensor = self.head(self.backbone(self.normalize(x)))  # (B, K)
        return z

    def relaxed(self, x: Tensor, alpha: float = 1.0) -> Tensor:
        """Relaxed codes `u = tanh(alpha z)`, `(B, K)` in (-1, 1)."""
        return relax(self.logits(x), alpha)

    def code(self, x: Tensor) -> Tensor:
        """Signed codes, `(B, K)` in {-1, +1}; zero becomes +1."""
        return sign(self.logits(x))

    def forward(self, x: Tensor) -> Tensor:
        """The logits, so that wrappers (data parallel, export) see the same function."""
        return self.logits(x)

    @property
    def digest(self) -> str:
        """Content hash of weights and buffers."""
        return digest_state(self.state_dict())

    @property
    def summary(self) -> dict[str, Any]:
        """What tells it from others: that of its card where it has one."""
        if self.card is not None:
            return {"place": self.place, **self.card.summary}
        size = f"{self.channels} x {self.size[0]} x {self.size[1]}"
        return {"backbone": self.name, "bits": self.bits, "images": size}

    def _repr_html_(self) -> str:
        return super()._repr_html_() if self.card is None else str(self.card._repr_html_())


def takes_features(model: object) -> bool:
    """Whether a model learned on features of images, and takes those in the place of images."""
    return isinstance(model, HashModel) and model.name.partition("+")[0] == FEATURES


def check_images(model: object) -> None:
    """Refuse images for a model that learned on features: pixels in their place would give codes without meaning.

    Raises:
        RequestError: it did.
    """
    if takes_features(model):
        raise RequestError(
            "the model learned on features, so it takes no pictures: make features of them with the network that made the others, "
            "see hamguard features"
        )
