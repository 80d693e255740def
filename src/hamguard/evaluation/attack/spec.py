"""What is asked of an attack beside its value: what rows call it, its targets, where it is made; read from words once."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import CodeType
from typing import Any, Literal, TypeAlias, get_args, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from hamguard.attacks.attack import Attack
from hamguard.attacks.generated import GeneratorPass, NoGenerator
from hamguard.attacks.guides.registry import guide_named
from hamguard.attacks.losses.reach import ReachLoss
from hamguard.attacks.methods.registry import ATTACKS, method_facts
from hamguard.attacks.search.gradient_descent import GradientSteps
from hamguard.attacks.search.noise import RandomNoise
from hamguard.attacks.threat import Norm, Threat
from hamguard.core.checks import check_choice, suggest
from hamguard.core.digests import digest_bytes
from hamguard.core.errors import RequestError
from hamguard.core.rows import size_text
from hamguard.core.types import Modality
from hamguard.evaluation.ground import Loaded
from hamguard.models.trial import NO_GRADIENT, gradient_kind

FLAGS = ("threat", "toward", "steps", "preset", "guide", "restarts")
"""Options of a method that have a flag or a field of their own; all others go through `options`."""
FINITE = ConfigDict(allow_inf_nan=False)
EPS = 8 / 255  # of methods that have none of their own
Reference: TypeAlias = Literal["train", "database", "classes"]
Combine: TypeAlias = Literal["joint", "sum", "sum-project", "mean"]


@dataclass(frozen=True)
class AttackSpec:
    """An attack and how it is carried out.

    Attributes:
        attack: the value.
        name: what rows call it; by default the name of its factory, else `attack`.
        preset: which published form it is.
        targets: how target labels are chosen; None takes labels without overlap where the attack approaches a code.
        reference: what builds guides: codes of the part `train`, or `database` as in some published code, or the fixed codes of
            `classes` of a model whose method has such codes (CSQ, OrthoHash, DPN).
        sources: models that the images are made on; empty for the scored model itself.
        combine: how several of them are joined.
        fold: take gradients from a copy whose batch norms are folded, which is faster; figures come from the model itself.
        generator: folder that a trained generator came from.
        across: measure both searches of its modality, as pairs of images and texts are measured; texts have no other way.
        marks: numbers of gradients after which it is measured, too; the attack's own come last. Only `across`.
        control: noise of the same size is measured beside it. Only `across`, and not where the budget is no ball.

    Raises:
        RequestError: targets for an attack that leaves a code, a word that is not allowed, marks beyond the attack's steps, or
            marks before their end where the point there is not that of a shorter run.
    """

    attack: Attack[Any]
    name: str = ""
    preset: str = ""
    targets: str | None = None
    reference: Reference = "train"
    sources: tuple[Loaded, ...] = ()
    combine: Combine = "joint"
    fold: bool = True
    generator: str | None = None
    across: bool = False
    marks: tuple[int, ...] = ()
    control: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "across", self.across or self.modality == "text")
        object.__setattr__(self, "marks", checked_marks(self.attack.search, self.marks))
        if self.marks and len(self.sources) > 1:
            raise RequestError("steps to look after are those on one source model")
        object.__setattr__(self, "name", self.name or self.attack.name or "attack")
        object.__setattr__(self, "preset", self.preset or self.attack.preset)
        check_choice("reference", self.reference, get_args(Reference))
        check_choice("way to combine", self.combine, ("joint", "sum", "sum-project", "mean"))
        if self.targets is not None and not self.toward:
            raise RequestError(f"{self.name} has no target: it leaves a code; leave out `targets`")

    @classmethod
    def read(
        cls,
        method: str,
        *,
        eps: float | None = None,
        norm: Norm | None = None,
        steps: int | None = None,
        restarts: int | None = None,
        preset: str = "default",
        guide: str | None = None,
        targets: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> AttackSpec:
        """The attack that words name.

        Args:
            method: name of the method.
            eps: radius in pixel units; None takes a generator's own, the method's own (10/255 of cmla), or 8/255.
            norm: `linf`, `l2`, `l1` or `l0`; None takes the method's own (`l0` of jsma, `l2` of cw), or `linf`.
            steps: number of gradients; None takes the method's own.
            restarts: independent starts; None takes the method's own.
            preset: `default`, or a published form.
            guide: name of the guide for methods that take any.
            targets: how target labels are chosen; None leaves the guide instead of approaching it, where the method may do either.
            options: further options of the method, as text or as values.

        Raises:
            RequestError: unknown method, preset, guide or option, an option the method does not have, or a value out of range.
        """
        factory, facts = ATTACKS[method], method_facts(method)
        if targets is not None and facts.direction in ("away", "none"):
            raise RequestError(f"{method} has no target: it leaves a code; leave out `targets`")
        own = eps is None and facts.needs_generator  # the generator knows
        given: dict[str, Any] = {"threat": None if own else _threat(method, eps, norm)}
        if facts.direction == "either":
            given["toward"] = targets is not None
        flags = {"steps": steps, "restarts": restarts, "guide": guide}
        if preset != "default":
            flags["preset"] = check_choice(f"preset of {method}", preset, facts.presets or ("default",))
        for name, value in flags.items():
            if value is None:
                continue
            if name not in facts.options:
                raise RequestError(f"{method} takes no {name}; it takes {', '.join(open_options(method)) or 'none'}")
            given[name] = guide_named(str(value)) if name == "guide" else value
        return cls(factory(**given, **parsed_options(method, options or {})), method, preset, targets)

    @property
    def toward(self) -> bool:
        """Whether it approaches a target."""
        return bool(self.attack.toward)

    @property
    def threat(self) -> Threat | None:
        """The allowed set; None for a soft budget, or one that a generator is still to say."""
        return self.attack.ball

    @property
    def modality(self) -> Modality:
        """What it moves."""
        return self.attack.modality

    @property
    def steps(self) -> int:
        """Number of gradients; 0 where it has none, or edits words."""
        return int(getattr(self.attack.search, "steps", 0) or 0)

    @property
    def rule(self) -> str | None:
        """How targets are chosen."""
        return (self.targets or "no-overlap") if self.toward else None

    @property
    def aware(self) -> bool:
        """Whether the guide looks at labels."""
        return bool(self.attack.guide.needs_labels)

    def left(self, bits: int) -> int | None:
        """Bits of a code that may be left wrong where the attack counts as successful; None where it goes on as long as it may."""
        loss = self.attack.loss
        return loss.allowed(bits, 1 if self.toward else -1) if isinstance(loss, ReachLoss) else None

    @property
    def is_noise(self) -> bool:
        """Whether nothing is searched for: a control, which needs none beside it."""
        return isinstance(self.attack.search, RandomNoise)

    @property
    def follows_gradients(self) -> bool:
        """Whether it needs gradients of the model that its images are made on; noise and generators do not."""
        return not isinstance(self.attack.search, RandomNoise | NoGenerator | GeneratorPass)

    @property
    def title(self) -> str:
        """Name and radius, for progress bars."""
        ball = self.threat
        return self.name if ball is None or self.generator else f"{self.name} at {size_text(ball.norm, ball.eps)}"

    @property
    def facts(self) -> dict[str, Any]:
        """What a row says of the attack: its name first, then who sees what, then its four values."""
        facts: dict[str, Any] = {"method": self.name, "preset": self.preset}
        facts |= {"side": self.modality} if self.across else {}
        facts |= {"toward": self.toward, "labels": "aware" if self.aware else "free", "guide": self.attack.guide.name}
        if self.across:
            if self.threat is not None and hasattr(self.attack.loss, "intra"):
                facts["intra"] = self.attack.loss.intra
            made_on = {"made_on": [one.name for one in self.sources]} if self.sources else {}
            return {**facts, "values": describe(self.attack), **made_on}
        facts |= {"targets": self.rule, "reference": self.reference if self.aware else None}
        if self.generator is not None:
            facts["generator"] = self.generator
        if self.sources:
            names = [one.name for one in self.sources]
            facts |= {"made_on": names, "combine": self.combine if len(names) > 1 else None}
        return {**facts, "values": describe(self.attack)}

    @property
    def threat_facts(self) -> dict[str, Any]:
        """The threat model of a row: norm, eps in pixel units (`soft` and None without a ball), gradients, restarts."""
        return self.threat_after(self.steps)

    def threat_after(self, steps: int) -> dict[str, Any]:
        """The same after a number of gradients."""
        carrier, ball = self.attack.carrier, self.threat
        size: dict[str, Any] = {"norm": "soft", "eps": None, "steps": steps}
        if ball is not None:
            size |= {"norm": ball.norm, "eps": ball.eps}
            size |= {"one_sided": ball.one_sided} if ball.one_sided or self.across else {}
        elif carrier is not None:
            size |= carrier.budget
        grid = "8 bit" if self.modality == "image" else "text" if ball is None else "bag of words, real values"
        return {**size, "restarts": getattr(self.attack.search, "restarts", 1), "grid": grid}

    @property
    def content(self) -> dict[str, Any]:
        """All that decides images and rows, as JSON, for keys of finished work; a folder's name is not part of it."""
        facts = {key: value for key, value in self.facts.items() if key != "generator"}
        return {
            **facts,
            "threat": self.threat_facts,
            "sources": [one.model.digest for one in self.sources],
            "fold": self.fold,
            **({"marks": self.marks, "control": self.control} if self.across else {}),
        }


