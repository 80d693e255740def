"""What images made on one model do to others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hamguard.api.arguments import checked
from hamguard.api.attack import Given, attack_specs
from hamguard.api.results import Rows
from hamguard.api.running import running
from hamguard.attacks.budget import Budget
from hamguard.attacks.generated import NoGenerator
from hamguard.core.context import Context
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.data.opened import Data
from hamguard.evaluation.attack.generators import with_generator
from hamguard.evaluation.attack.transfer import Maker, Transfer, measure_transfer
from hamguard.evaluation.ground import Loaded
from hamguard.evaluation.search.same_queries import listed_models, open_grounds
from hamguard.models.store import AnyModel
from hamguard.report.table import Table
from hamguard.report.transfer_table import draw_transfer, transfer_tables

__all__ = ["TransferRows", "transfer"]


class TransferRows(Rows):
    """Rows of transfer between models, with the matrices that they are of.

    Attributes:
        matrices: one an attack.
    """

    def __init__(self, matrices: Iterable[Transfer]) -> None:
        self.matrices = tuple(matrices)
        super().__init__(Rows(row for one in self.matrices for row in one.rows).once())  # attacks share clean and noise

    def _some(self, rows: Iterable[Row]) -> Rows:  # type: ignore[override]
        return Rows(rows)

    def tables(self) -> list[Table]:
        """What is left on each model of images made on each, and the scores."""
        return transfer_tables(self)

    def picture(self, path: Path | str) -> Path:
        """Draw the matrices as heat maps (.png, .svg, .pdf).

        Raises:
            RunError: the file cannot be written.
        """
        draw_transfer(self, Path(path))
        return Path(path)


@checked
def transfer(
    models: Sequence[str | Path | AnyModel] | Mapping[str, AnyModel],
    data: str | Data | None = None,
    attack: Given | Sequence[Given] = "mainstay",
    *,
    only_asked: Sequence[str | Path | AnyModel] | Mapping[str, AnyModel] = (),
    name: str | None = None,
    budget: Budget | None = None,
    targets: str | None = None,
    generators: Sequence[Path | str] = (),
    queries: int | None = None,
    protocol: str | None = None,
    root: Path | str | None = None,
    context: Context | None = None,
) -> TransferRows:
    """Make images once on every model and ask all of them: `hg.transfer(["models/a", "models/b"], attack="hag")`.

    Models may differ in bits, network and hash method; they must take the same query images at one size.

    Args:
        models: models that images are made on, and that are asked, as `hg.load` takes them, or models by the names that rows
            call them.
        data: what `hg.data` gave, or a source, for all; None for each model's own.
        attack: an attack made in Python, the name of a registered one, or several.
        only_asked: models that are only asked, e.g. without gradients; they get no score.
        name: what rows call an attack made in Python.
        budget: threat, steps and restarts of attacks that are named.
        targets: how an attack that approaches a code chooses target labels, as for `hg.attack`.
        generators: trained generators for prosgan, one for each of `models`.
        queries: only the first so many of the query split.
        protocol: named split of a source; None for each model's own.
        root: folder of the named data sets.
        context: device, seed, images attacked at once, how progress is shown, and whether to begin anew (`restart`).

    Returns:
        MAP (toward targets t-MAP) of every pair, and the transfer score: 0 where images do nothing, 1 where they do as much as
        those made on the asked model itself.

    Raises:
        RequestError: fewer than two models, models with other query images, data without labels, or an attack that cannot be
            carried out.
        RunError: NaN gradients, or a full disk.
        StoppedError: a person stopped it; finished models are not attacked again.
    """
    if len(models) + len(only_asked) < 2:
        given = ", ".join(str(one) for one in (*models, *only_asked) if isinstance(one, (str, Path)))
        raise RequestError(
            f"transfer needs two models or more, got {len(models) + len(only_asked)}: {given}".rstrip(": ")
        )
    specs = attack_specs(attack, name=name, budget=budget, targets=targets)
    for spec in specs:
        if spec.modality == "text":
            raise RequestError(f"{spec.name} moves texts; images alone are made on one model and asked of others")
        if isinstance(spec.attack.search, NoGenerator) and len(generators) != len(models):
            raise RequestError(
                f"{spec.name} needs one `generator` for each `model`, got {len(generators)} for {len(models)}"
            )
    everyone = [*listed_models(models), *listed_models(only_asked)]
    first = everyone[0]
    context = running(context, first.model if isinstance(first, Loaded) else first)
    grounds = open_grounds(everyone, data, protocol=protocol, root=root, queries=queries, context=context)
    found = []
    for spec in specs:
        own = [str(one) for one in generators] if isinstance(spec.attack.search, NoGenerator) else [None] * len(models)
        makers = [Maker(ground, with_generator(spec, folder)) for ground, folder in zip(grounds, own, strict=False)]
        found.append(measure_transfer(makers, grounds))
    return TransferRows(found)
