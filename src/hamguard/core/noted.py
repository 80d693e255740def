"""Facts that rows keep among their notes. Who writes such a note and who reads it both ask here; nobody else matches words."""

from __future__ import annotations

from collections.abc import Iterable

from hamguard.core.rows import Row

TRADEOFF = "trade-off over the weight of the intra term"
"""Of a cross-modal study: not of its main tables."""
PAIRED = "difference of the means over the same queries, interval of the paired bootstrap"
"""Of a comparison query by query."""
SOFT_NOISE = "noise: uniform with the RMSE of the attacked pictures, because their budget is soft"
"""Of noise beside an attack without a ball: its radius is measured, and another with every model."""
_EQUAL = " is where this attack moves "
_MATCHER, _AUDIT, _MODELS, _VERDICT = "matcher: ", "audit: ", "spearman-models: ", "This search"


def equal_rmse_note(eps: float, reached: float, wanted: float, count: int) -> str:
    """How the radius of an attack was found that moves images as far as a generator does, on `count` training images."""
    return f"eps {eps:.4f}{_EQUAL}{count} training pictures by an RMSE of {reached:.4f}, as the generator does ({wanted:.4f})"


def has_measured_radius(row: Row) -> bool:
    """Whether the radius of a row was measured on its model, so that it is another one with every seed."""
    return any(note == SOFT_NOISE or _EQUAL in note for note in row.notes)


def is_tradeoff(row: Row) -> bool:
    """Whether a row belongs to the trade-off of a cross-modal study."""
    return TRADEOFF in row.notes


def matcher_note(seen: str) -> str:
    """Whether the protector of some files has seen the matcher that searches them."""
    return f"{_MATCHER}{seen}"


def matcher_seen(row: Row) -> str | None:
    """What `matcher_note` said; None where the row is of no matcher."""
    return next((note.removeprefix(_MATCHER) for note in row.notes if note.startswith(_MATCHER)), None)


def audit_note(words: str) -> str:
    """Budget of the audit that a measure is ranked against."""
    return f"{_AUDIT}{words}"


def models_note(count: int) -> str:
    """How many models a rank correlation is over."""
    return f"{_MODELS}{count} models; few models say little"


def rank_notes(rows: Iterable[Row]) -> list[str]:
    """Notes of rank correlations that are about the ranks themselves."""
    return [note for row in rows for note in row.notes if note.startswith((_AUDIT, _MODELS))]


def verdict_of(row: Row) -> str:
    """The first words of an audit's verdict; nothing where the row has none."""
    return next((note.partition(":")[0] for note in row.notes if note.startswith(_VERDICT)), "")


def seen_by_check(row: Row) -> str:
    """What a self-check saw, in a sentence; nothing where the row does not say."""
    return next((note for note in reversed(row.notes) if " " in note or ":" in note), "")


def general_notes(rows: Iterable[Row]) -> list[str]:
    """Notes that a reader must know, each once, without those that only say what kind of row one is."""
    return list(dict.fromkeys(note for row in rows for note in row.notes if note not in (TRADEOFF, PAIRED)))
