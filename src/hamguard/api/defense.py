"""What a defense is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from hamguard.api.arguments import checked
from hamguard.api.budget import CHECKED, usual_queries
from hamguard.api.results import Rows
from hamguard.api.running import running
from hamguard.attacks.budget import BUDGET, Budget
from hamguard.core.checks import check_range
from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.core.html import lines_html
from hamguard.core.rows import write_rows
from hamguard.data.opened import Data
from hamguard.defenses.detect import check_rate
from hamguard.defenses.purify import DRAWS, Chain, parse_purifier
from hamguard.evaluation.audit.plan import SAMPLE
from hamguard.evaluation.audit.sanity import Sane, run_sanity
from hamguard.evaluation.defense.detection import (
    NEIGHBORS,
    RATE,
    WEIGHTS,
    Detection,
    check_validation,
    measure_detection,
)
from hamguard.evaluation.defense.purification import Purification, measure_purifiers
from hamguard.evaluation.ground import Ground, Loaded
from hamguard.evaluation.model_data import open_for_model
from hamguard.models.store import AnyModel
from hamguard.models.trial import notes_of
from hamguard.report.audit_table import sanity_lines
from hamguard.report.detection import draw_detection
from hamguard.report.detection_table import alarm_words, detection_table
from hamguard.report.purification_table import purification_table
from hamguard.report.table import Table, as_html

PURIFIERS = ("jpeg:75", "resize:0.5", "bits:4")
"""Purifiers that are measured where none is named."""

__all__ = ["DetectionResult", "PurificationResult", "SanityResult", "detect", "purify", "sanity"]


@dataclass(frozen=True)
class SanityResult(Sane):
    """Checks of a defense."""

    rows: Rows

    @property
    def lines(self) -> list[str]:
        """A line a check, and whether the defense may be quoted."""
        return sanity_lines(self.rows)

    def __repr__(self) -> str:
        passed = sum(bool(one.passed) for one in self.checks)
        return f"SanityResult({passed} of {len(self.checks)} checks passed; {len(self.rows)} rows)"

    def _repr_html_(self) -> str:
        return lines_html(self.lines)


@dataclass(frozen=True)
class DetectionResult(Detection):
    """A detector and what is left of it under attack."""

    rows: Rows

    def table(self) -> Table:
        """Clean images, the attack that does not know the detector, those that do, and the worst of all."""
        return detection_table(self.rows)

    @property
    def alarms(self) -> str:
        """False alarms on clean queries, and what the detector was calibrated for."""
        return alarm_words(self.rows)

    def draw(self, path: Path | str, title: str = "") -> None:
        """Draw scores of clean queries, of the unaware attack, and of the worst of all aware ones.

        Args:
            path: `.png`, `.svg` or `.pdf` to write.
            title: line above; the model where not given.

        Raises:
            RunError: it cannot be written.
        """
        shown = (self.judged[0], self.judged[1], self.judged[-1])
        names = (
            "clean queries",
            f"{shown[1].name}, does not know the detector",
            "knows the detector, the worst of all",
        )
        groups = [(name, one.score, float(one.alarms.mean())) for name, one in zip(names, shown, strict=True)]
        count = self.detector.clean.shape[1]
        draw_detection(groups, self.detector.threshold, count, Path(path), title=title or str(self.rows[0].model))

    def __repr__(self) -> str:
        return f"DetectionResult({self.rows[0].model}; {len(self.rows)} rows): {self.alarms}"

    def _repr_html_(self) -> str:
        return lines_html([self.alarms]) + as_html(self.table())


@dataclass(frozen=True)
class PurificationResult(Purification):
    """A model without and with each purifier."""

    @property
    def rows(self) -> Rows:
        """All rows; what purifiers share stands once."""
        return Rows(super().rows)

    def table(self) -> Table:
        """The plain model, then each purifier; the worse of both attacks is the claim."""
        return purification_table(self.rows)

    def __repr__(self) -> str:
        names = ", ".join(one.purifier or "none" for one in self.lines)
        return f"PurificationResult({self.rows[0].model}: {names}; {len(self.rows)} rows)"

    def _repr_html_(self) -> str:
        return as_html(self.table())


@checked
def sanity(
    model: str | Path | AnyModel,
    data: str | Data | None = None,
    budget: Budget = BUDGET,
    *,
    start: str | Path | AnyModel | None = None,
    sample: int | None = None,
    protocol: str | None = None,
    root: Path | str | None = None,
    context: Context | None = None,
) -> SanityResult:
    """Whether a defense is robust, or only fools the attack that it is quoted with.

    Seven checks: more budget and more gradients do more harm, images of another model and an attacker who sees answers only do
    less, flatter relaxations do no more, targets are reached, noise does nothing.

    Args:
        model: the defended model, as `hg.load` takes it.
        data: what `hg.data` gave, or a source; None for what the model was trained on.
        budget: the threat; `steps`, gradients of the attack, 30 where it does not say; `queries`, images that the query-only
            attack asks the search for each query, 100 where it does not say.
        start: the model before the defense; without, a substitute is trained that imitates the codes.
        sample: queries to look at, the first of the split, at least 2; 64, or 16 of photos (96 pixels and more), where nobody says.
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
    loaded = Loaded.open(model, device=context.device)
    if not isinstance(data, Data):
        data = open_for_model(loaded.card, loaded.model, data, root=root, protocol=protocol, context=context)
    sample = usual_queries(sample, data, CHECKED, context, name="sample")
    sample = SAMPLE if sample is None else sample
    ground = Ground.open(loaded, data, queries=sample, context=context)
    found = run_sanity(ground, budget, sample=sample, start=before)
    for note in notes_of(ground.model):
        context.tell(f"Note: {note}")
    return SanityResult(found.checks, Rows(found.rows))


