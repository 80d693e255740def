"""What may stand between a picture and its publication: nothing, a protector, noise of the same size, or an attack on each picture.

Every protection gives pictures as 8-bit files hold them. A picture's noise depends on its number, never on how batches are cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hamguard.attacks.attack import Attack
from hamguard.attacks.methods.iterative import mifgsm
from hamguard.attacks.threat import Linf, Norm, Threat
from hamguard.attacks.types import Victim
from hamguard.core.archives import map_array, seal_array
from hamguard.core.context import Context
from hamguard.core.digests import digest_array, digest_json
from hamguard.core.errors import RequestError
from hamguard.core.files import replacing
from hamguard.core.seeds import torch_generator
from hamguard.core.types import Bytes, Ints
from hamguard.data.dataset import ImageStore
from hamguard.images.named_views import parse_view
from hamguard.images.quantize import as_pixels
from hamguard.models.folding import folded
from hamguard.models.protector import Protector
from hamguard.models.store import AnyModel

BATCH = 256


@dataclass(frozen=True)
class Protection:
    """A way to protect pictures.

    Attributes:
        name: `ppl` or `features` (how the protector learned), `noise` or `attack`.
        eps: bound in pixel units.
        facts: what defines it, for rows; has the hash of the protector or of the attacked model.
        make: from pictures `(B, C, H, W)` in [0, 1] and their numbers `(B,)` to protected ones, not rounded yet.
        views: what happens to protected pictures on their way, see `images.named_views`.
        slow: whether it is worth keeping what it made.
        norm: of the bound.
    """

    name: str
    eps: float
    facts: dict[str, Any]
    make: Callable[[Tensor, Ints], Tensor] = field(repr=False)
    views: tuple[str, ...] = ()
    slow: bool = False
    norm: Norm = "linf"

    @property
    def digest(self) -> str:
        """Hash of all that defines it."""
        return digest_json({"facts": self.facts, "views": list(self.views)})


def by_protector(net: Protector, eps: float | None = None, method: str = "ppl") -> Protection:
    """Protection by a trained generator, which learned by a method, at its own eps or another one."""
    bound = net.eps if eps is None else eps
    facts = {"method": method, "eps": round(bound, 6), "protector": net.digest}
    facts |= {} if net.norm == "linf" else {"norm": net.norm}

    def make(x: Tensor, numbers: Ints) -> Tensor:
        made: Tensor = net(x, bound)
        return made

    return Protection(method, bound, facts, make, norm=net.norm)


def by_noise(eps: float, seed: int) -> Protection:
    """The control: every value moves by exactly eps, up or down by a coin."""

    def make(x: Tensor, numbers: Ints) -> Tensor:
        coins = [torch.rand(x.shape[1:], generator=torch_generator(seed, "noise", int(i))) for i in numbers]
        return x + eps * (2 * (torch.stack(coins) < 0.5).to(x) - 1)  # (B, C, H, W)

    return Protection("noise", eps, {"method": "noise", "eps": round(eps, 6), "seed": seed}, make)


def by_attack(model: AnyModel, eps: float, steps: int, seed: int) -> Protection:
    """The upper reference: each picture is attacked on its own, away from its own code, on a model of the publisher."""
    attack: Attack = mifgsm(steps=steps, threat=Linf(eps))
    victim: Victim = folded(model)
    facts = {"method": "attack", "eps": round(eps, 6), "steps": steps, "model": model.digest, "seed": seed}

    def make(x: Tensor, numbers: Ints) -> Tensor:
        with torch.enable_grad():
            return attack(victim, x, None, None, index=[int(i) for i in numbers], seed=seed).x_adv

    return Protection("attack", eps, facts, make, slow=True)


@torch.no_grad()
def protected_pictures(
    images: ImageStore,
    rows: Ints,
    protection: Protection,
    *,
    keep: Path | None = None,
    context: Context | None = None,
) -> ImageStore:
    """A store in which the pictures of `rows` are protected; the others are as they were.

    Args:
        images: clean pictures.
        rows: numbers of those to protect, `(n,)`.
        protection: how.
        keep: folder that keeps the result of a slow protection.
        context: device, and how progress is shown.

    Raises:
        RequestError: unknown view.
        RunError: the protection gives NaN.
    """
    changes = [parse_view(text) for text in protection.views]
    threat = Threat(protection.norm, protection.eps)
    digest = f"{images.digest[:16]}-{protection.digest}-{digest_json(rows.tolist())[:16]}"
    kept = keep / f"{digest}.npy" if keep and (protection.slow or changes) else None
    if kept and (found := map_array(kept)) and found[0].shape == images.array.shape:
        return ImageStore(found[0], known_digest=digest)
    context, out = context or Context(), images.pixels(slice(None))  # (N, H, W) or (N, H, W, 3)
    with context.stage(f"protecting by {protection.name}") as progress:
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            x = images.batch(part).to(context.device)  # (b, C, H, W)
            z = as_pixels(threat.on_grid(threat.project(protection.make(x, part), x), x))
            for change in changes:
                z = np.stack([change(picture) for picture in z])
            out[part] = z
            progress((start + len(part)) / len(rows), f"{start + len(part):,} of {len(rows):,} pictures")
    if kept:
        with replacing(kept) as temporary, temporary.open("wb") as stream:
            np.save(stream, out)
        seal_array(kept, digest_array(out))
    return ImageStore(out, known_digest=digest)


def mixed(clean: ImageStore, protected: ImageStore, train: Ints, ratio: float, seed: int) -> ImageStore:
    """A store whose training pictures are protected in a share `ratio`, drawn by a seed; all others stay clean.

    Raises:
        RequestError: a share outside [0, 1].
    """
    if not 0 <= ratio <= 1:
        raise RequestError(f"the share of protected pictures must be in [0, 1], got {ratio:g}")
    if ratio == 0:
        return clean
    order = torch.randperm(len(train), generator=torch_generator(seed, "ratio")).numpy()
    chosen = np.sort(train[order[: round(ratio * len(train))]])
    out: Bytes = clean.pixels(slice(None))
    out[chosen] = protected.pixels(chosen)
    return ImageStore(out, known_digest=f"{clean.digest[:16]}-{protected.digest}-{ratio:g}-{seed}")
