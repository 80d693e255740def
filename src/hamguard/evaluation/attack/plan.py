"""A request for an attack as plain values, and the `Attack` that it names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from hamguard.attacks.guides.registry import guide_named
from hamguard.attacks.methods.registry import ATTACKS, method_facts
from hamguard.attacks.threat import Threat
from hamguard.core.asked import Asked
from hamguard.core.checks import check_choice, suggest
from hamguard.core.errors import RequestError
from hamguard.models.trial import NO_GRADIENT, gradient_kind

FLAGS = ("threat", "toward", "steps", "preset", "guide", "restarts")
"""Options of a method that have a flag or a field of their own; all others go through `options`."""
FINITE = ConfigDict(allow_inf_nan=False)


class AttackPlan(Asked):
    """What a person asks for.

    Attributes:
        method: name of the method.
        eps: radius in pixel units; None takes a generator's own, the method's own (10/255 of cmla), or 8/255.
        norm: `linf` or `l2`.
        steps: number of gradients; None takes the method's own.
        restarts: independent starts; None takes the method's own.
        preset: `default`, or a published form.
        guide: name of the guide for methods that take any.
        targets: how target labels are chosen; None leaves the guide instead of approaching it.
        reference: part whose codes build guides: `train`, or `database` as in some published code.
        options: further options of the method.
        sources: models that the pictures are made on; empty for the scored model itself.
        combine: how several of them are joined.
        generator: folder of the trained generator, for methods that need one.
        fold: take gradients from a copy whose batch norms are folded, which is faster; figures come from the model itself.
    """

    method: str
    eps: float | None = 8 / 255
    norm: Literal["linf", "l2"] = "linf"
    steps: int | None = None
    restarts: int | None = None
    preset: str = "default"
    guide: str | None = None
    targets: str | None = None
    reference: Literal["train", "database"] = "train"
    options: dict[str, str] = Field(default_factory=dict)
    sources: tuple[str, ...] = ()
    combine: Literal["joint", "sum", "sum-project", "mean"] = "joint"
    generator: str | None = None
    fold: bool = True

    @property
    def threat(self) -> Threat:
        """The allowed set; where no eps was asked for, the method's own, else 8/255."""
        if self.eps is not None:
            return Threat(self.norm, self.eps)
        parameter = method_facts(self.method).options.get("threat")
        own = parameter.default if parameter else None
        return own if isinstance(own, Threat) and own.norm == self.norm else Threat(self.norm, 8 / 255)

    @property
    def toward(self) -> bool:
        """Whether the attack approaches a target."""
        direction = method_facts(self.method).direction
        return direction == "toward" or (direction == "either" and self.targets is not None)

    @property
    def rule(self) -> str | None:
        """How targets are chosen; labels without overlap where nothing else was asked for."""
        return (self.targets or "no-overlap") if self.toward else None


def build_attack(plan: AttackPlan) -> Any:
    """The attack that a plan names.

    Raises:
        RequestError: unknown method, preset, guide or option, an option the method does not have, or a value out of range.
    """
    factory = ATTACKS[plan.method]
    facts = method_facts(plan.method)
    if plan.targets is not None and facts.direction in ("away", "none"):
        raise RequestError(f"{plan.method} has no target: it leaves a code; leave out --targets")
    own = plan.eps is None and facts.needs_generator  # the generator knows
    given: dict[str, Any] = {"threat": None if own else plan.threat}
    if facts.direction == "either":
        given["toward"] = plan.toward
    flags = {"steps": plan.steps, "restarts": plan.restarts, "guide": plan.guide}
    if plan.preset != "default":
        flags["preset"] = check_choice(f"preset of {plan.method}", plan.preset, facts.presets or ("default",))
    for name, value in flags.items():
        if value is None:
            continue
        if name not in facts.options:
            raise RequestError(
                f"{plan.method} takes no {name}; it takes {', '.join(open_options(plan.method)) or 'none'}"
            )
        given[name] = guide_named(str(value)) if name == "guide" else value
    return factory(**given, **parsed_options(plan.method, plan.options))


def check_gradients(method: str, models: Sequence[object]) -> None:
    """Check that models give the gradient that a method follows; models are asked when they are loaded, see `models.trial`.

    Raises:
        RequestError: a model gives none; the message names what works without.
    """
    if not method_facts(method).follows_gradients:
        return
    for model in models:
        if gradient_kind(model) == "none":
            without = [name for name in ATTACKS if not method_facts(name).follows_gradients]
            raise RequestError(
                f"model {getattr(model, 'name', '')} {NO_GRADIENT}, and {method} follows gradients; without: "
                f"{', '.join(without)}, any method on pictures of another model (attack --source-model OTHER), or the query-only "
                "stage of `hamguard audit OTHER --endpoint package.module:factory`"
            )


def open_options(method: str) -> list[str]:
    """Names of what a method takes, flags included."""
    return [name for name in method_facts(method).options if name not in ("threat", "toward")]


def parsed_options(method: str, options: Mapping[str, str]) -> dict[str, Any]:
    """Text values of `--set` as the types of a method's factory.

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
    if is_dataclass(value) and not isinstance(value, type):
        inside = {field.name: describe(getattr(value, field.name)) for field in fields(value) if field.repr}
        return {"kind": type(value).__name__, **inside}
    if isinstance(value, (list, tuple)):
        return [describe(one) for one in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return getattr(value, "__name__", type(value).__name__)


def attack_facts(plan: AttackPlan, attack: Any) -> dict[str, Any]:
    """What a row says of an attack: its name first, then who sees what, then its four values."""
    aware = bool(getattr(attack.guide, "needs_labels", True))
    facts: dict[str, Any] = {"method": plan.method, "preset": plan.preset, "toward": plan.toward}
    facts |= {"labels": "aware" if aware else "free", "guide": attack.guide.name, "targets": plan.rule}
    facts["reference"] = plan.reference if aware else None
    if plan.generator is not None:
        facts["generator"] = plan.generator
    if plan.sources:
        facts |= {"made_on": list(plan.sources), "combine": plan.combine if len(plan.sources) > 1 else None}
    return {**facts, "values": describe(attack)}


def threat_facts(plan: AttackPlan, attack: Any) -> dict[str, Any]:
    """The threat model of a row: norm, eps in pixel units (`soft` and None without a ball), gradients, restarts."""
    search = getattr(attack, "search", attack)
    steps, restarts = getattr(search, "steps", 0), getattr(search, "restarts", 1)
    ball = attack.threat
    size: dict[str, Any] = {"norm": ball.norm, "eps": ball.eps} if ball is not None else {"norm": "soft", "eps": None}
    if ball is not None and ball.one_sided:
        size["one_sided"] = True
    return {**size, "steps": steps, "restarts": restarts, "grid": "8 bit"}
