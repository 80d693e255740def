"""Sheets of images: an attack with its answers, a protection, changed copies and what they found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hamguard.core.types import Array, Bytes
    from hamguard.evaluation.attack.measure import Measured
    from hamguard.evaluation.ground import Ground
    from hamguard.evaluation.measures.registry import Picture
    from hamguard.evaluation.protection.four_searches import Sides
    from hamguard.evaluation.search.copies import CopySearches
    from hamguard.privacy.effect import Measured as Effect

SHOWN, ANSWERS = 4, 10
COPIES = 3  # changed copies a view on their sheet, the last of them the hardest


def draw_attack(path: Path, ground: Ground, found: Measured, shown: int = SHOWN, most: int | None = None) -> None:
    """Two lines a query, before and after the attack; the last query is the one that resisted most.

    Args:
        path: file to draw.
        ground: the model on its data.
        found: the attack.
        shown: number of queries.
        most: answers of each, ten where nothing is said.
    """
    if found.spec.across:
        return draw_pairs(path, ground, found, shown)
    import numpy as np

    from hamguard.codes.binary import hamming
    from hamguard.core.rows import eps_text
    from hamguard.evaluation.originals import places_of, scores
    from hamguard.evaluation.search.answers import sheet_entry
    from hamguard.report.sheets import SheetItem, SheetRow, draw_sheet

    from dataclasses import replace  # isort: skip

    dataset, targets, most = ground.dataset, found.targets, most or ANSWERS
    attacked = found.sides.attacked
    asked = attacked if targets is None else replace(attacked, labels=targets.labels)
    count = min(shown, len(attacked))
    chosen = list(range(count))
    if ground.database.labels.any() or places_of(asked, ground.database) is not None:
        values = scores(asked, ground.database)
        hardest = int(values.argmax() if targets is None else values.argmin())
        chosen = [*[i for i in chosen if i != hardest][: max(0, count - 1)], hardest]
    clean = dataset.images.pixels(ground.rows[chosen])
    place = {str(item): row for row, item in enumerate(dataset.ids)}
    lines = []
    for number, query in enumerate(chosen):
        row = int(ground.rows[query])
        wanted = "" if targets is None else " -> " + _words(dataset.class_names, targets.labels[query])
        resisted = " (resists most)" if number == len(chosen) - 1 and len(chosen) > 1 else ""
        entry = sheet_entry(dataset, row, None)
        for after in (False, True):
            bank = attacked if after else found.sides.clean
            dist = hamming(bank.packed[query : query + 1], ground.database.packed)[0]
            nearest = []
            for item in np.argsort(dist, kind="stable")[:most]:
                other = sheet_entry(dataset, place[str(ground.database.ids[item])], row)
                fits = other.relevant
                if after and targets is not None:
                    fits = bool((dataset.labels[place[str(ground.database.ids[item])]] & targets.labels[query]).any())
                nearest.append(SheetItem.at(dist[item], other.picture, other.caption, fits))
            if after:
                beside = SheetItem(amplified(clean[number], found.made.pixels[query]), "perturbation", "amplified")
                lines.append(
                    SheetRow(
                        SheetItem(found.made.pixels[query], f"attacked{resisted}", entry.caption + wanted),
                        nearest,
                        beside,
                    )
                )
            else:
                lines.append(SheetRow(SheetItem(entry.picture, "query", entry.caption), nearest))
    size = eps_text(next(row.threat for row in reversed(found.rows) if row.threat))
    meant = "the query" if targets is None else "the query (before) or with the target (after)"
    signs = f"green and tick: shares a label with {meant}, red and cross: does not"
    signs = signs if ground.labeled else "green and tick: the picture itself"
    footer = (
        f"each query before and after, and its first {most} answers by Hamming distance; {signs}; "
        "the perturbation is stretched to the full range, gray is no change"
    )
    draw_sheet(
        lines, path, title=f"{dataset.title}: {found.spec.name}, {size}, {ground.query.bits} bits", footer=footer
    )


def draw_pictures(path: Path, lines: Sequence[tuple[str, Sequence[Picture]]], title: str) -> None:
    """A line a picture, as a measure made them on a model of that name.

    Raises:
        RequestError: there are none.
    """
    from hamguard.core.errors import RequestError
    from hamguard.report.sheets import SheetItem, SheetRow, draw_sheet

    if not lines:
        raise RequestError("a sheet shows saliency maps: measure saliency")
    rows = [
        SheetRow(SheetItem(line[0].pixels, line[0].title, name), [SheetItem(one.pixels, one.title) for one in line[1:]])
        for name, line in lines
    ]
    footer = (
        "maps: white counts most for the picture's own code; above them the rank correlation with the clean one's map"
    )
    draw_sheet(rows, path, title=title, footer=footer)


def draw_pairs(path: Path, ground: Ground, found: Measured, shown: int = SHOWN) -> None:
    """Two lines a query, an image or a text, before and after CMLA, and what the search in the other modality answers."""
    import numpy as np

    from hamguard.codes.binary import hamming
    from hamguard.core.rows import eps_text
    from hamguard.evaluation.ground import other_modality
    from hamguard.evaluation.search.answers import sheet_entry
    from hamguard.report.sheets import SheetItem, SheetRow, draw_sheet

    dataset, modality = ground.dataset, found.spec.modality
    database = ground.database_of(other_modality(modality))
    place = {str(item): row for row, item in enumerate(dataset.ids)}
    texts, lines = dataset.texts or (), []
    for number, row in enumerate(ground.rows[:shown]):
        entry = sheet_entry(dataset, int(row), None)
        for bank in (found.sides.clean, found.sides.attacked):
            dist = hamming(bank.packed[number : number + 1], database.packed)[0]
            answers = []
            for item in np.argsort(dist, kind="stable")[:ANSWERS]:
                other = place[str(database.ids[item])]
                seen = sheet_entry(dataset, other, int(row))
                picture, words = (None, texts[other]) if modality == "image" else (seen.picture, seen.caption)
                answers.append(SheetItem.at(dist[item], picture, words, seen.relevant))
            after, beside = bank is found.sides.attacked, None
            title = "attacked" if after else "query"
            if modality == "text":
                query = SheetItem(None, title, texts[row])
                beside = (
                    SheetItem(None, "changes", _changes(ground, number, found.made.items[number])) if after else None
                )
            else:
                query = SheetItem(found.made.pixels[number] if after else entry.picture, title, entry.caption)
                change = amplified(entry.picture, found.made.pixels[number])
                beside = SheetItem(change, "perturbation", "amplified") if after else None
            lines.append(SheetRow(query, answers, beside))
    size = eps_text(next(row.threat for row in reversed(found.rows) if row.threat))
    stretched = (
        "the perturbation is stretched, gray is no change" if modality == "image" else "changes: the largest ones"
    )
    footer = (
        f"each query before and after, and its ten nearest of the other modality; green and tick: shares a label with the query; "
        f"{stretched}"
    )
    form = "published form" if found.spec.preset == "paper" else "our form"
    title = f"{dataset.title}: CMLA on {modality}s, {form}, {size}, {ground.query.bits} bits"
    draw_sheet(lines, path, title=title, footer=footer)


def _changes(ground: Ground, number: int, bag: Array) -> str:
    """The words of a text whose values changed most."""
    import numpy as np

    change = np.asarray(bag) - ground.bags[number].cpu().numpy()
    most = np.argsort(-np.abs(change), kind="stable")[:3]
    return " ".join(f"{ground.both.vocabulary.words[k]} {change[k]:+.3f}" for k in most)


def draw_protection(path: Path, sides: Sides, shown: int = 6) -> None:
    """A line a picture: original, protected copy, and the change stretched to the full range; the first queries."""
    from hamguard.evaluation.search.answers import sheet_entry
    from hamguard.report.sheets import SheetItem, SheetRow, draw_sheet

    rows = sides.split.query[:shown]
    clean, protected = sides.clean.images.pixels(rows), sides.protected.pixels(rows)
    lines = []
    for number, row in enumerate(rows):
        entry = sheet_entry(sides.clean, int(row), None)
        change = SheetItem(amplified(clean[number], protected[number]), "change", "amplified")
        lines.append(
            SheetRow(
                SheetItem(entry.picture, "original", entry.caption), [SheetItem(protected[number], "protected")], change
            )
        )
    protection = sides.protection
    footer = "change: stretched to the full range, gray is none"
    draw_sheet(lines, path, title=f"{sides.clean.title}: {protection.name}, eps {protection.eps:.3g}", footer=footer)


def draw_copies(path: Path, found: CopySearches, shown: int = COPIES) -> None:
    """A line a changed copy: the copy and its ten nearest; the last line of each view is its hardest copy."""
    from hamguard.evaluation.search.copies import shown_copies
    from hamguard.images.named_views import parse_view
    from hamguard.report.sheets import SheetItem, SheetRow, draw_sheet

    lines, dataset, bank = [], found.data.dataset, found.bank
    place = {str(item): row for row, item in enumerate(dataset.ids)}
    for view, search in zip(found.views, found.searches, strict=True):
        for number, answers in shown_copies(search, bank, shown, 10):
            row = int(found.rows[number])
            copy = parse_view(view)(dataset.images.pixels([row])[0])
            cells = []
            for item, distance in answers:
                picture = dataset.images.pixels([place[item]])[0]
                cells.append(SheetItem.at(distance, picture, item, place[item] == row))
            lines.append(SheetRow(SheetItem(copy, view, str(dataset.ids[row])), cells))
    footer = "a changed copy and its ten nearest; green and tick: the original. The last line of each view is its hardest copy"
    draw_sheet(lines, path, title=f"{dataset.title}: searches with changed copies, {bank.bits} bits", footer=footer)


def draw_effect(path: Path, measured: Effect, top: int, seed: int, shown: int = SHOWN) -> None:
    """Original, protected and noisy copy of files, the differences beside them; the last one is the worst protected."""
    from hamguard.images.io import decode
    from hamguard.privacy.effect import NOISE, SAVED
    from hamguard.privacy.effect_card import noise_like
    from hamguard.privacy.effect_cards import protection_order
    from hamguard.report.sheets import SheetItem, SheetRow, draw_sheet

    worst = int(protection_order(measured, top)[0])
    lines = []
    for number in [*[i for i in range(min(shown, len(measured.pairs))) if i != worst][: shown - 1], worst]:
        pair = measured.pairs[number]
        clean, protected = decode(pair.original), decode(pair.protected)
        copies = {SAVED: protected, NOISE: noise_like(clean, protected, seed=seed, name=pair.name)}
        beside = []
        for kind, copy in copies.items():
            if (side := measured.sides[0].get(kind)) is None:  # without noise
                continue
            place = f"place {side.forward.expected()[number]:g}"
            title = "protected" if kind == SAVED else "noise of its size"
            beside += [
                SheetItem(copy, title, f"{side.bits_moved[number]} bits, {place}"),
                SheetItem(amplified(clean, copy), "change", "amplified"),
            ]
        lines.append(
            SheetRow(SheetItem(clean, "worst protected" if number == worst else "original", pair.name), beside)
        )
    footer = f"bits moved, and the place of the original among {measured.database} when the copy is asked with"
    draw_sheet(lines, path, title="Protected files", footer=footer)


def amplified(clean: Bytes, attacked: Bytes) -> Bytes:
    """The change of a picture stretched to the full range around middle gray, same shape, uint8."""
    import numpy as np

    delta = attacked.astype(np.float64) - clean.astype(np.float64)
    most = max(1.0, float(np.abs(delta).max()))
    return np.asarray(np.clip(np.round(127.5 + 127.5 * delta / most), 0, 255), dtype=np.uint8)


def _words(names: tuple[str, ...], labels: Bytes) -> str:
    return ", ".join(names[c].partition(":")[2].strip() or names[c] for c, mark in enumerate(labels) if mark)
