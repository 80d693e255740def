"""Models: one's own network, or one that lies in a folder."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from hamguard.api.arguments import checked
from hamguard.api.running import choose_device
from hamguard.core.errors import RequestError
from hamguard.models.foreign import ForeignModel, wrapped
from hamguard.models.store import AnyModel, load_any
from hamguard.models.trial import notes_of

__all__ = ["load", "notes_of", "wrap"]


@checked
def wrap(
    module: nn.Module,
    *,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    bits: int | None = None,
    name: str | None = None,
) -> ForeignModel:
    """A network of one's own as a model that is encoded, attacked and measured like those of hamguard.

    The module itself, not a copy, is put into evaluation mode and frozen (`requires_grad` is False), and stays so. It keeps its
    device and its type (half, double), and is asked with copies of the images. It is tried on two images: what it does that would
    make figures meaningless is refused, what a reader of figures must know stands in `notes`, and so in every row.

    Args:
        module: images `(B, C, H, W)` in [0, 1] to real numbers `(B, K)`, whose signs are the code; normalize inside it.
        size: height and width of its images, or one number for both; by default what its attribute `size` says, else 224.
        channels: of its images, 1 or 3; by default what its attribute `channels` says, else what it takes of 3 and 1.
        bits: code length K that it must have; None takes what it returns.
        name: what rows call it; by default the name of its class.

    Raises:
        RequestError: it fails on such images, returns no finite real numbers `(B, K)`, or changes its weights or statistics when
            it is asked; it has another code length than `bits`; or it is no `nn.Module`.
    """
    model = wrapped(module, name or type(module).__name__, size=size, channels=channels)
    if bits is not None and model.bits != bits:
        raise RequestError(f"model {model.name} returns {model.bits} numbers an image, which are no {bits} bits")
    return model


@checked
def load(path: str | Path, *, device: str = "cpu") -> AnyModel:
    """A model that lies somewhere, in evaluation mode and frozen; it carries its card.

    Args:
        path: a model folder, `shipped:digits`, `package.module:factory`, or a `torch.export` file (.pt2).
        device: where to put it.

    Raises:
        RequestError: it is none of these, or damaged; or there is no such device.
        StaleError: its weights are not those that its card was written for.
    """
    return load_any(path, choose_device(device))[0]
