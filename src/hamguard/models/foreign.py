"""Models that hamguard did not train: any `torch.nn.Module` with pixels in, `(B, K)` real numbers out."""

from __future__ import annotations

import importlib
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from hamguard.codes.binary import relax, sign
from hamguard.core.digests import digest_bytes, digest_state
from hamguard.core.errors import RequestError
from hamguard.models.hash_model import match_channels


class ForeignModel(nn.Module):
    """A foreign network behind the face of `HashModel`: `logits`, `relaxed`, `code`, `digest`.

    Args:
        module: pixels `(B, C, H, W)` in [0, 1] to `(B, K)` real numbers.
        name: what to call it in rows.
        size: height and width of its pictures; read off `module.size` where it has one.
        channels: channels of its pictures.

    Raises:
        RequestError: the output on a trial picture is not `(B, K)` real numbers.
    """

    def __init__(self, module: nn.Module, name: str, size: tuple[int, int] = (224, 224), channels: int = 3) -> None:
        super().__init__()
        self.module, self.name, self.size, self.channels = module, name, size, channels
        try:
            with torch.no_grad():
                out = module(torch.full((2, channels, *size), 0.5))
        except Exception as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RequestError(
                f"model {name} fails on pictures (2, {channels}, {size[0]}, {size[1]}): {first}"
            ) from error
        if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != 2 or not out.is_floating_point():
            got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise RequestError(f"model {name} must return real numbers (B, K), got {got} for B = 2")
        self.bits = int(out.shape[1])

    def logits(self, x: Tensor) -> Tensor:
        """Outputs `(B, K)` of pixels `(B, C, H, W)` in [0, 1]; gray is repeated, color becomes luminance."""
        z: Tensor = self.module(match_channels(x, self.channels))  # (B, K)
        return z

    def relaxed(self, x: Tensor, alpha: float = 1.0) -> Tensor:
        """Relaxed codes `tanh(alpha z)`, `(B, K)`."""
        return relax(self.logits(x), alpha)

    def code(self, x: Tensor) -> Tensor:
        """Signed codes, `(B, K)` in {-1, +1}."""
        return sign(self.logits(x))

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        return self.logits(x)

    @property
    def digest(self) -> str:
        """Content hash of the weights, or of the name where there are none."""
        state = self.state_dict()
        return digest_state(state) if state else digest_bytes(self.name.encode())


def foreign_from_factory(text: str) -> ForeignModel:
    """Build a model from `package.module:factory`; the factory takes no argument. This runs the named code.

    Raises:
        RequestError: no such module or factory, or what it returns is not a `torch.nn.Module`.
    """
    place, _, attribute = text.partition(":")
    try:
        factory = getattr(importlib.import_module(place), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise RequestError(f"no model factory {text}: {error}") from error
    try:
        module = factory()
    except Exception as error:  # it is foreign code
        first = (str(error).strip() or "no message").splitlines()[0]
        raise RequestError(f"model factory {text} failed: {type(error).__name__}: {first}") from error
    if not isinstance(module, nn.Module):
        raise RequestError(f"{text} must return a torch.nn.Module, got {type(module).__name__}")
    if isinstance(module, ForeignModel):
        return module
    return ForeignModel(module.eval(), text, getattr(module, "size", (224, 224)), getattr(module, "channels", 3))


def foreign_from_export(path: Path) -> ForeignModel:
    """Load a `torch.export` file (`.pt2`); size and channels are read off its example input. Gradients to the input are kept.

    Raises:
        RequestError: the file cannot be read.
    """
    try:
        program = torch.export.load(path)
    except (RuntimeError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise RequestError(f"{path} is not a readable torch.export file: {str(error).splitlines()[0]}") from error
    channels, size = 3, (224, 224)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in program.graph_signature.user_inputs:
            shape = [int(s) if isinstance(s, int) else None for s in node.meta["val"].shape]
            if len(shape) == 4 and None not in shape[1:]:
                channels, size = int(shape[1] or 3), (int(shape[2] or 224), int(shape[3] or 224))
    return ForeignModel(program.module(), path.name, size, channels)
