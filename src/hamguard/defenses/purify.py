"""Pictures cleaned before the model sees them: JPEG, shrinking, fewer levels, ComDefend; and the two together as one model.

Papers: N. Das et al., "Keeping the Bad Guys Out" (arXiv 1705.02900, JPEG); C. Guo et al., "Countering Adversarial Images using
Input Transformations", ICLR 2018 (resizing); W. Xu, D. Evans, Y. Qi, "Feature Squeezing", NDSS 2018 (bit depth); ComDefend, see
`models.comdefend`. How they must be attacked: A. Athalye, N. Carlini, D. Wagner, "Obfuscated Gradients Give a False Sense of
Security", ICML 2018.

Forward passes are exact. What has no gradient (JPEG, rounding) hands it on unchanged (BPDA with the identity); the rest has its
own. Random purifiers draw the noise of a picture from the picture's own 8-bit content, so the same picture has the same code
whatever its batch; who asks for gradients gets the mean of the outputs over several other draws (expectation over the randomness).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from hamguard.core.checks import suggest
from hamguard.core.digests import digest_bytes, digest_json
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator
from hamguard.images.quantize import to_bytes
from hamguard.images.views import jpeg
from hamguard.models.channels import match_channels
from hamguard.models.comdefend import ComDefend, load_comdefend
from hamguard.models.foreign import ForeignModel, check_face
from hamguard.models.store import AnyModel
from hamguard.models.trial import gradient_kind, notes_of

ALLOWED = (
    "jpeg:QUALITY (1 to 100), resize:FACTOR (above 0, below 1), bits:DEPTH (1 to 7), comdefend:FOLDER, joined with +"
)
DRAWS = 8


def straight(x: Tensor, y: Tensor) -> Tensor:
    """The values of `y` with the gradient of `x`; exact, because `x - x` is 0."""
    return y.detach() + (x - x.detach())


def contents(x: Tensor) -> tuple[str, ...]:
    """Hash of each picture's 8-bit content, of pictures `(B, C, H, W)` in [0, 1]."""
    return tuple(digest_bytes(picture.tobytes()) for picture in to_bytes(x).cpu().numpy())


@dataclass(frozen=True)
class Noise:
    """Where a purifier's random numbers come from.

    Attributes:
        keys: content hash of each picture as it came in.
        stream: `search` for codes of the search, `attack` for who asks for gradients; neither says anything of the other.
        number: of the draw.
        seed: of the purifier.
        place: of the purifier in its chain.
    """

    keys: tuple[str, ...]
    stream: str = "search"
    number: int = 0
    seed: int = 0
    place: int = 0

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers, `(B, *shape)`, each picture's its own."""
        path = ("purify", self.stream, self.number, self.place)
        return torch.stack([torch.randn(*shape, generator=torch_generator(self.seed, *path, key)) for key in self.keys])


class Purifier(Protocol):
    """One way to clean pictures."""

    random: ClassVar[bool]

    @property
    def word(self) -> str:
        """What people call it, e.g. `jpeg:75`."""

    @property
    def content(self) -> str:
        """What it is, whatever it is called: the word, or the content hash of weights."""

    def __call__(self, x: Tensor, noise: Noise) -> Tensor:
        """Pictures `(B, C, H, W)` in [0, 1] to pictures of the same size, with a gradient."""


@dataclass(frozen=True)
class Jpeg:
    """Written as a JPEG file and read again; the gradient goes straight through.

    Attributes:
        quality: 1 to 100.
    """

    quality: int
    random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise RequestError(f"quality of jpeg must be between 1 and 100, got {self.quality}; allowed: {ALLOWED}")

    @property
    def word(self) -> str:
        """`jpeg:QUALITY`."""
        return f"jpeg:{self.quality}"

    content = word

    def __call__(self, x: Tensor, noise: Noise) -> Tensor:
        """What the files hold, `(B, C, H, W)`."""
        return straight(x, jpeg(x.detach(), self.quality))


@dataclass(frozen=True)
class Resize:
    """Shrunk and enlarged again, bilinear with antialias, with its own gradient.

    Attributes:
        factor: of height and width, above 0 and below 1.
    """

    factor: float
    random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.factor < 1:
            raise RequestError(f"factor of resize must be above 0 and below 1, got {self.factor:g}; allowed: {ALLOWED}")

    @property
    def word(self) -> str:
        """`resize:FACTOR`."""
        return f"resize:{self.factor:g}"

    content = word

    def __call__(self, x: Tensor, noise: Noise) -> Tensor:
        """Pictures of the same size; not clipped, since means do not overshoot and a clip would stop gradients at white."""
        whole = x.shape[2:]
        small = [max(1, round(side * self.factor)) for side in whole]
        down = functional.interpolate(x, small, mode="bilinear", antialias=True, align_corners=False)
        return functional.interpolate(down, list(whole), mode="bilinear", antialias=True, align_corners=False)


@dataclass(frozen=True)
class Bits:
    """Rounded to fewer levels; the gradient goes straight through.

    Attributes:
        depth: bits a value, 1 to 7.
    """

    depth: int
    random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 1 <= self.depth <= 7:
            raise RequestError(f"depth of bits must be between 1 and 7, got {self.depth}; allowed: {ALLOWED}")

    @property
    def word(self) -> str:
        """`bits:DEPTH`."""
        return f"bits:{self.depth}"

    content = word

    def __call__(self, x: Tensor, noise: Noise) -> Tensor:
        """Pictures whose values are multiples of `1 / (2^depth - 1)`."""
        levels = 2**self.depth - 1
        return straight(x, (x.detach() * levels).round() / levels)


