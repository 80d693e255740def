"""Attacks on texts: the forms that names and words stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hamguard.attacks.attack import Attack
from hamguard.attacks.budget import Budget
from hamguard.attacks.methods.cmla import TEXT_EPS, cmla_text, cmla_words
from hamguard.attacks.threat import Linf
from hamguard.core.checks import parse_eps
from hamguard.core.errors import RequestError
from hamguard.evaluation.attack.spec import AttackSpec, parsed_options

TEXT_ATTACKS: dict[str, Callable[[], Attack[Any]]] = {"cmla": cmla_text, "cmla-words": cmla_words}


def text_spec(given: Attack[Any] | AttackSpec | str, name: str, budget: Budget | None) -> AttackSpec:
    """An attack on texts: one that was made for them, one of a person's own, or the form of a named one."""
    if isinstance(given, str) and given in TEXT_ATTACKS:
        if budget is not None and given != "cmla":
            raise RequestError(f"{given} has no budget of a norm; give hg.attacks.cmla_words(most=...)")
        made = TEXT_ATTACKS[given]() if budget is None else cmla_text(steps=budget.steps, threat=budget.threat)
        return AttackSpec(made, control=True)
    own = given.attack if isinstance(given, AttackSpec) else given
    if isinstance(own, Attack) and (own.modality == "text" or not own.name):
        called = given.name if isinstance(given, AttackSpec) else name
        return AttackSpec(replace(own, modality="text", rounding=False), called, control=True)
    called = own.name if isinstance(own, Attack) else own
    raise RequestError(f"texts are attacked by cmla_text(...) and cmla_words(...), and {called} moves pixels")


def read_text_attack(
    methods: Sequence[str],
    side: str,
    *,
    words: int,
    eps: Sequence[str] = (),
    steps: int | None = None,
    preset: str = "default",
    options: Mapping[str, Any] | None = None,
) -> Attack[Any]:
    """The attack on texts that words name: `side` is `text` (values of the bag of words) or `words` (whole words).

    Raises:
        RequestError: another method than cmla, or a word that does not belong to it.
    """
    if list(methods) != ["cmla"]:
        raise RequestError(f"`side` {side} belongs to `methods` cmla, got {', '.join(methods)}")
    given = parsed_options("cmla", options or {})
    if side == "text":
        if len(eps) > 1:
            raise RequestError(f"`side` text takes one `eps`, got {len(eps)}")
        size = parse_eps(eps[0]) if eps else TEXT_EPS
        return cmla_text(steps=steps, preset=preset, threat=Linf(size), **given)  # type: ignore[arg-type]
    if eps or steps is not None or preset != "default":
        raise RequestError("`side` words is bounded by `words`; leave out `eps`, `steps` and `preset`")
    if "norm" in given:
        raise RequestError("`side` words has no norm term, `words` bounds it; leave out `options` norm")
    return cmla_words(most=words, **given)
