"""The demo's last stage: rows of curves, a picture of protected files, and one page with everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hamguard.codes.bank import CodeBank
    from hamguard.core.rows import Row
    from hamguard.evaluation.attack.measure import Measured
    from hamguard.evaluation.ground import Ground
    from hamguard.privacy.effect import Measured as Effect
    from hamguard.report.pictures import Picture

SHOWN = 4  # files on the picture; the page of cards has more
TOP = 10


def points(ground: Ground, found: Sequence[Measured] = ()) -> list[Row]:
    """Curves of a model's clean queries and of those that attacks away from a code have changed, as rows."""
    from hamguard.evaluation.search.curves import curve_rows

    base = ground.base
    rows = curve_rows(*ground.search(), base)
    for one in found:
        if one.targets is None:
            bank: CodeBank = one.sides.attacked
            hashes = {**base.hashes, "query_codes": bank.digest}
            own = next(row for row in one.rows if (row.attack or {}).get("method") == one.spec.name)
            rows += curve_rows(
                bank, ground.database, replace(base, attack=own.attack, threat=own.threat, hashes=hashes)
            )
    return rows


def draw_effect(path: Path, measured: Effect, seed: int) -> None:
    """Original, protected and noisy copy of files, the differences beside them; the last one is the worst protected."""
    from hamguard.api.sheets import amplified
    from hamguard.images.io import decode
    from hamguard.privacy.effect import NOISE, SAVED
    from hamguard.privacy.effect_card import noise_like
    from hamguard.privacy.effect_cards import protection_order
    from hamguard.report.sheets import Found, SheetRow, draw_sheet

    worst = int(protection_order(measured, TOP)[0])
    lines = []
    for number in [*[i for i in range(SHOWN) if i != worst][: SHOWN - 1], worst]:
        pair = measured.pairs[number]
        clean, protected = decode(pair.original), decode(pair.protected)
        noisy = noise_like(clean, protected, seed=seed, name=pair.name)
        beside = []
        for kind, copy in ((SAVED, protected), (NOISE, noisy)):
            side = measured.sides[0][kind]
            place = f"place {side.forward.expected()[number]:g}"
            title = "protected" if kind == SAVED else "noise of its size"
            beside += [
                Found(copy, title, f"{side.bits_moved[number]} bits, {place}"),
                Found(amplified(clean, copy), "change", "amplified"),
            ]
        lines.append(SheetRow(Found(clean, "worst protected" if number == worst else "original", pair.name), beside))
    footer = f"bits moved, and the place of the original among {measured.database} when the copy is asked with"
    draw_sheet(lines, path, title="Protected files", footer=footer)


def write_page(out: Path, rows: Sequence[Row], pictures: Sequence[Picture]) -> Path:
    """Write the rows, the list of pictures and the page.

    Raises:
        RunError: a file cannot be written.
    """
    from hamguard.core.rows import write_rows
    from hamguard.report.collect import collect
    from hamguard.report.pictures import write_pictures
    from hamguard.report.rows_page import rows_report, write_rows_page

    write_rows(out / "rows.jsonl", rows)
    write_pictures(out, pictures)
    page = out / "report.html"
    write_rows_page(rows_report(collect([out]), "A tour on scanned digits"), page)
    return page
