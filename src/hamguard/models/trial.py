"""What is wrong with a foreign model, asked on two pictures before anything is measured with it.

A few forward passes and one backward pass find what would make every later figure meaningless, which is refused, and what a reader
of a figure must know, which is a note: does the model take one picture as well as two, does the same picture get the same outputs
twice and beside another picture, does it keep its weights, does a gradient come back to the pixels?

Source of the questions about gradients: A. Athalye, N. Carlini, D. Wagner, "Obfuscated Gradients Give a False Sense of Security",
ICML 2018 (sections 3.1 and 3.2); the audit asks them again on the queries themselves.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from hamguard.core.digests import digest_state
from hamguard.core.errors import RequestError

TRIED = 2
"""Pictures of the trial: the fewest that can be neighbors."""

CLOSE = 1e-3
"""Largest difference that is still rounding, relative to the largest value. Other batch sizes differ by about 1e-6; dropout, noise
and statistics of the batch by 1e-2 and more."""

ULPS = 16
"""The same for short types, in steps of the type: there `CLOSE` is less than a step or two."""

Gradient = Literal["flows", "zero", "none"]
"""What comes back to the pixels: something, exactly nothing at every pixel, or no gradient at all."""

NO_GRADIENT = (
    "gives no gradient to its pictures (torch.no_grad, .detach(), .data, or a cast to whole numbers inside it; let the gradient "
    "through, or round with x + (x.round() - x).detach())"
)
"""Sentence about a model, which goes in front."""

ZERO_GRADIENT = (
    "the gradient to the pictures is exactly zero: the model rounds, steps or saturates, so attacks that follow gradients stand "
    "still, and their figures are those of noise, not of robustness; `hamguard audit` follows gradients through steps"
)

RANDOM = (
    "the same picture gets other outputs each time it is asked (dropout that stays on, or noise inside the model): figures change "
    "from run to run and with the batch size; draw nothing in evaluation, e.g. dropout(x, p, training=self.training)"
)

NEIGHBORS = (
    "the outputs of a picture depend on the pictures beside it in its batch (a batch norm without running statistics?): figures "
    "change with the batch size and the order of the pictures; normalize by fixed statistics in evaluation"
)


Call = Callable[[Tensor], Any]
"""Pictures `(B, C, H, W)` in [0, 1] to whatever a foreign model returns."""


@dataclass(frozen=True)
class Manner:
    """How a foreign model is asked.

    Attributes:
        name: what messages call it.
        least: fewest pictures that it takes at once.
        most: most pictures that it takes at once; None for any number.
        entry: key or index of the output that is used, where it returns several things; None for the output itself.
        bits: code length K; 0 where it is not known yet.
    """

    name: str
    least: int = 1
    most: int | None = None
    entry: str | int | None = None
    bits: int = 0

    def ask(self, call: Call, x: Tensor) -> Tensor:
        """Outputs `(B, K)` of any number of pictures: cut into batches that the model takes, the last one filled up.

        Raises:
            RequestError: what the model returns is not `(B, K)`.
        """
        parts = [
            rows_of(call(self.filled(part)), self, max(len(part), self.least))[: len(part)]
            for part in (torch.split(x, self.most) if self.most else (x,))
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def filled(self, x: Tensor) -> Tensor:
        """At least `least` pictures: the last one again and again."""
        lacking = self.least - len(x)
        return torch.cat([x, x[-1:].expand(lacking, -1, -1, -1)]) if lacking > 0 and len(x) else x


@dataclass(frozen=True)
class Trial:
    """What the trial found.

    Attributes:
        manner: how the model is asked, complete.
        gradient: what comes back to the pixels.
        notes: what a reader of its figures must know.
    """

    manner: Manner
    gradient: Gradient
    notes: tuple[str, ...]


def try_model(
    call: Call,
    manner: Manner,
    shape: tuple[int, int, int],
    digests: Callable[[], Mapping[str, str]],
    *,
    exact: float = CLOSE,
) -> Trial:
    """Ask a model for two pictures together, again, for one alone, and for a gradient.

    Args:
        call: the model.
        manner: how it is asked, as far as that is known.
        shape: channels, height and width of its pictures.
        digests: digest of every weight and buffer of the model as it is now, by name.
        exact: largest relative difference that is still rounding.

    Raises:
        RequestError: it fails, returns no `(B, K)` real and finite numbers, or changes its weights or buffers.
    """
    name, x, before, notes = manner.name, trial_pictures(shape), digests(), []
    with torch.no_grad():
        count = min(max(TRIED, manner.least), manner.most or TRIED)
        try:
            out = attempt(call, manner.filled(x[:count]), name)
        except FailsError as error:
            raise FailsError(f"{error}; its `size` and `channels` must be those of its pictures") from error
        manner = replace(manner, entry=entry_of(out, count, name))
        if manner.entry is not None:
            notes.append(f"the model returns several things; their entry {manner.entry!r} is used")
        manner = replace(manner, bits=rows_of(out, manner, count).shape[1])
        z = _asked(call, manner, x)
        if not bool(z.isfinite().all()):
            raise RequestError(
                f"model {name} returns NaN or infinite numbers; its weights, or what it does to pixels, are broken"
            )
        again = _asked(call, manner, x)
        try:
            alone = _asked(call, manner, x[:1])
        except FailsError as error:
            manner = replace(manner, least=TRIED)
            notes.append(
                f"{str(error).removeprefix(f'model {name} ')}, though it takes two: a lone picture is asked beside itself"
            )
            alone = _asked(call, manner, x[:1])
    if bool(beyond_rounding(z, again, exact).any()):
        notes.append(RANDOM)
    elif bool(beyond_rounding(z[:1], alone, exact).any()):
        notes.append(NEIGHBORS)
    gradient = gradient_of(lambda at: manner.ask(call, at), x)
    after = digests()
    changed = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
    if changed:
        listed = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        raise RequestError(
            f"model {name} changes its own weights or buffers when it is asked ({listed}): its codes depend on what was asked "
            "before; change nothing in evaluation (a batch norm kept in training mode, a counter, a memory)"
        )
    return Trial(manner, gradient, tuple(notes))


def _asked(call: Call, manner: Manner, x: Tensor) -> Tensor:
    """Outputs `(B, K)`; whatever goes wrong is a `RequestError`."""
    return manner.ask(lambda part: attempt(call, part, manner.name), x)


def trial_pictures(shape: tuple[int, int, int]) -> Tensor:
    """Two 8-bit pictures in [0, 1], noise and a ramp, `(2, C, H, W)`; always the same."""
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    ramp = torch.linspace(0, 1, noise.numel()).view(shape)
    return (torch.stack([noise, ramp]) * 255).round() / 255


class FailsError(RequestError):
    """A foreign model fails on pictures."""


def attempt(call: Call, x: Tensor, name: str) -> Any:
    """What a model returns.

    Raises:
        FailsError: it fails; the message has the pictures' shape and the first line of the reason.
    """
    try:
        return call(x)
    except (MemoryError, RequestError):
        raise
    except (Exception, SystemExit) as error:  # it is foreign code
        raise FailsError(f"model {name} fails on pictures {tuple(x.shape)}: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message, at most 300 letters of it, or its type where it has none."""
    if isinstance(error, SystemExit):
        return f"it ends the program with {error.code!r}"
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if len(line) <= 300 else f"{line[:299]}…"  # some quote the whole file