def checked_marks(search: Any, marks: Sequence[int]) -> tuple[int, ...]:
    """Numbers of gradients to look after, the search's own last; a point on its way is where a run of so many would end.

    Raises:
        RequestError: a mark beyond the steps, or before their end where the search's steps depend on their number.
    """
    steps = int(getattr(search, "steps", 0) or 0)
    if not marks:
        return ()
    if any(not 1 <= mark <= steps for mark in marks):
        raise RequestError(f"steps to look after must lie between 1 and {steps}, got {', '.join(map(str, marks))}")
    even = isinstance(search, GradientSteps) and search.alpha == "constant" and search.keep == "last"
    if not even and min(marks) < steps:
        raise RequestError(f"only a search like cmla's can be looked at on its way; ask for all {steps} steps alone")
    return tuple(mark for mark in marks if mark < steps)


def _threat(method: str, eps: float | None, norm: Norm | None) -> Threat:
    """The allowed set; where no eps or norm was asked for, the method's own, else 8/255 and `linf`."""
    parameter = method_facts(method).options.get("threat")
    own = parameter.default if parameter else None
    if not isinstance(own, Threat):
        own = Threat("linf", EPS)
    norm = norm or own.norm
    return Threat(norm, eps) if eps is not None else own if own.norm == norm else Threat(norm, EPS)