@dataclass(frozen=True)
class Trained:
    """ComDefend's networks.

    Attributes:
        net: the networks, frozen.
        folder: where they came from.
    """

    net: ComDefend = field(repr=False)
    folder: str
    random: ClassVar[bool] = True

    @property
    def word(self) -> str:
        """`comdefend:FOLDER`."""
        return f"comdefend:{self.folder}"

    @property
    def content(self) -> str:
        """Named by the weights."""
        return f"comdefend:{self.net.digest}"

    def __call__(self, x: Tensor, noise: Noise) -> Tensor:
        """Decoded pictures of noisy codes."""
        code = self.net.code(x)  # (B, 12, H, W)
        return self.net.decode(code, noise.normal(code.shape[1:]).to(code))


@dataclass(frozen=True)
class Chain:
    """Purifiers one after the other.

    Attributes:
        parts: in order, at least one.
    """

    parts: tuple[Purifier, ...]

    @property
    def word(self) -> str:
        """The parts' words, joined with `+`."""
        return "+".join(part.word for part in self.parts)

    @property
    def random(self) -> bool:
        """Whether any part draws random numbers."""
        return any(part.random for part in self.parts)

    @property
    def digest(self) -> str:
        """Content hash."""
        return digest_json([part.content for part in self.parts])

    def __call__(self, x: Tensor, noise: Noise) -> Tensor:
        """Pictures `(B, C, H, W)` in [0, 1], purified."""
        for place, part in enumerate(self.parts):
            x = part(x, replace(noise, place=place))
        return x


def parse_purifier(text: str) -> Chain:
    """The purifiers that words name, e.g. `resize:0.75+jpeg:60`.

    Raises:
        RequestError: an unknown word, a value out of range, or no trained networks in a folder.
    """
    return Chain(tuple(_parse(word.strip()) for word in re.split(r"\+(?=\s*\w*:)|\+$", text)))


def _parse(word: str) -> Purifier:
    kind, colon, value = word.partition(":")
    if kind not in ("jpeg", "resize", "bits", "comdefend") or not colon:
        kinds = ("jpeg", "resize", "bits", "comdefend")
        near = suggest(kind, kinds) if kind and kind not in kinds else ""  # a kind alone lacks its number
        raise RequestError(f"unknown purifier {word!r}; allowed: {ALLOWED}{near}")
    if kind == "comdefend":
        if not value:
            raise RequestError(f"comdefend needs the folder of its networks; allowed: {ALLOWED}")
        return Trained(load_comdefend(value)[0], value)
    try:
        if kind == "resize":
            return Resize(float(value))
        return Jpeg(int(value)) if kind == "jpeg" else Bits(int(value))
    except ValueError as error:
        if isinstance(error, RequestError):
            raise
        what = "a number" if kind == "resize" else "a whole number"
        raise RequestError(f"{kind} must be followed by {what}, got {value!r}; allowed: {ALLOWED}") from error


class Purified(ForeignModel):
    """A purifier and a hash model behind it as one model: it encodes queries and database alike.

    Without gradients the outputs are those of one draw, which is the search's own. Where a gradient to the pictures is asked for
    and the purifier is random, they are the mean over `draws` draws from another stream.

    Args:
        model: the hash model, frozen, in evaluation mode.
        purifier: what stands before it.
        draws: draws that are averaged where gradients are asked for.
        seed: of the random purifier.

    Raises:
        RequestError: a bare module, fewer than one draw, or networks for pictures with other channels.
    """

    def __init__(self, model: AnyModel, purifier: Chain, *, draws: int = DRAWS, seed: int = 0) -> None:
        check_face(model)
        nn.Module.__init__(self)  # the model was tried when it was loaded
        if draws < 1:
            raise RequestError(f"draws must be at least 1, got {draws}")
        nets = [(part.word, part.net) for part in purifier.parts if isinstance(part, Trained)]
        for word, net in nets:
            if net.channels != model.channels:
                raise RequestError(
                    f"{word} was trained on pictures with {net.channels} channels, the model takes {model.channels}"
                )
        self.module: AnyModel = model
        self.purifier, self.seed = purifier, seed
        self.nets = nn.ModuleList([net for _, net in nets])  # they follow `to`
        self.draws = draws if purifier.random else 1
        self.name = f"{purifier.word} | {model.name}"
        self.bits, self.size, self.channels = model.bits, model.size, model.channels
        self.notes, self.gradient = notes_of(model), gradient_kind(model)

    def logits(self, x: Tensor) -> Tensor:
        """Outputs `(B, K)` of pixels `(B, C, H, W)` in [0, 1]; gray is repeated, color becomes luminance.

        Raises:
            RequestError: not four-dimensional, or neither 1 nor 3 channels.
        """
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise RequestError(f"pictures must have shape (B, 1 or 3, H, W), got {tuple(x.shape)}")
        x = match_channels(x, self.channels)
        if not self.purifier.random:
            return self.draw(x, Noise(()))
        keys = contents(x)
        if not (torch.is_grad_enabled() and x.requires_grad):
            return self.draw(x, Noise(keys, seed=self.seed))
        return torch.stack([self.draw(x, Noise(keys, "attack", n, self.seed)) for n in range(self.draws)]).mean(0)

    def draw(self, x: Tensor, noise: Noise) -> Tensor:
        """Outputs `(B, K)` under one draw."""
        z: Tensor = self.module.logits(self.purifier(x, noise))  # (B, K)
        return z

    @property
    def digest(self) -> str:
        """Content hash of model and purifier; of a random one with seed and draws, which decide what an attack sees."""
        chance = [self.seed, self.draws] if self.purifier.random else []
        return digest_json([self.module.digest, self.purifier.digest, *chance])
