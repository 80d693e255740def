"""Models that hamguard did not train: any `torch.nn.Module` with pixels in, `(B, K)` real numbers out."""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from itertools import chain
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hamguard.codes.binary import relax, sign
from hamguard.core.digests import digest_bytes, digest_state
from hamguard.core.errors import DamagedError, HamguardError, RequestError, RunError
from hamguard.core.files import open_ordinary
from hamguard.core.html import Shown
from hamguard.models.channels import match_channels
from hamguard.models.trial import (
    FailsError,
    Manner,
    Trial,
    check_known,
    first_line,
    rounding_of,
    state_digests,
    tensors_of,
    try_model,
)

MAX_SIDE = 4096
"""Pixels; a model that asks for more would only fill the memory."""

USUAL = (224, 224)
"""Height and width of the pictures of a model that says nothing."""


class ForeignModel(Shown, nn.Module):
    """A foreign network behind the face of `HashModel`: `logits`, `relaxed`, `code`, `digest`.

    The module is put into evaluation mode and frozen, and stays so; it is tried on two pictures, see `trial`. It is asked on
    its own device and in its own type, with a copy of the pictures; what comes back has the device and type of the pictures
    that were given.

    Args:
        module: pixels `(B, C, H, W)` in [0, 1] to `(B, K)` real numbers.
        name: what to call it in rows.
        size: height and width of its pictures, or one number for both.
        channels: channels of its pictures, 1 or 3.
        least: fewest pictures that it takes at once; fewer are filled up.
        most: most pictures that it takes at once, None for any number; more are cut into batches.
        code: what tells it from other modules with the same weights; the name where nothing is given.

    Attributes:
        bits: code length K.
        gradient: what comes back to the pixels: it `flows`, is `zero` everywhere, or there is `none`.
        notes: what a reader of its figures must know.

    Raises:
        RequestError: it fails on pictures of that shape, returns no `(B, K)` real and finite numbers, has lazy layers that
            were never called, or changes its weights or buffers when it is asked.
    """

    def __init__(
        self, module: nn.Module, name: str, size: int | tuple[int, int] = USUAL, channels: int = 3,
        *, least: int = 1, most: int | None = None, code: str = "",
    ) -> None:  # fmt: skip
        super().__init__()
        if not isinstance(module, nn.Module):
            raise RequestError(f"model {name} must be a torch.nn.Module, got {type(module).__name__}")
        if not _is_channels(channels):
            raise RequestError(f"channels of model {name} must be 1 or 3, got {channels!r}")
        check_known(module, name)
        self.module, self.name, self.channels = _inside(module), name, int(channels)
        self.size = picture_size(size, f"size of model {name}")
        self.code_name = code or name
        self.eval().requires_grad_(False)
        self._type: torch.dtype | None = None  # where the module takes another type than its weights have
        found = self._tried(Manner(name, least, most))
        self.manner, self.gradient, self.notes = found.manner, found.gradient, found.notes
        self.bits = found.manner.bits

    def _tried(self, manner: Manner) -> Trial:
        """The trial, in the type of the weights, else in single precision, else picture by picture."""
        ways: list[tuple[torch.dtype | None, Manner]] = [(None, manner)]
        if self.dtype != torch.float32:
            ways.append((torch.float32, manner))
        if manner.least == 1 and manner.most is None:
            ways.append((None, Manner(manner.name, 1, 1)))
        shape, first = (self.channels, *self.size), None
        device = self.device or torch.device("cpu")
        for kind, way in ways:
            self._type = kind
            try:
                with torch.random.fork_rng([device] if device.type == "cuda" else []):
                    found = try_model(
                        self._call, way, shape, lambda: state_digests(self), exact=rounding_of(self.dtype, device)
                    )
            except FailsError as error:
                first = first or error
                continue
            if way.most is None:
                return found
            how = "one by one" if way.most == 1 else f"{way.most} by {way.most}"
            note = f"the model takes no more than {way.most} at once: pictures are asked {how}, which is slow"
            return Trial(found.manner, found.gradient, (note, *found.notes))
        assert first is not None
        raise first

    @property
    def device(self) -> torch.device | None:
        """Where its weights are; None without weights."""
        return next((value.device for value in chain(self.parameters(), self.buffers())), None)

    @property
    def dtype(self) -> torch.dtype:
        """The type that its pictures have: that of its weights, single precision without any."""
        kinds = (value.dtype for value in chain(self.parameters(), self.buffers()) if value.is_floating_point())
        return self._type or next(kinds, torch.float32)

    def _call(self, x: Tensor) -> Any:
        """What the module returns for a copy of some pictures, in its own type; what it prints goes to standard error."""
        if self.module.training:  # somebody trains it beside us
            self.eval()
        with redirect_stdout(sys.stderr):  # standard output holds rows and nothing else
            return self.module(x.to(self.device or x.device, self.dtype, copy=True))

    def _safe_call(self, x: Tensor) -> Any:
        try:
            return self._call(x)
        except (HamguardError, MemoryError):
            raise
        except (Exception, SystemExit) as error:  # it is foreign code
            raise RunError(f"model {self.name} fails on pictures {tuple(x.shape)}: {first_line(error)}") from error

    def logits(self, x: Tensor) -> Tensor:
        """Outputs `(B, K)` of pixels `(B, C, H, W)` in [0, 1]; gray is repeated, color becomes luminance.

        Raises:
            RequestError: not four-dimensional, neither 1 nor 3 channels, whole numbers, or an output that is not `(B, K)`.
            RunError: the module fails.
        """
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise RequestError(f"pictures must have shape (B, 1 or 3, H, W), got {tuple(x.shape)}")
        if not x.is_floating_point():
            raise RequestError(f"pictures must be real numbers in [0, 1], got {x.dtype}; divide pixels by 255")
        z = self.manner.ask(self._safe_call, match_channels(x, self.channels))  # (B, K)
        return z.to(x)

    def relaxed(self, x: Tensor, alpha: float = 1.0) -> Tensor:
        """Relaxed codes `tanh(alpha z)`, `(B, K)`."""
        return relax(self.logits(x), alpha)

    def code(self, x: Tensor) -> Tensor:
        """Signed codes, `(B, K)` in {-1, +1}."""
        return sign(self.logits(x))

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        return self.logits(x)

    def train(self, mode: bool = True) -> ForeignModel:
        """Stay in evaluation mode, whatever is asked: a victim is measured as it answers."""
        self.training = False
        for part in self.children():
            with suppress(NotImplementedError):  # an exported program has no training mode to leave
                part.eval()
        return self

    @property
    def summary(self) -> dict[str, Any]:
        """What tells it from others: name, class, codes, images, where it is, what comes back to pixels, what to know of it."""
        images = f"{self.channels} x {self.size[0]} x {self.size[1]}"
        facts = {"name": self.name, "module": type(self.module).__name__, "bits": self.bits, "images": images}
        where = {"device": self.device, "type": str(self.dtype).removeprefix("torch.")}
        return {**facts, **where, "gradient": self.gradient, "notes": "; ".join(self.notes)}

    @property
    def digest(self) -> str:
        """Content hash of the weights and of what says how they are used: the name, or the code of an exported program."""
        return digest_bytes(digest_state(tensors_of(self)).encode(), self.code_name.encode())