def entry_of(out: Any, count: int, name: str) -> str | int | None:
    """Where in what a model returned for some pictures the real numbers `(B, K)` stand; None for all of it.

    Raises:
        RequestError: nowhere, or in several places.
    """
    if isinstance(out, Tensor):
        return None
    entries = dict(_entries(out))
    fitting = [
        key
        for key, value in entries.items()
        if isinstance(value, Tensor) and value.ndim == 2 and len(value) == count and value.is_floating_point()
    ]
    if len(fitting) == 1:
        return fitting[0]
    wanted = f"model {name} must return real numbers (B, K), got {type(out).__name__}"
    if not entries:
        raise RequestError(f"{wanted} for B = {count}; return one tensor")
    listed = ", ".join(f"{key}: {_kind(value)}" for key, value in entries.items())
    what = "none of which is that" if not fitting else f"{len(fitting)} of which could be meant"
    raise RequestError(f"{wanted} of {listed} for B = {count}, {what}; wrap the model so that it returns one tensor")


def _entries(out: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(out, Mapping):
        yield from ((key, value) for key, value in out.items() if isinstance(key, (str, int)))
    elif isinstance(out, Sequence) and not isinstance(out, str):
        yield from enumerate(out)


def _kind(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"


def rows_of(out: Any, manner: Manner, count: int) -> Tensor:
    """The real numbers `(B, K)` in what a model returned for B pictures; a lone picture's may have lost their first axis.

    Raises:
        RequestError: there are none, or of another shape.
    """
    z, want = out, f"model {manner.name} must return real numbers (B, K)"
    if manner.entry is not None:
        try:
            z = out[manner.entry]
        except (LookupError, TypeError) as error:
            raise RequestError(f"{want} as its entry {manner.entry!r}, got {type(out).__name__} without it") from error
    if not isinstance(z, Tensor):
        raise RequestError(f"{want}, got {type(z).__name__} for B = {count}")
    if z.layout != torch.strided:
        raise RequestError(f"{want}, got a tensor of layout {z.layout} for B = {count}; return z.to_dense()")
    if not z.is_floating_point():
        raise RequestError(
            f"{want}, got {_kind(z)} for B = {count}; return the numbers before they are made whole, or give codes as files: "
            "hamguard evaluate --query-codes Q.npz --database-codes D.npz"
        )
    if count == 1 and z.ndim == 1:
        z = z[None]  # (1, K)
    if z.ndim != 2 or len(z) != count or z.shape[1] < 1 or manner.bits not in (0, z.shape[1]):
        known = f", K = {manner.bits}" if manner.bits else ""
        raise RequestError(f"{want}, got {tuple(z.shape)} for B = {count}{known}")
    return z


def gradient_of(outputs: Callable[[Tensor], Tensor], x: Tensor) -> Gradient:
    """What comes back to the pixels of pictures `(B, C, H, W)`; a backward pass that fails gives none."""
    at = x.detach().clone().requires_grad_()
    try:
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of operations without a backward pass, which is what is asked here
            z = outputs(at)
            if not z.requires_grad:
                return "none"
            # weights that differ by output: those of a softmax, say, have a sum without a slope
            slopes = torch.linspace(-1, 1, z.shape[1], dtype=z.dtype, device=z.device)  # (K,)
            (found,) = torch.autograd.grad((z * slopes).sum(), at, allow_unused=True)
    except (MemoryError, RequestError):
        raise
    except Exception:  # no backward pass, or one that an operation in place has broken
        return "none"
    if found is None:
        return "none"
    return "zero" if bool(is_flat(found).all()) else "flows"


def with_gradient(z: Tensor, who: str) -> Tensor:
    """The outputs of pictures whose gradient was asked for.

    Raises:
        RequestError: they hang on nothing.
    """
    if not z.requires_grad:
        raise RequestError(f"{who} {NO_GRADIENT}")
    return z


def pixel_gradient(total: Tensor, x: Tensor, who: str) -> Tensor:
    """Gradient of a number to pictures `(B, C, H, W)`.

    Raises:
        RequestError: there is none.
    """
    try:
        (found,) = torch.autograd.grad(total, x, allow_unused=True)
    except (RuntimeError, NotImplementedError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise RequestError(f"{who} {NO_GRADIENT}: {first_line(error)}") from error
    if found is None:
        raise RequestError(f"{who} {NO_GRADIENT}")
    return found


def notes_of(model: object) -> tuple[str, ...]:
    """What a reader of a model's figures must know: what its trial found; nothing of our own models."""
    return tuple(getattr(model, "notes", ()))


def gradient_kind(model: object) -> Gradient:
    """What comes back to the pixels of a model; our own models have gradients by construction."""
    found: Gradient = getattr(model, "gradient", "flows")
    return found


def is_flat(gradient: Tensor) -> Tensor:
    """Which pictures' gradients `(B, C, H, W)` are exactly zero at every pixel, `(B,)` bool; NaN is not."""
    return ~(gradient != 0).flatten(1).any(1)


def beyond_rounding(one: Tensor, other: Tensor, exact: float = CLOSE) -> Tensor:
    """Where two tensors of outputs differ by more than another order of the same sums explains, their shape, bool."""
    one, other = one.double(), other.double()
    apart: Tensor = (one - other).abs() > exact * torch.maximum(one.abs(), other.abs()).max()
    return apart


def rounding_of(dtype: torch.dtype, device: torch.device) -> float:
    """Largest relative difference that is still rounding in a type on a device; GPUs multiply float32 in 10 bits."""
    step = torch.finfo(dtype).eps
    return max(CLOSE, ULPS * (max(step, 2.0**-10) if device.type == "cuda" else step))


def check_known(module: nn.Module, name: str) -> None:
    """Check that all weights are there.

    Raises:
        RequestError: a lazy layer was never called, so that its weights would be drawn now, others every time; or weights have a
            shape and no numbers.
    """
    lazy = [key for key, value in (*module.named_parameters(), *module.named_buffers()) if is_lazy(value)]
    if lazy:
        raise RequestError(
            f"model {name} has lazy layers without weights ({lazy[0]}); call it on a picture and load its weights first"
        )
    empty = [key for key, value in (*module.named_parameters(), *module.named_buffers()) if value.is_meta]
    if empty:
        raise RequestError(
            f"model {name} has weights without numbers ({empty[0]} is on the device meta); load them first"
        )


def state_digests(module: nn.Module) -> dict[str, str]:
    """Digest of every weight and buffer by name."""
    return {key: digest_state({key: value}) for key, value in tensors_of(module).items()}


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers by name; packed (quantized) ones are opened, what is no tensor is left out."""
    found: dict[str, Tensor] = {}

    def add(key: str, value: Any) -> None:
        if isinstance(value, Tensor):
            found[key] = value.dequantize() if value.is_quantized else value
        elif isinstance(value, (tuple, list)):
            for number, part in enumerate(value):
                add(f"{key}.{number}", part)

    for key, value in module.state_dict().items():
        add(key, value)
    return found
