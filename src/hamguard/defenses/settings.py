"""Settings that defenses share; each method's file adds its own."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, field_validator

from hamguard.attacks.attack import Attack
from hamguard.attacks.threat import Threat
from hamguard.core.asked import Grown
from hamguard.core.checks import parse_eps
from hamguard.defenses.inner import inner_attack


class DefenseSettings(Grown):
    """What every method has, the control included; frozen, unknown keys are errors."""

    later: ClassVar[tuple[str, ...]] = ("pictures", "rest")

    objective: str = Field(
        "own", description="loss on clean pictures: own (the model's method), another hash method, or keep (its codes)"
    )
    average: float = Field(0.0, ge=0, lt=1, description="decay of averaged weights, e.g. 0.99; 0 keeps the last ones")
    pictures: int = Field(0, ge=0, description="training pictures of an epoch, others in the next; 0 for all")
    rest: bool | None = Field(
        None, description="batch norms keep what they learned; where not said, as in the model's own training"
    )


class AdversarySettings(DefenseSettings):
    """What every method with an inner attack has."""

    guide: str = Field("mainstay", description="code that adversaries leave: mainstay, center, own, anchor or p2p")
    loss: str = Field("inner", description="loss of the inner attack: inner, cosine, mainstay, hag, margin, logarithm")
    inner_eps: float | None = Field(None, gt=0, description="radius of the inner attack; --eps where not given")
    steps: int = Field(7, ge=1, description="gradients of the inner attack")
    step_size: float | None = Field(None, gt=0, description="length of a step; a quarter of the radius where not given")
    fast: bool = Field(False, description="one step of 1.25 radii instead, and an alarm where it stops to work")
    alarm_pictures: int = Field(64, ge=1, description="training pictures that the alarm looks at after each epoch")
    alarm_steps: int = Field(10, ge=2, description="steps of the attack that the one-step attack is compared with")

    @field_validator("inner_eps", "step_size", mode="before")
    @classmethod
    def _parts(cls, value: Any) -> Any:
        return parse_eps(value) if isinstance(value, str) else value

    def attack(self, threat: Threat) -> Attack:
        """The inner attack within a threat, or within `inner_eps` of its norm.

        Raises:
            RequestError: a wrong guide, loss or radius.
        """
        return self._inner(self._ball(threat), 1 if self.fast else self.steps, self.step_size)

    def check_attack(self, threat: Threat) -> Attack:
        """The longer attack that a one-step attack is compared with."""
        ball = self._ball(threat)
        return self._inner(ball, self.alarm_steps, 2.5 * ball.eps / self.alarm_steps)

    def _ball(self, threat: Threat) -> Threat:
        return Threat(threat.norm, self.inner_eps or threat.eps)

    def _inner(self, ball: Threat, steps: int, size: float | None) -> Attack:
        return inner_attack(self.guide, self.loss, ball, steps=steps, step_size=size)