def check_face(model: object) -> None:
    """Check that a model can be asked for codes: a `HashModel`, a `ForeignModel`, or whatever has `logits`.

    Raises:
        RequestError: it is a bare module, or nothing of that sort.
    """
    if isinstance(model, type):
        raise RequestError(f"a model must be trained, loaded or wrapped with hg.wrap, got the class {model.__name__}")
    if callable(getattr(model, "logits", None)):
        return
    if isinstance(model, nn.Module):
        raise RequestError("a bare nn.Module: wrap it with hg.wrap(module, size=(height, width)), see `hamguard.wrap`")
    raise RequestError(f"a model must be trained, loaded or wrapped with hg.wrap, got {type(model).__name__}")


def _inside(module: nn.Module) -> nn.Module:
    """The module that a data-parallel one runs: the same function, wherever it is."""
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner: nn.Module = module.module
        return inner
    return module


def picture_size(value: Any, what: str) -> tuple[int, int]:
    """Height and width in pixels, of two numbers or of one for both.

    Raises:
        RequestError: something else, or a number below 1 or above `MAX_SIDE`.
    """
    given = value.tolist() if isinstance(value, Tensor) else value
    sides = [given, given] if isinstance(given, Integral) else given
    if isinstance(sides, Sequence) and len(sides) == 2 and all(_is_side(side) for side in sides):
        return int(sides[0]), int(sides[1])
    raise RequestError(f"{what} must be a number of pixels, or (height, width), from 1 to {MAX_SIDE}, got {value!r}")


