"""Proof of effect of protected pictures: what the files do to searches that the protector never saw."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamguard.api.arguments import checked
from hamguard.api.results import Rows
from hamguard.api.running import running
from hamguard.core.context import counted
from hamguard.core.errors import RequestError
from hamguard.core.html import lines_html

if TYPE_CHECKING:
    from hamguard.core.context import Context
    from hamguard.models.store import AnyModel
    from hamguard.privacy.effect import Matcher, Measured
    from hamguard.privacy.effect_summary import CopyLine
    from hamguard.privacy.pairs import Protection
    from hamguard.report.table import Table

__all__ = ["Verified", "verify"]

VIEWS = ("jpeg:85", "jpeg:75", "resize:0.5")
"""What happens to a protected file afterwards, where nothing else is asked for."""
LIMIT = "It does not protect against other matchers, people who look, or a party that trains on protected pictures."


@dataclass(frozen=True)
class Verified:
    """What was measured on protected files.

    Attributes:
        subject: what was compared with what.
        rows: figures over all files, of every matcher and every view.
        words: what came out, in sentences.
        problems: files that could not be compared.
        notes: what a reader must know of the files.
        model_notes: what a reader must know of the matchers.
        tables: a table a matcher.
        overview: all matchers in one table; None where there are few.
        folder: where report.html, effect.jsonl and summary.json lie.
        measured: the figures of every file.
        top: a picture is lost that is not among so many.
        seed: of noise.
    """

    subject: str
    rows: Rows
    words: tuple[str, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    model_notes: tuple[str, ...]
    tables: tuple[Table, ...] = field(repr=False)
    folder: Path
    measured: Measured = field(repr=False)
    top: int = 10
    seed: int = 0
    overview: Table | None = field(default=None, repr=False)

    @property
    def page(self) -> Path:
        """The page with a card for each of the worst and of some other pictures."""
        return self.folder / "report.html"

    @property
    def shown(self) -> tuple[Table, ...]:
        """The tables that are worth a look first: the one of all matchers, or those of a few."""
        return self.tables if self.overview is None else (self.overview,)

    def sheet(self, path: Path | str, shown: int = 4) -> Path:
        """Draw originals, protected and noisy copies and the differences, by the first matcher; the last line is the worst.

        Raises:
            RunError: the file cannot be written.
        """
        from hamguard.api.sheets import draw_effect

        draw_effect(Path(path), self.measured, self.top, self.seed, shown)
        return Path(path)

    def __repr__(self) -> str:
        return "\n".join([f"Verified({self.subject}; {len(self.rows)} rows)", *self.words])

    def _repr_html_(self) -> str:
        from hamguard.report.table import as_html

        lines = [*self.words, *(f"Note: {note}" for note in self.notes), LIMIT, *self.problems]
        return "".join([lines_html([self.subject]), *map(as_html, self.shown), lines_html(lines)])


@checked
def verify(
    source: Path | str,
    protected: Path | str,
    *,
    matchers: Sequence[str | Path | AnyModel] = (),
    views: Sequence[str] | None = None,
    top: int = 10,
    noise: bool = True,
    cards: int = 24,
    out: Path | str | None = None,
    name: str | None = None,
    context: Context | None = None,
) -> Verified:
    """Measure what protected copies do to other people's image search, on the files as they are.

    Every file gets a card: bits moved, the rank of the original when the protected file is searched with and the reverse, how the
    copy looks, and what is left of it all after JPEG and resizing. Noise of the same size stands beside it. The database is all of
    `source`; searches of the panel (`hg.panel()`) hold thousands of other photos, too. Writes effect.jsonl (one object a file),
    summary.json and report.html.

    Args:
        source: folder of original pictures, or one picture.
        protected: their protected copies: a folder, or one file.
        matchers: searches to try, models or whatever names one, at least one that the protector never saw; by default those of
            the panel that are on this machine.
        views: what happens to a protected file afterwards: `jpeg:Q`, `webp:Q`, `resize:SIDE` or `resize:0.5`, `crop:SIDE` or
            `crop:0.9`, `thumbnail:SIDE`, `screenshot:0.75`, `blur:R`, `median:N`, `bits:N`, `contrast:0.8`, `color:0.7`,
            `brightness:1.1`; by default jpeg:85, jpeg:75 and resize:0.5.
        top: a picture is lost that is not among so many.
        noise: measure noise of the same size, too.
        cards: most pictures on the page.
        out: folder to write to; by default the name of `protected` and `-verify`, beside it.
        name: what rows call the originals; by default the name of `source`.
        context: device and seed.

    Raises:
        RequestError: no pairs of files, twice the same matcher, an unknown view, or a place that cannot be written.
        RunError: the folder cannot be written.
    """
    from hamguard.api.verify_page import searches_overview
    from hamguard.models.trial import notes_of
    from hamguard.privacy.effect import measure_effect
    from hamguard.privacy.effect_summary import effect_rows, plain_words, summary_lines
    from hamguard.privacy.pairs import find_pairs, read_protection

    source, protected = Path(source), Path(protected)
    views = VIEWS if views is None else views
    _check_words(views, matchers)
    pairing, protection = find_pairs(source, protected), read_protection(protected)
    beside = protected.stem if protected.is_file() else protected.resolve().name
    folder = Path(out) if out is not None else protected.parent / f"{beside}-verify"
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file; a folder is needed to write to")
    context = running(context)
    seed = context.seed
    tried = [_matcher(one, protection, context) for one in matchers] or _of_panel(protection, context)
    with context.stage("verifying") as progress:
        measured = measure_effect(
            pairing,
            tried,
            views=list(views),
            noise=noise,
            seed=seed,
            device=context.device,
            progress=counted(progress),
        )
    lines = summary_lines(measured, top, seed)
    rows = Rows(effect_rows(measured, lines, protection, dataset=name or source.name, top=top, seed=seed))
    told = plain_words(measured, lines, protection, top=top, seed=seed)
    subject = f"{source} against {protected}"
    _write(folder, measured, protection, lines, rows, told, subject=subject, top=top, cards=cards, seed=seed)
    notes = tuple(dict.fromkeys(note for matcher in tried for note in notes_of(matcher.model)))
    if not matchers:
        notes += _missing()
    said = (tuple(told), tuple(measured.problems), tuple(measured.notes), notes, _tables(measured, lines, top))
    return Verified(subject, rows, *said, folder, measured, top, seed, searches_overview(measured, lines, top, seed))


def _check_words(views: Sequence[str], matchers: Sequence[object]) -> None:
    """A wrong word costs no work."""
    from hamguard.images.named_views import parse_view

    for word in views:
        parse_view(word)
    named = [one for one in matchers if isinstance(one, (str, Path))]
    if twice := [str(name) for number, name in enumerate(named) if name in named[:number]]:
        raise RequestError(f"matcher {twice[0]} is named twice")


def _matcher(model: Any, protection: Protection, context: Context) -> Matcher:
    from hamguard.models.foreign import check_face
    from hamguard.models.hash_model import check_images
    from hamguard.models.panel import reference_codes
    from hamguard.models.shipped import is_panel
    from hamguard.models.store import called, load_any
    from hamguard.privacy.effect import Matcher

    if isinstance(model, (str, Path)):
        name = str(model)
        loaded, card = load_any(model, context.device)
    else:
        check_face(model)
        name, loaded, card = called(model), model, getattr(model, "card", None)
    check_images(loaded)
    seen = protection.saw(loaded.digest, card.backbone if card else "")
    return Matcher(name, loaded, card, seen, reference_codes(name) if is_panel(name) else None)


def _of_panel(protection: Protection, context: Context) -> list[Matcher]:
    """All matchers of the panel that are on this machine."""
    from hamguard.privacy.panel_check import choose_panel, open_panel

    entries = [entry for entry, _ in choose_panel(protection.saw).usable]
    if not entries:
        raise RequestError(
            "no search of the panel can be used here (hamguard panel says what to install); give a matcher"
        )
    return open_panel(entries, protection.saw, context.device)


def _missing() -> tuple[str, ...]:
    """A note where searches of the panel are not here."""
    from hamguard.models.panel import read_panel

    lost = [one.name for one in read_panel() if one.missing]
    return (
        (f"not tried, because they are not here: {', '.join(lost)} (hamguard panel says what to install)",)
        if lost
        else ()
    )


def _tables(measured: Measured, lines: list[list[CopyLine]], top: int) -> tuple[Table, ...]:
    from hamguard.api.verify_page import matcher_table

    return tuple(
        replace(matcher_table(measured, number, lines[number], top), title=matcher.name)
        for number, matcher in enumerate(measured.matchers)
    )


def _write(
    folder: Path,
    measured: Measured,
    protection: Protection,
    lines: list[list[CopyLine]],
    rows: Rows,
    told: list[str],
    *,
    subject: str,
    top: int,
    cards: int,
    seed: int,
) -> None:
    """Write effect.jsonl, summary.json and report.html.

    Raises:
        RunError: the folder cannot be written.
    """
    from hamguard.api.verify_page import effect_page
    from hamguard.core.files import write_json, write_text
    from hamguard.privacy.effect_summary import LIMITS, file_objects
    from hamguard.report.citing import bibtex_for, used_names
    from hamguard.report.effect_page import write_effect_page

    objects = file_objects(measured, top)
    write_text(
        folder / "effect.jsonl", "".join(json.dumps(one, ensure_ascii=False, allow_nan=False) + "\n" for one in objects)
    )
    summary: dict[str, Any] = {
        "words": told,
        "limits": list(LIMITS),
        "protect": protection.settings or None,
        "problems": measured.problems,
        "notes": measured.notes,
        "rows": [asdict(row) for row in rows],
    }
    write_json(folder / "summary.json", summary)
    page = effect_page(measured, protection, lines, told, objects, subject=subject, top=top, cards=cards, seed=seed)
    write_effect_page(replace(page, bibtex=bibtex_for(used_names(rows))), folder / "report.html")