@checked
def detect(
    model: str | Path | AnyModel,
    data: str | Data | None = None,
    budget: Budget = BUDGET,
    *,
    false_alarms: float = RATE,
    neighbors: int = NEIGHBORS,
    weights: Sequence[float] = WEIGHTS,
    queries: int | None = None,
    protocol: str | None = None,
    root: Path | str | None = None,
    out: Path | str | None = None,
    context: Context | None = None,
) -> DetectionResult:
    """A detector of attacked queries, calibrated on clean validation images, and what is left of it under attack.

    One attack does not know the detector, the others do: they keep inside its bounds.

    Args:
        model: a trained, loaded or wrapped model, or whatever `hg.load` takes.
        data: what `hg.data` gave, or a source; None for what the model was trained on.
        budget: the threat; `steps`, gradients of each attack, 30 where it does not say.
        false_alarms: share of clean validation images that may raise the alarm, in (0, 1).
        neighbors: nearest training codes that are looked at, at least 2.
        weights: weights of the detector's criteria in the attacks that know it.
        queries: only the first so many of the query split.
        protocol: named split of a source; None for the model's own.
        root: folder of the named data sets.
        out: folder for `detector.json`, `rows.jsonl` and `detector.png`.
        context: device, seed, batch size, how progress is shown.

    Returns:
        The detector, its rows, and the verdict on every image.

    Raises:
        RequestError: no or too few validation images, a rate or number of neighbors out of range, or an `out` that is a file.
        RunError: NaN outputs or gradients, or a full disk.
        StoppedError: a person stopped it; finished batches stay.
    """
    if out is not None and Path(out).exists() and not Path(out).is_dir():
        raise RequestError(f"{out} is a file; `out` must be a folder")
    check_rate(false_alarms)
    check_range("neighbors", neighbors, 2)
    context = running(context, model)
    loaded = Loaded.open(model, device=context.device)
    if not isinstance(data, Data):
        data = open_for_model(loaded.card, loaded.model, data, root=root, protocol=protocol, context=context)
    check_validation(data.split, false_alarms, queries)  # before anything is encoded
    ground = Ground.open(loaded, data, queries=queries, context=context)
    found = measure_detection(ground, budget, rate=false_alarms, neighbors=neighbors, weights=weights)
    result = DetectionResult(
        **{one.name: getattr(found, one.name) for one in fields(found)} | {"rows": Rows(found.rows)}
    )
    if out is not None:
        found.detector.save(Path(out) / "detector.json")
        write_rows(Path(out) / "rows.jsonl", found.rows)
        result.draw(Path(out) / "detector.png")
    return result


@checked
def purify(
    model: str | Path | AnyModel,
    data: str | Data | None = None,
    purifiers: Sequence[str | Chain] = PURIFIERS,
    budget: Budget = BUDGET,
    *,
    draws: int = DRAWS,
    queries: int | None = None,
    protocol: str | None = None,
    root: Path | str | None = None,
    context: Context | None = None,
) -> PurificationResult:
    """What purifiers before a model are worth: queries and database purified, and each purifier attacked twice.

    Once by images that were made on the plain model, and once through the purifier by an attacker who knows it. Only the second
    says anything about security; what is claimed is the worse of the two for every query.

    Args:
        model: a trained, loaded or wrapped model, or whatever `hg.load` takes.
        data: what `hg.data` gave, or a source; None for what the model was trained on.
        purifiers: `jpeg:QUALITY`, `resize:FACTOR`, `bits:DEPTH`, `comdefend:FOLDER`, joined with `+`.
        budget: the threat; `steps`, gradients of each attack, 30 where it does not say.
        draws: draws of a random purifier that each gradient is averaged over.
        queries: only the first so many of the query split.
        protocol: named split of a source; None for the model's own.
        root: folder of the named data sets.
        context: device, seed, batch size, how progress is shown.

    Returns:
        A line for the plain model and one for each purifier, and all rows.

    Raises:
        RequestError: an unknown purifier, one named twice, or one that does not fit the model.
        RunError: NaN gradients, or a full disk.
        StoppedError: a person stopped it; finished batches stay.
    """
    chains = [parse_purifier(one) if isinstance(one, str) else one for one in purifiers]
    context = running(context, model)
    ground = Ground.open(model, data, protocol=protocol, root=root, queries=queries, context=context)
    found = measure_purifiers(ground, chains, budget, draws=draws)
    return PurificationResult(found.budget, found.lines)
