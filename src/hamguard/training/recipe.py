"""The training recipe: everything that the loop itself needs to know, with the reason for each default."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from hamguard.core.asked import Grown
from hamguard.training.schedules import factor


class Recipe(Grown):
    """How a run is trained. Frozen; unknown keys are errors."""

    later: ClassVar[tuple[str, ...]] = ("freeze", "finetune", "thaw")

    epochs: int = Field(20, ge=1, description="passes over the training set (or over the method's own subset)")
    batch_size: int | None = Field(
        None, ge=2, description="pictures a step over all processes; 128 where not given, down to 32 on small sets"
    )
    lr: float = Field(1e-3, gt=0, description="peak learning rate of the backbone")
    head_lr_factor: float = Field(
        1.0, gt=0, description="learning rate of the hash head divided by that of the backbone"
    )
    optimizer: Literal["adam", "sgd", "rmsprop"] = Field("adam", description="update rule")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd")
    nesterov: bool = Field(False, description="Nesterov's form of the momentum")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty")
    schedule: Literal["cosine", "one-cycle", "step", "late-step", "constant", "half-linear", "linear"] = Field(
        "cosine", description="learning rate over the run"
    )
    clip_norm: float = Field(0.0, ge=0, description="largest gradient norm; 0 clips nothing")
    augment: Literal[
        "none", "flip", "shift", "shift-flip", "crop", "crop-flip", "crop-color", "crop-flip-color", "drop"
    ] = Field("none", description="random views of training pictures; drop: of features that are kept (with freeze)")
    patience: int = Field(
        0, ge=0, description="stop after this many validations without a better MAP; 0 never stops early"
    )
    selection: str = Field("validation", description="split part that early stopping looks at; a query part is refused")
    validate_every: int = Field(1, ge=1, description="epochs between validations (with patience or --validate)")
    checkpoint_seconds: float = Field(60.0, ge=0, description="seconds between checkpoints inside an epoch")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="mixed precision of the forward pass")
    freeze: bool = Field(
        False, description="the backbone stays as it is and the head alone learns, on features that are kept"
    )
    finetune: int = Field(
        0, ge=0, description="epochs of all weights after those of the head (with freeze); batch norms stay at rest"
    )
    thaw: float = Field(
        1.0, gt=0, le=1, description="share of the backbone's weights that finetune, counted from its last layer back"
    )

    @property
    def passes(self) -> int:
        """All epochs: those of the head alone, or of all weights from the start, and those of all weights after it."""
        return self.epochs + self.finetune

    def rate(self, done: float) -> float:
        """Learning rate divided by its peak after `done` epochs; the schedule begins again where a backbone begins to learn.

        >>> recipe = Recipe(epochs=2, schedule="linear", freeze=True, finetune=4)
        >>> recipe.rate(0), recipe.rate(1), recipe.rate(2), recipe.rate(5)
        (1.0, 0.5, 1.0, 0.25)
        """
        if done < self.epochs:
            return factor(self.schedule, done / self.epochs)
        return factor(self.schedule, (done - self.epochs) / self.finetune)

    def batch_of(self, items: int) -> int:
        """Pictures a step on a training set of `items`.

        Where the recipe does not say it: 128, halved down to 32 until an epoch has 40 steps, because a network
        that starts from nothing needs updates more than it needs wide batches.

        >>> Recipe().batch_of(10_000), Recipe().batch_of(1_500), Recipe(batch_size=100).batch_of(1_500)
        (128, 32, 100)
        """
        if self.batch_size is not None:
            return self.batch_size
        size = 128
        while size > 32 and items // size < 40:
            size //= 2
        return size