def check_gradients(name: str, models: Sequence[object]) -> None:
    """Check that models give the gradient that an attack follows; models are asked when they are loaded, see `models.trial`.

    Raises:
        RequestError: a model gives none; the message names what works without.
    """
    for model in models:
        if gradient_kind(model) == "none":
            without = [name for name in ATTACKS if not method_facts(name).follows_gradients]
            raise RequestError(
                f"model {getattr(model, 'name', '')} {NO_GRADIENT}, and {name} follows gradients; without: "
                f"{', '.join(without)}, any method on pictures of another model (attack --source-model OTHER), or the query-only "
                "stage of `hamguard audit OTHER --endpoint package.module:factory`"
            )


def open_options(method: str) -> list[str]:
    """Names of what a method takes, flags included."""
    return [name for name in method_facts(method).options if name not in ("threat", "toward")]


def parsed_options(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Values, or the texts of `--set`, as the types of a method's factory.

    Raises:
        RequestError: an option that the method does not have, or a value of another type.
    """
    hints = get_type_hints(ATTACKS[method])
    known = [name for name in method_facts(method).options if name not in FLAGS]
    out = {}
    for name, text in options.items():
        if name not in known:
            listed = ", ".join(known) or "none"
            raise RequestError(f"{method} has no option {name!r}; options: {listed}{suggest(name, known)}")
        try:
            out[name] = TypeAdapter(hints.get(name, inspect.Parameter.empty), config=FINITE).validate_python(text)
        except ValidationError as error:
            raise RequestError(
                f"option {name} of {method}: {error.errors()[0]['msg'].lower()}, got {text!r}"
            ) from error
    return out


def describe(value: Any) -> Any:
    """A frozen value as JSON: a data class as its name and fields, a function as its name."""
    if isinstance(value, Attack) and value.carrier is not None:
        return {name: describe(one) for name, one in value.carrier.shown(value).items()}
    if is_dataclass(value) and not isinstance(value, type):
        inside = {field.name: describe(getattr(value, field.name)) for field in fields(value) if field.repr}
        return {"kind": type(value).__name__, **inside}
    if isinstance(value, (list, tuple)):
        return [describe(one) for one in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return getattr(value, "__name__", type(value).__name__)


def code_digests(value: Any) -> list[str]:
    """Hashes of what was written outside of hamguard, in a notebook for instance: a name alone does not tell two versions apart."""
    if isinstance(value, (list, tuple)):
        return [one for part in value for one in code_digests(part)]
    inside: list[str] = []
    if is_dataclass(value) and not isinstance(value, type):
        inside = [one for field in fields(value) if field.repr for one in code_digests(getattr(value, field.name))]
    written = value if inspect.isfunction(value) else vars(type(value)).get("__call__")
    code = getattr(written, "__code__", None)
    if code is None or str(getattr(written, "__module__", "")).partition(".")[0] == __name__.partition(".")[0]:
        return inside
    return [*inside, digest_bytes(*_code_bytes(code))]


def _code_bytes(code: CodeType) -> list[bytes]:
    """What a function does, without where it stands: a repr of a function inside it would hold an address."""
    plain = [one for one in code.co_consts if not isinstance(one, CodeType)]
    within = [part for one in code.co_consts if isinstance(one, CodeType) for part in _code_bytes(one)]
    return [code.co_code, repr((plain, code.co_names)).encode(), *within]
