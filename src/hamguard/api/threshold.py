"""The radius that keeps false matches rare, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hamguard.api.arguments import checked
from hamguard.api.evaluate import USUAL_VIEWS
from hamguard.api.results import Rows
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.evaluation.search.held_codes import held_codes
from hamguard.evaluation.search.threshold import Allowed, RadiusFound, find_radius, views_moved
from hamguard.retrieval.false_matches import SAMPLE

if TYPE_CHECKING:  # codes alone are counted without loading a network
    from hamguard.codes.bank import CodeBank
    from hamguard.core.context import Context
    from hamguard.data.opened import Data
    from hamguard.models.store import AnyModel
    from hamguard.report.table import Table

__all__ = ["ThresholdRows", "threshold"]

QUERIES, ATTACKED, STEPS = 200, 8, 10
"""Images that are copied, images that are attacked, and gradients of each attack, by default."""


class ThresholdRows(Rows):
    """Rows of a radius: false matches, copies that it finds, budgets at which an attack crosses it.

    Attributes:
        found: what they are of.
    """

    def __init__(self, rows: Iterable[Row], found: RadiusFound) -> None:
        self.found = found
        super().__init__(rows)

    def _some(self, rows: Iterable[Row]) -> Rows:  # type: ignore[override]
        return Rows(rows)

    @property
    def radius(self) -> int | None:
        """The largest radius with no more than the allowed false matches; None where even equal codes are too many."""
        return self.found.radius

    @property
    def sentences(self) -> list[str]:
        """What came out, in plain sentences."""
        from hamguard.report.threshold_table import threshold_sentences

        return threshold_sentences(self, self.found.allowed.most, self.found.allowed.items)

    def tables(self) -> list[Table]:
        """A line a radius."""
        from hamguard.report.threshold_table import threshold_table

        named = self[0].model or self[0].dataset or "codes"
        title = f"{named}: {self.found.tail.bits} bits, {self.found.allowed.items:,} items"
        return [threshold_table(self, self.found.tail.fitted, title)]

    def draw(self, path: Path | str) -> Path:
        """Draw false matches, and copies found, over the radius (.png, .svg, .pdf).

        Raises:
            RequestError: the file type is unknown.
            RunError: the file cannot be written.
        """
        from hamguard.report.threshold_table import draw_threshold

        radii = np.array(self.found.told)
        ends = [end[radii] for end in self.found.tail.expected(self.found.allowed.items)]
        title = f"{self.found.tail.bits} bits, {self.found.allowed.items:,} items"
        found = views_moved(self.found, self.found.told)
        draw_threshold(path, radii, ends, found, self.radius, self.found.allowed.most, title)
        return Path(path)


@checked
def threshold(
    codes: CodeBank | Path | str,
    *,
    items: int,
    false_matches: float = 1.0,
    model: AnyModel | str | Path | None = None,
    data: Data | str | None = None,
    views: Sequence[str] = USUAL_VIEWS,
    queries: int = QUERIES,
    attacked: int = ATTACKED,
    steps: int = STEPS,
    sample: int = SAMPLE,
    root: Path | str | None = None,
    protocol: str | None = None,
    batch_size: int = 256,
    context: Context | None = None,
) -> ThresholdRows:
    """The largest Hamming radius at which a search is expected to find no more false matches than are allowed.

    Sampled codes are compared with each other; every pair is taken for one of different pictures, so leave copies out of the codes.
    The number of false matches within each radius is counted where the sample has pairs enough, else fitted to the tail of the
    distances, with a 95% interval; the radius keeps to the limit at its upper end. Codes that collapse are counted with all items
    that share them.

    Args:
        codes: a bank; a file of codes (.npz); or an index, a folder or an address.
        items: how many items will be searched.
        false_matches: how many of them may be found by chance, a search, expected number.
        model: where given, images are changed, encoded and attacked: how many copies each radius finds, and the eps at which PGD
            moves a picture's code beyond the radius.
        data: of the model; by default what it was trained on.
        views: the changes that copies are made by, as `verify` takes them.
        queries: the first so many of the query split are copied.
        attacked: the first so many are attacked; 0 for none.
        steps: gradients of each attack; a picture is attacked about nine times, at bisected budgets.
        sample: items that are drawn from the codes and compared with each other, at least 50.
        root: folder of the named data sets.
        protocol: named split of a source; by default the model's own.
        batch_size: images encoded at once.
        context: device, seed, how progress is shown.

    Raises:
        RequestError: no such codes, fewer than 50, numbers out of range, data without a model, or a model of another code length.
        StaleError: another model made the codes.
        RunError: a gradient of an attack is not finite.
    """
    check_range("items", items, 2)
    check_range("queries", queries, 1)
    check_range("attacked", attacked, 0)
    check_range("steps", steps, 1)
    if model is None and (data is not None or root is not None or protocol is not None):
        raise RequestError("data, their folder and protocol go with a model")
    bank, name, hashes, notes = held_codes(codes)
    facts = Row(model=name, hashes=hashes, notes=notes)
    seed = context.seed if context else 0
    found = find_radius(bank, Allowed(items, false_matches), sample=sample, seed=seed, facts=facts)
    if model is not None:
        found = _with_cost(
            found, bank, model, data, views, (queries, attacked, steps), root, protocol, batch_size, context
        )
    return ThresholdRows(found.rows, found)


def _with_cost(
    found: RadiusFound,
    bank: CodeBank,
    model: AnyModel | str | Path,
    data: Data | str | None,
    views: Sequence[str],
    counts: tuple[int, int, int],
    root: Path | str | None,
    protocol: str | None,
    batch_size: int,
    context: Context | None,
) -> RadiusFound:
    """What was found, with copies that each radius finds and the budgets at which an attack crosses the radius."""
    from hamguard.api.running import running
    from hamguard.evaluation.ground import Ground, Loaded
    from hamguard.evaluation.model_data import open_for_model
    from hamguard.evaluation.search.copies import search_views
    from hamguard.evaluation.search.threshold_cost import check_maker, with_attack, with_copies

    queries, attacked, steps = counts
    context = running(context, model)
    loaded = Loaded.open(model, device=context.device)
    check_maker(bank, loaded.model.digest)
    if data is None or isinstance(data, str):
        data = open_for_model(loaded.card, loaded.model, data, root=root, protocol=protocol, context=context)
    copies = search_views(loaded, data, views, queries=queries, context=context.but(batch_size=batch_size))
    found = with_copies(found, copies, seed=context.seed)
    if attacked and found.radius is not None and found.radius < bank.bits:
        asked = copies.bank.select(copies.rows[:attacked])
        ground = Ground(loaded.name, loaded.model, loaded.card, data, asked, copies.bank, context)
        with context.stage(f"attacking {len(asked)} pictures"):
            found = with_attack(found, ground, steps)
    return found