def _is_side(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and 1 <= int(value) <= MAX_SIDE


def _is_channels(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) in (1, 3)


def wrapped(
    module: nn.Module, name: str, *, size: int | tuple[int, int] | None = None, channels: int | None = None
) -> ForeignModel:
    """A module as a model; what is not said of its pictures is asked of it.

    Its attributes `size` and `channels` are taken for the pictures' where they can be that. Without `channels`, or where it is the
    width of a layer, 3 and 1 are tried. What is a `ForeignModel` already is only asked whether it is what is said of it.

    Raises:
        RequestError: as `ForeignModel`.
    """
    if isinstance(module, ForeignModel):
        return module
    if not isinstance(module, nn.Module):
        raise RequestError(f"model {name} must be a torch.nn.Module, got {type(module).__name__}")
    module = _inside(module)
    said = _said(module, "channels") if channels is None else channels
    if size is not None:
        sides = picture_size(size, f"size of model {name}")
    else:
        own = _said(module, "size")
        sides = USUAL if own is None else picture_size(own, f"attribute `size` of model {name}")
    if channels is not None or _is_channels(said):
        return ForeignModel(module, name, sides, said)
    try:
        model = ForeignModel(module, name, sides, 3)
    except FailsError as error:
        try:
            model = ForeignModel(module, name, sides, 1)
        except FailsError:
            if said is None:
                raise error from error.__cause__
            raise RequestError(
                f"{error}; its attribute `channels` is {said!r}, which is neither 1 nor 3, and both were tried"
            ) from error
    if said is not None:
        model.notes = (
            f"attribute `channels` of the model is {said!r}, which no picture has; it takes pictures with {model.channels}, "
            "so these are used",
            *model.notes,
        )
    return model


def foreign_from_factory(text: str) -> ForeignModel:
    """Build a model from `package.module:factory`; the factory takes no argument. This runs the named code.

    Raises:
        RequestError: no such module or factory, it fails, what it returns is not a `torch.nn.Module`, or as `ForeignModel`.
    """
    with redirect_stdout(sys.stderr):
        module = _made(text)
    return wrapped(module, text)


def _made(text: str) -> nn.Module:
    """What a factory returns, or the module itself where the name is that of one."""
    place, _, attribute = text.partition(":")
    try:
        factory = getattr(importlib.import_module(place), attribute)
    except (Exception, SystemExit) as error:  # the file is foreign code
        plain = isinstance(error, (ImportError, AttributeError, ValueError, TypeError)) and not isinstance(
            error, UnicodeError
        )
        kind = "" if plain else f"{type(error).__name__}: "
        raise RequestError(f"no model factory {text}: {kind}{first_line(error)}") from error
    if isinstance(factory, nn.Module):
        return factory
    if not callable(factory):
        raise RequestError(f"{text} must be a function that returns a torch.nn.Module, got {type(factory).__name__}")
    needed = _needed(factory)
    if needed:
        raise RequestError(
            f"model factory {text} must take no argument, it needs {', '.join(needed)}; name a function that gives them"
        )
    try:
        module = factory()
    except (Exception, SystemExit) as error:  # it is foreign code
        message = (str(error).strip() or "no message").splitlines()[0]
        raise RequestError(f"model factory {text} failed: {type(error).__name__}: {message}") from error
    if isinstance(module, type):
        raise RequestError(
            f"{text} must return a torch.nn.Module, got the class {module.__name__}; return {module.__name__}()"
        )
    if not isinstance(module, nn.Module):
        raise RequestError(f"{text} must return a torch.nn.Module, got {type(module).__name__}")
    return module


def _needed(factory: Any) -> list[str]:
    """Arguments without which a factory cannot be called."""
    try:
        found = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # some of C's have no signature
        return []
    free = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in found if one.default is inspect.Parameter.empty and one.kind not in free]


def _said(module: nn.Module, attribute: str) -> Any:
    """What an attribute says; None where there is none, or it is a method."""
    value = getattr(module, attribute, None)
    return None if callable(value) else value


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """A library's log and warnings are not shown inside the block."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


def foreign_from_export(path: Path) -> ForeignModel:
    """Load a `torch.export` file (`.pt2`); size and channels are read off its example input. Gradients to the input are kept.

    A program that was exported for so many pictures only is asked so many by so many, with a note.

    Raises:
        RequestError: the file cannot be read or is damaged, or as `ForeignModel`.
    """
    with open_ordinary(path, "torch.export file") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                broken = archive.testzip()  # torch does not look at the sums of its own archives
            with _silent("torch.export"):  # it logs what it then raises
                program = torch.export.load(path) if broken is None else None
        except Exception as error:  # an archive of anything
            raise RequestError(f"{path} is not a readable torch.export file: {first_line(error)}") from error
    if program is None:
        raise DamagedError(path, f"{broken} is not as it was written")
    channels, size = 3, USUAL
    least: int = 1
    most: int | None = None
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in program.graph_signature.user_inputs:
            shape: tuple[Any, ...] = tuple(getattr(node.meta.get("val"), "shape", ()))
            sides = [int(s) if isinstance(s, int) else None for s in shape]
            if len(shape) == 4 and None not in sides[1:]:
                channels, size = int(sides[1] or 3), (int(sides[2] or 224), int(sides[3] or 224))
                least, most = _batches(program, shape[0])
    code = program.graph_module.code
    model = ForeignModel(program.module(), path.name, size, channels, least=least, most=most, code=code)
    if most is not None:
        advice = "export with a dynamic batch: dynamic_shapes=({0: torch.export.Dim('batch')},)"
        model.notes = (f"{model.notes[0]}; {advice}", *model.notes[1:])
    return model


def _batches(program: Any, count: Any) -> tuple[int, int | None]:
    """Fewest and most pictures that an exported program takes at once; None for any number."""
    if isinstance(count, int):
        return count, count
    limits = program.range_constraints.get(count.node.expr)
    if limits is None:
        return 1, None
    low, high = limits.lower, limits.upper
    return max(1, int(low)), int(high) if high < 1 << 20 else None
