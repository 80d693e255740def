"""ProS-GAN's game: a generator against a discriminator and a frozen hash model, as something that a training loop fits.

Paper: X. Wang, Z. Zhang, B. Wu, F. Shen, G. Lu, "Prototype-supervised Adversarial Network for Targeted Attack of Deep Hashing",
CVPR 2021; weights and normalization after the authors' code: `L_G = 5 (1 - mean h_t f(x')) + w MSE(x', x) + MSE(D(x'), [y_t, 0])`
with squared errors averaged over elements of pictures in [-1, 1], which is four times that in [0, 1]; the discriminator moves every
third step, before the generator, on the same batch. Its squared errors, eq. (10) and (13), are taken of plain scores, as in the
code; `scores="sigmoid"` puts the sigmoid of the text (section 3.4) before them.

Two ablations of the paper are settings: `hamming=0` is its "GAN", `discriminator="real"` its "ProS-GAN-1".

Ours, beside the published form: a hard budget (`budget="hard"`), where the generator makes a perturbation that is scaled into the
ball around the picture, cut to [0, 1] and, with `rounding`, to 8 bits, all straight through for the gradient. In the narrow ball
from the start a generator saturated its tanh before it had learned anything, so the ball may begin wide and fall (`widen`): it
learns first where to go, and then to go there with less. Further: a loss with a margin on the codes' logits, so that bits that are
right already no longer pull (`margin`), no discriminator at all (`discriminator="none"`), and first weights with which a
generator of a soft budget begins with the picture (`start=picture` of its training, `Generator.begin_with_picture`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from hamguard.attacks.threat import Norm, Threat
from hamguard.attacks.types import Victim
from hamguard.codes.binary import relax, sign
from hamguard.core.checks import check_choice, check_range
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator
from hamguard.models.prosgan import Discriminator, Generator, PrototypeNet

BETAS = (0.5, 0.999)  # of both optimizers, authors' code
WIDE_SHARE = 0.6  # of a run whose ball is still wider than asked
EVERY = 3  # steps between updates of the discriminator, authors' code


class Step(Protocol):
    """What the game looks at in a training loop's batch."""

    @property
    def index(self) -> Tensor:
        """Numbers of the items, `(B,)`."""

    @property
    def progress(self) -> float:
        """Share of the run that is done."""

    @property
    def generator(self) -> torch.Generator:
        """Random numbers of this step."""


@dataclass(frozen=True)
class GameRules:
    """Weights and rules of the game.

    Attributes:
        hamming: weight of the distance between the code and the prototype code; 0 for the ablation "GAN".
        reconstruction: weight of the squared error to the picture, soft budget only.
        adversarial: weight of the discriminator's answer.
        discriminator: what it tells apart: `classes` and real, `real` alone (ProS-GAN-1), or `none`.
        budget: `soft`, the generator makes the picture; `hard`, it makes a perturbation inside a ball.
        eps: radius of the ball in pixel units.
        norm: of the ball.
        margin: where above 0, the distance is `mean relu(margin - h_t z)` on logits z instead of `1 - mean h_t tanh z`.
        rounding: the hash model sees pictures rounded to 8 bits, straight through for the gradient; hard budget only.
        widen: a hard budget's eps begins this many times larger and falls geometrically, over the first 60% of the run.
        overlap: a picture's target may share a label with it, as published.
        scores: how the discriminator ends: `linear`, as in the authors' code, or `sigmoid`, as printed.

    Raises:
        RequestError: an unknown word, or a negative weight.
    """

    hamming: float = 5.0
    reconstruction: float = 50.0
    adversarial: float = 1.0
    discriminator: Literal["classes", "real", "none"] = "classes"
    budget: Literal["soft", "hard"] = "soft"
    eps: float = 8 / 255
    norm: Norm = "linf"
    margin: float = 0.0
    rounding: bool = False
    widen: float = 1.0
    overlap: bool = True
    scores: Literal["linear", "sigmoid"] = "linear"

    def __post_init__(self) -> None:
        check_choice("discriminator", self.discriminator, ("classes", "real", "none"))
        check_choice("scores", self.scores, ("linear", "sigmoid"))
        check_choice("budget", self.budget, ("soft", "hard"))
        for name in ("hamming", "reconstruction", "adversarial", "margin"):
            check_range(name, getattr(self, name), 0.0)
        check_range("widen", self.widen, 1.0)
        if self.budget == "hard":
            Threat(self.norm, self.eps)

    @property
    def threat(self) -> Threat | None:
        """The ball of a hard budget, None for a soft one."""
        return Threat(self.norm, self.eps) if self.budget == "hard" else None

    def threat_at(self, progress: float) -> Threat | None:
        """The ball at a share of the run; the wide beginning of `widen` falls to the ball itself."""
        threat = self.threat
        if threat is None or self.widen == 1.0:
            return threat
        eps = threat.eps * self.widen ** max(0.0, 1 - progress / WIDE_SHARE)
        return Threat(threat.norm, min(1.0, eps) if threat.norm == "linf" else eps)


