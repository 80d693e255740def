"""What a defense is worth."""

from __future__ import annotations

from pathlib import Path

from hamguard.api.running import running
from hamguard.attacks.budget import Budget
from hamguard.core.context import Context
from hamguard.data.opened import Data
from hamguard.evaluation.audit.plan import BUDGET
from hamguard.evaluation.audit.sanity import SAMPLE, Sane, run_sanity
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.models.store import AnyModel
from hamguard.models.trial import notes_of

__all__ = ["sanity"]


def sanity(
    model: str | Path | AnyModel,
    data: str | Data | None = None,
    budget: Budget = BUDGET,
    *,
    start: str | Path | AnyModel | None = None,
    sample: int = SAMPLE,
    protocol: str | None = None,
    root: Path | None = None,
    context: Context | None = None,
) -> Sane:
    """Whether a defense is robust, or only fools the attack that it is quoted with.

    Seven checks: more budget and more gradients do more harm, images of another model and an attacker who sees answers only do
    less, flatter relaxations do no more, targets are reached, noise does nothing.

    Args:
        model: the defended model, as `hg.load` takes it.
        data: what `hg.data` gave, or a source; None for what the model was trained on.
        budget: the threat; `steps`, gradients of the attack, 30 where it does not say; `queries`, images that the query-only
            attack asks the search for each query, 100 where it does not say.
        start: the model before the defense; without, a substitute is trained that imitates the codes.
        sample: queries to look at, the first of the split, at least 2.
        protocol: named split of a source; None for the model's own.
        root: folder of the named data sets.
        context: device, seed, batch size, how progress is shown.

    Returns:
        The checks, their rows, and the names of those that failed.

    Raises:
        RequestError: no labels, or a model without a gradient.
        RunError: NaN gradients, or a full disk.
        StoppedError: a person stopped it; finished batches stay.
    """
    context = running(context, model)
    before = None if start is None else Loaded.open(start, device=context.device).model
    ground = Ground.open(model, data, protocol=protocol, root=root, queries=sample, context=context)
    found = run_sanity(ground, budget, sample=sample, start=before)
    for note in notes_of(ground.model):
        context.tell(f"Note: {note}")
    return found
