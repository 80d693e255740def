"""Cells of a protection: four searches of everybody who trains on what was protected, and on what was not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hamguard.core.context import Context
from hamguard.core.rows import Row
from hamguard.evaluation.protection.four_searches import Party, Sides, cell_digest, needed, run_cell
from hamguard.evaluation.protection.protections import protected_pictures
from hamguard.evaluation.study.cells import Cells


@dataclass
class Searches:
    """A protection and who searches, cell by cell; images are protected when the first cell needs them.

    Attributes:
        name: what people call the protection on its data.
        cells: finished pieces.
        bare: the data; its protected images are ignored.
        models: folder of the parties' models.
        context: device, seed of the bootstrap, and how progress is shown.
        keep: folder that keeps what a slow protection made.
        keep_models: keep models that learned from protected images, too.
    """

    name: str
    cells: Cells
    bare: Sides
    models: Path
    context: Context
    keep: Path | None = None
    keep_models: bool = False
    _made: list[Sides] = field(default_factory=list, init=False, repr=False)

    def sides(self) -> Sides:
        """The data, clean and protected."""
        if not self._made:
            bare = self.bare
            rows = needed(bare.split, bare.queries)
            images = protected_pictures(bare.clean.images, rows, bare.protection, keep=self.keep, context=self.context)
            self._made.append(replace(bare, protected=images))
        return self._made[0]

    def title(self, party: Party, parties: Sequence[Party]) -> str:
        """What people call the cell of a party; networks are named where parties have several."""
        model = party.request.network
        several = len({one.request.network.backbone for one in parties}) > 1
        net = f"{model.backbone or 'default'}-" if several else ""
        return f"{self.name}-{party.request.method}-{net}{model.bits}-{party.trained_on}".replace(" ", "-")

    def rows(self, party: Party, parties: Sequence[Party]) -> list[Row]:
        """Rows of the four searches of a party, `parties` being all of them.

        Raises:
            RequestError: something does not fit together.
            RunError: the loss became NaN, or the disk is full.
            CollapseError: the codes became constant.
        """

        def work() -> list[Row]:
            return run_cell(self.sides(), party, self.models, context=self.context, keep_models=self.keep_models)

        return self.cells.rows(self.title(party, parties), [cell_digest(self.bare, party), self.context.seed], work)