def made_picture(generator: Generator, x: Tensor, r: Tensor, threat: Threat | None) -> Tensor:
    """What a generator makes of pictures, `(B, C, H, W)` in [0, 1]; not yet on the 8-bit grid.

    Args:
        generator: the net.
        x: pictures, `(B, C, H, W)` in [0, 1].
        r: representations of their targets, `(B, 512)`.
        threat: the ball of a hard budget; None for a soft one.
    """
    made: Tensor = generator(2 * x - 1, r)  # (B, C, H, W) in (-1, 1)
    made = made.to(x.dtype)  # half precision would be coarser than 8 bits from here on
    if threat is None:
        return (made + 1) / 2
    moved = x + threat.eps * made
    return straight_through(moved, threat.project(moved, x))


def straight_through(raw: Tensor, exact: Tensor) -> Tensor:
    """The values of `exact` with the gradient of `raw`: what is clipped or rounded goes on learning."""
    return raw + (exact - raw).detach()


def discriminator_loss(real: Tensor, made: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """`0.5 MSE(D(x), [y, 0]) + 0.5 MSE(D(x'), [y_t, 1])`; with one score a picture, real or made alone.

    Args:
        real: scores of pictures, `(B, C + 1)` or `(B, 1)`.
        made: scores of made pictures, the same shape.
        labels: labels of the pictures, `(B, C)`.
        targets: target labels, `(B, C)`.
    """
    return 0.5 * F.mse_loss(real, _answer(labels, 0.0, real)) + 0.5 * F.mse_loss(made, _answer(targets, 1.0, made))


def adversarial_loss(made: Tensor, targets: Tensor) -> Tensor:
    """`MSE(D(x'), [y_t, 0])`: the made picture is to pass for a real one of the target's classes."""
    return F.mse_loss(made, _answer(targets, 0.0, made))


def hamming_loss(z: Tensor, code: Tensor, margin: float = 0.0) -> Tensor:
    """`1 - mean(h_t tanh z)` over pictures and bits; with a margin, `mean relu(margin - h_t z)`."""
    return F.relu(margin - code * z).mean() if margin else 1 - (code * relax(z)).mean()


def _answer(labels: Tensor, made: float, scores: Tensor) -> Tensor:
    """What the discriminator is to say: labels and whether the picture is made, cut to the scores that there are."""
    whole = torch.cat([labels, labels.new_full((len(labels), 1), made)], 1)  # (B, C + 1)
    return whole[:, -scores.shape[1] :]


class Game:
    """The task of a training loop.

    Args:
        generator: changed in place; its device is where the work happens.
        discriminator: changed in place; None without one.
        victim: the hash model, frozen, in evaluation mode.
        pictures: from numbers of training items to pictures `(B, C, H, W)` in [0, 1].
        labels: of the training items, `(n, C)`.
        pool: label vectors that targets are drawn from, uniformly, `(P, C)`.
        prototype: makes the prototype net; called once, at the beginning of a fresh run.
        blank: a net of the same shape, which a resumed run fills.
        rules: weights and rules.
        rate: the discriminator's learning rate at a share of the run.

    Raises:
        RequestError: without overlap, a training item shares a label with every vector of the pool.
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator | None,
        victim: Victim,
        pictures: Callable[[Sequence[int]], Tensor],
        labels: Tensor,
        pool: Tensor,
        *,
        prototype: Callable[[], PrototypeNet],
        blank: PrototypeNet,
        rules: GameRules,
        rate: Callable[[float], float],
    ) -> None:
        self.generator, self.discriminator, self.victim = generator, discriminator, victim
        self.pictures, self.labels, self.pool, self.rules = pictures, labels, pool, rules
        self.items = len(labels)
        self.device = next(generator.parameters()).device
        self._make_prototype, self.prototype, self._rate = prototype, blank, rate
        self._allowed: Tensor | None = None
        if not rules.overlap:
            self._allowed = (labels @ pool.T == 0).float()  # (n, P)
            if not bool(self._allowed.any(1).all()):
                raise RequestError(
                    "some training pictures share a label with every target label; allow it with `overlap=true`"
                )
        self.own = torch.optim.Adam(discriminator.parameters(), lr=rate(0.0), betas=BETAS) if discriminator else None
        self._count = 0  # steps of the whole run
        self._sums = torch.zeros(
            5
        )  # of the epoch: steps, right bits, squared error, adversarial, discriminator steps' loss

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The generator; the discriminator has its own optimizer inside the game."""
        return [{"params": list(self.generator.parameters()), "lr_factor": 1.0, "betas": BETAS}]

    def begin(self) -> None:
        """Train the prototype net."""
        self.prototype = self._make_prototype()

    def select(self, epoch: int) -> Tensor | None:
        """All items."""
        return None

    def targets_of(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Target labels of items, `(B, C)`, uniform over the label vectors that they may have."""
        if self._allowed is None:
            return self.pool[torch.randint(len(self.pool), (len(index),), generator=generator)]
        drawn = torch.multinomial(self._allowed[index], 1, generator=generator).flatten()  # (B,)
        return self.pool[drawn]

    def step(self, batch: Step) -> Tensor:
        """Loss of the generator on one batch; every third step the discriminator moves first."""
        rules, threat = self.rules, self.rules.threat_at(batch.progress)
        x = self.pictures(batch.index.tolist()).to(self.device)  # (B, C, H, W)
        x = x.contiguous(memory_format=torch.channels_last)
        labels = self.labels[batch.index].to(self.device)
        targets = self.targets_of(batch.index, batch.generator)  # (B, C)
        with torch.no_grad():
            r = self.prototype.represent(targets)  # (B, 512)
            code = sign(self.prototype.heads(r)[0]).to(self.device)  # (B, K)
        r, targets = r.to(self.device), targets.to(self.device)
        x_adv = made_picture(self.generator, x, r, threat)  # (B, C, H, W)
        if self.discriminator is not None and self.own is not None and self._count % EVERY == 0:
            self._move_discriminator(x, x_adv.detach(), labels, targets, batch.progress)
        self._count += 1
        loss = x_adv.new_zeros(())
        z = None
        if rules.hamming:
            seen = straight_through(x_adv, (x_adv * 255).round() / 255) if threat and rules.rounding else x_adv
            z = self.victim.logits(seen)  # (B, K)
            loss = loss + rules.hamming * hamming_loss(z, code, rules.margin)
        error = 4 * F.mse_loss(x_adv, x)  # as in [-1, 1]
        if threat is None:
            loss = loss + rules.reconstruction * error
        answer = x_adv.new_zeros(())
        if self.discriminator is not None and rules.adversarial:
            self.discriminator.requires_grad_(False)  # its gradients here would be thrown away
            answer = adversarial_loss(self.discriminator(2 * x_adv - 1), targets)
            self.discriminator.requires_grad_(True)
            loss = loss + rules.adversarial * answer
        with torch.no_grad():
            right = 0.0 if z is None else float(((z >= 0) == (code > 0)).float().mean())
            self._sums += torch.tensor([1.0, right, float(error) / 4, float(answer), 0.0])
        return loss

    def _move_discriminator(self, x: Tensor, x_adv: Tensor, labels: Tensor, targets: Tensor, progress: float) -> None:
        assert self.discriminator is not None and self.own is not None
        for group in self.own.param_groups:
            group["lr"] = self._rate(progress)
        loss = discriminator_loss(self.discriminator(2 * x - 1), self.discriminator(2 * x_adv - 1), labels, targets)
        self.own.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.own.step()
        self._sums[4] += float(loss.detach())

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Share of right bits, RMSE in pixel units, and both sides' losses, averaged over the epoch's steps."""
        steps, right, error, answer, other = self._sums.tolist()
        self._sums.zero_()
        facts = {"right_bits": right / steps, "rmse": (error / steps) ** 0.5}
        if self.discriminator is None:
            return facts
        return {**facts, "adversarial": answer / steps, "discriminator": other / max(1.0, steps / EVERY)}

    def state(self) -> dict[str, Any]:
        """The three nets, the discriminator's optimizer and the counts; copies."""
        return {
            "generator": _copy(self.generator.state_dict()),
            "prototype": _copy(self.prototype.state_dict()),
            "discriminator": _copy(self.discriminator.state_dict()) if self.discriminator else {},
            "own": copy.deepcopy(self.own.state_dict()) if self.own else {},
            "count": self._count,
            "sums": self._sums.clone(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        self.generator.load_state_dict(state["generator"])
        self.prototype.load_state_dict(state["prototype"])
        self.prototype.eval().requires_grad_(False)
        if self.discriminator is not None and self.own is not None:
            self.discriminator.load_state_dict(state["discriminator"])
            self.own.load_state_dict(state["own"])
        self._count, self._sums = int(state["count"]), state["sums"].clone()


def new_nets(
    channels: int, size: tuple[int, int], classes: int, width: int, rules: GameRules, seed: int
) -> tuple[Generator, Discriminator | None]:
    """Fresh generator and discriminator of a game; the discriminator is None where the rules have none.

    Raises:
        RequestError: a width or size that the nets cannot have.
    """
    generator = Generator(channels, size, width, torch_generator(seed, "generator", "weights"))
    if rules.discriminator == "none":
        return generator, None
    outputs = classes + 1 if rules.discriminator == "classes" else 1
    drawn = torch_generator(seed, "discriminator", "weights")
    return generator, Discriminator(channels, size, outputs, width, drawn, sigmoid=rules.scores == "sigmoid")


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in state.items()}
