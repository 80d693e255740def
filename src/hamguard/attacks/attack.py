"""An attack is four values: guide, loss, search, threat. This file puts them together and rounds the result to 8 bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, cast, get_args

import torch
from torch import Tensor

from hamguard.attacks.guides.own import OwnCode
from hamguard.attacks.losses.inner import inner_product
from hamguard.attacks.problem import Problem
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import Linf, Threat
from hamguard.attacks.types import (
    Attacked,
    Carrier,
    G,
    Guide,
    GuideMaker,
    Images,
    LearningGuide,
    LearningSearch,
    Loss,
    Search,
    SearchProblem,
    Victim,
)
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import relax, sign
from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.core.types import Modality
from hamguard.models.foreign import check_face
from hamguard.models.reader import Reader


def clean_logits(model: Victim, x: Tensor) -> Tensor:
    """What a model says of pictures (or bags of words) to attack, `(B, K)` real numbers, after a check of both.

    Raises:
        RequestError: pictures of another shape or outside [0, 1], a model without `logits`, or one that does not return `(B, K)`.
    """
    check_pictures(x)
    check_face(model)
    with torch.no_grad():
        z = model.logits(x)
    if z.ndim != 2 or len(z) != len(x):
        raise RequestError(f"the attacked model must return ({len(x)}, K) numbers, got {tuple(z.shape)}")
    return z


def clean_code(model: Victim, x: Tensor) -> Tensor:
    """The own codes of pictures (or bags of words) to attack, `(B, K)` in {-1, +1}; errors as in `clean_logits`."""
    return sign(clean_logits(model, x))


def check_pictures(x: Tensor) -> None:
    """Check pictures `(B, C, H, W)`, or bags of words `(B, V)`, to attack.

    Raises:
        RequestError: another shape, whole numbers, or values outside [0, 1].
    """
    if x.ndim not in (2, 4):
        raise RequestError(f"pictures to attack must be (B, C, H, W) in [0, 1], got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise RequestError(f"pictures to attack must be real numbers in [0, 1], got {x.dtype}; divide pixels by 255")
    if not bool(((x >= 0) & (x <= 1)).all()):
        low, high = float(x.min()), float(x.max())
        hint = "; divide pixels by 255" if low >= 0 and high > 2 else ""
        raise RequestError(
            f"pictures to attack must be (B, C, H, W) in [0, 1], got {tuple(x.shape)} with values from {low:g} to {high:g}{hint}"
        )


def bags_of(model: Victim, texts: Sequence[str]) -> Tensor:
    """Bags of words of texts to attack, `(B, V)`.

    Raises:
        RequestError: the model takes pictures or bags, and no texts.
    """
    if not isinstance(model, Reader):
        raise RequestError(
            f"texts are read by the text side of a cross-modal model, `model.reader`; a {type(model).__name__} takes none"
        )
    return model.bag(texts)


def guide_for(loss: Loss, guide: Guide) -> Guide:
    """A guide as a loss takes it: a set of codes becomes its vote, unless the loss says by `takes_sets` that it scores sets."""
    return guide if isinstance(guide, Tensor) or getattr(loss, "takes_sets", False) else guide.vote


def outputs_for(loss: Loss, guide: GuideMaker[Any], logits: Tensor | None, relaxed: bool) -> Tensor | None:
    """Clean outputs at slope 1, `(B, K)`, for a loss that leaves them rather than their signs; None for any other.

    Args:
        loss: says by `takes_outputs` that it does.
        guide: only the own code has outputs; a code of another kind is one of signs.
        logits: what the model says of the clean pictures, `(B, K)`; None where nobody asked it.
        relaxed: whether the loss is given tanh codes.
    """
    if logits is None or not (getattr(loss, "takes_outputs", False) and isinstance(guide, OwnCode)):
        return None
    return relax(logits) if relaxed else logits


def with_direction(guide: GuideMaker[G], toward: bool) -> GuideMaker[G]:
    """A guide whose code depends on the direction (optimal), turned to it; any other as it is."""
    turn: Callable[[bool], GuideMaker[G]] | None = getattr(guide, "with_direction", None)
    return guide if turn is None else turn(toward)


def fitted_guide(guide: GuideMaker[G], bank: CodeBank | None, seed: int) -> GuideMaker[G]:
    """A guide that learns, trained on `bank`; any other as it is."""
    return guide.fit(bank, seed) if isinstance(guide, LearningGuide) else guide


def own_code() -> GuideMaker[Any]:
    """The guide of an attack that is given none; of any kind, because what follows it reads plain codes."""
    return OwnCode()


@dataclass(frozen=True)
class Attack(Generic[G]):
    """Four values.

    Attributes:
        guide: which code to approach or leave.
        loss: scores relaxed codes against the guide, one number an image.
        search: moves the pixels.
        threat: the allowed set.
        toward: approach the guide; else leave it.
        relaxation: `tanh` codes or raw logits (`none`) go into the loss.
        fidelity: weight of the distance to the clean picture.
        fidelity_norm: which distance, mean squared (`l2`) or mean absolute (`l1`) error.
        fidelity_growth: how much of `fidelity` is added to it with every step.
        rounding: return pictures on the 8-bit grid; bags of words have none, and tests of the search itself turn it off.
        modality: what it was made to move, `image` or `text`: pixels, or the values of bags of words.
        name: of the registered factory that made it, which rows call it by; empty where none did.
        preset: of that factory.
    """

    guide: GuideMaker[G] = field(default_factory=own_code)
    loss: Loss[Tensor] | Loss[G] = inner_product
    search: Search = field(default_factory=SignSteps)
    threat: Threat = field(default_factory=lambda: Linf(8 / 255))
    toward: bool = False
    relaxation: Literal["tanh", "none"] = "tanh"
    fidelity: float = 0.0
    fidelity_norm: Literal["l1", "l2"] = "l2"
    fidelity_growth: float = 0.0
    rounding: bool = True
    modality: Modality = field(default="image", repr=False)
    name: str = field(default="", repr=False, compare=False)
    preset: str = field(default="default", repr=False, compare=False)

    def __post_init__(self) -> None:
        check_choice("relaxation", self.relaxation, ("tanh", "none"))
        check_choice("modality", self.modality, get_args(Modality))
        object.__setattr__(self, "guide", with_direction(self.guide, self.toward))

    def __call__(
        self,
        model: Victim,
        x: Tensor | Sequence[str],
        labels: Tensor | None = None,
        bank: CodeBank | None = None,
        *,
        index: Sequence[int] | None = None,
        seed: int = 0,
        marks: Sequence[int] = (),
        watch: Callable[[int], None] | None = None,
    ) -> Attacked:
        """Attack a batch.

        Args:
            model: frozen, in evaluation mode.
            x: clean pictures, `(B, C, H, W)` in [0, 1]; bags of words, `(B, V)`; or B texts, where the model is a
                `Reader`, which makes their bags.
            labels: their labels (away) or target labels (toward), `(B, C)`.
            bank: reference codes of the training part.
            index: numbers of the pictures in the run; 0 to B - 1 where not given. With them the result of a picture
                does not depend on how batches are cut.
            seed: seed of everything that is drawn.
            marks: numbers of gradients after which `Attacked.kept` has what it was, where the search knows of them.
            watch: told after each gradient how many were taken of a picture.

        Raises:
            RequestError: pictures outside [0, 1], a guide without what it needs, or a model that does not return `(B, K)`.
            RunError: the gradient is not finite.
        """
        problem = self.problem(model, x, labels, bank, index=index, seed=seed, marks=marks, watch=watch)
        x_adv = self.solve(problem)
        kept = {
            count: Attacked(self.rounded(at, problem.x), problem.target, problem.spent_at[count])
            for count, at in problem.kept.items()
        }
        return Attacked(x_adv, problem.target, problem.spent, edited=problem.edited, kept=kept)

    @property
    def carrier(self) -> Carrier | None:
        """The search, where it carries more than steps on the pixels of each picture."""
        return self.search if isinstance(self.search, Carrier) else None

    @property
    def ball(self) -> Threat | None:
        """The allowed set as rows name it; None where the budget is soft."""
        return None if self.carrier is not None and self.carrier.soft else self.threat

    @property
    def learns(self) -> bool:
        """Whether it is fitted on training pictures before it attacks any: `prepared` with a model and images does it."""
        return isinstance(self.search, LearningSearch)

    def prepared(
        self,
        bank: CodeBank | None,
        seed: int = 0,
        *,
        model: Victim | None = None,
        images: Images | None = None,
        labels: Tensor | None = None,
        count: int | None = None,
    ) -> Attack[Any]:
        """The same attack made ready; `self` where there is nothing to learn.

        A guide that learns is trained on `bank`. An attack on many batches is prepared once; not prepared, such a guide is trained
        for every batch, with the same result where bank and seed are the same. A search that learns (one perturbation for all
        pictures) is fitted where a model and training pictures are given, and cannot attack before.

        Args:
            bank: reference codes of the training part.
            seed: seed of everything that is drawn.
            model: what a search is fitted on, frozen, in evaluation mode.
            images: training images, or a function from numbers to images.
            labels: away, the labels of all training pictures, `(n, C)`; toward, the one target label, `(1, C)` or n times.
            count: number of training pictures; needed only for a function without their labels.

        Raises:
            RequestError: the guide learns and the bank is missing or has no labels; or no pictures, their number is unknown or not
                that of the labels, several target labels, or pictures outside [0, 1].
            RunError: the gradient is not finite.
        """
        if self.carrier is not None and self.carrier.lacks and not self.learns:
            return self  # its guide comes with what it waits for
        guide = fitted_guide(self.guide, bank, seed)
        ready = self if guide is self.guide else replace(self, guide=guide)
        if model is None or images is None or not isinstance(self.search, LearningSearch):
            return ready
        return cast("Attack[Any]", self.search.fit(ready, model, images, labels, bank, seed, count))

    def problem(
        self,
        model: Victim,
        x: Tensor | Sequence[str],
        labels: Tensor | None = None,
        bank: CodeBank | None = None,
        *,
        index: Sequence[int] | None = None,
        seed: int = 0,
        marks: Sequence[int] = (),
        watch: Callable[[int], None] | None = None,
    ) -> Problem:
        """What the search is given: guides made, the own code's forward pass counted. Arguments and errors as in a call."""
        texts: tuple[str, ...] = ()
        if not isinstance(x, Tensor):
            texts, x = tuple(x), bags_of(model, x)
        carrier = self.carrier
        if carrier is None and isinstance(model, Reader) and model.encoder.name != "words":
            raise RequestError(
                f"this text side takes what {model.encoder.name} makes of texts, not bags of words, whose values could be moved; "
                "whole words can be edited: `side` words"
            )
        if carrier is not None:
            if carrier.lacks:
                raise RequestError(carrier.lacks)
            carrier.check(x, labels)
        numbers = range(len(x)) if index is None else index
        own = None if carrier is None else carrier.own_code(model, x)  # (B, K)
        z: Tensor | None = None
        if own is None:
            z = clean_logits(model, x)  # (B, K)
            own = sign(z)
        target = guide_for(self.loss, self.guide(own, labels, bank, numbers, seed))
        problem = Problem(
            model, x, target, 1 if self.toward else -1, self.loss, self.threat, numbers, seed,
            relaxed=self.relaxation == "tanh", fidelity=self.fidelity, fidelity_norm=self.fidelity_norm,
            fidelity_growth=self.fidelity_growth, marks=tuple(marks), own=own, labels=labels, texts=texts,
            outputs=outputs_for(self.loss, self.guide, z, self.relaxation == "tanh"), watch=watch,
        )  # fmt: skip
        problem.spent.forwards += 1  # the own code, or the pass of a generator
        return problem

    def solve(self, problem: SearchProblem) -> Tensor:
        """Search and round: attacked pictures inside the threat, `(B, C, H, W)`."""
        return self.rounded(self.search(problem).detach(), problem.x)

    def rounded(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Pictures as an 8-bit file holds them, still inside the threat; bags of words as they are."""
        return self.threat.on_grid(x_adv, x) if self.rounding else x_adv
