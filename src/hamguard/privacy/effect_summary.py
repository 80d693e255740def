"""What a proof of effect says: result rows, one object a file, a table, and sentences that need no explanation."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hamguard.core.noted import matcher_note
from hamguard.core.rows import Row
from hamguard.core.types import Floats
from hamguard.privacy.effect import NOISE, ORIGINAL, SAVED, Matcher, Measured
from hamguard.privacy.effect_card import Share, Side, left_top, mean_share
from hamguard.privacy.pairs import NEVER_SEEN, Protection

FEW = 2
"""Searches that a sentence each tells of; more stand in a table."""
FORWARD, BACKWARD = "protected->original", "original->protected"
LIMITS = (
    "A matcher that nobody tried here. Every figure holds for the matchers named above; another one may still find the originals.",
    "A person who looks. The files are meant to look like the originals, and so they do.",
    "A party that adapts: it trains on protected pictures, cleans them, averages copies, or has the protector, which is public.",
    "Stronger changes than the ones tried here: lower JPEG quality, smaller sizes, cropping, filters, screenshots.",
    "Pictures that are already published unprotected: a search that holds the original finds whatever else points to it.",
    "What stands around a picture: file names, captions, tags, accounts, places, the time of publication.",
    "Face recognition. These are searches by whole-picture codes; nothing here was made for faces or measured on them.",
)
"""What the protection does not protect against."""


@dataclass(frozen=True)
class CopyLine:
    """One kind of copy in the table of a matcher.

    Attributes:
        kind: `original`, `as saved`, `noise`, or a view.
        left: share whose original is not in the top of the copy's search.
        missed: share whose copy is not in the top of the original's search.
        moved: mean bits moved.
        rank: median expected rank of the original.
    """

    kind: str
    left: Share
    missed: Share
    moved: Share
    rank: float


def summary_lines(measured: Measured, top: int, seed: int) -> list[list[CopyLine]]:
    """The table of each matcher.

    Raises:
        RequestError: `top` is below 1.
    """
    return [[_line(kind, side, top, seed) for kind, side in sides.items()] for sides in measured.sides]


def _line(kind: str, side: Side, top: int, seed: int) -> CopyLine:
    return CopyLine(
        kind,
        left_top(side.forward, top, seed=seed),
        left_top(side.backward, top, seed=seed),
        mean_share(side.bits_moved, seed=seed),
        float(np.median(side.forward.expected())),
    )


def look_shares(measured: Measured, seed: int) -> dict[str, Share | None]:
    """Mean distortion over the files; None where no file has a value."""
    found: dict[str, Share | None] = {}
    for name in ("rmse", "ssim", "psnr", "linf"):
        values = _values(measured, name)
        kept = values[np.isfinite(values)]
        found[name] = mean_share(kept, seed=seed) if len(kept) else None
    return found


def _values(measured: Measured, name: str) -> Floats:
    if name == "linf":
        return np.array([look.levels / 255 for look in measured.looks])
    return np.array([getattr(look, name) for look in measured.looks], np.float64)


def effect_rows(
    measured: Measured,
    lines: Sequence[Sequence[CopyLine]],
    protection: Protection,
    *,
    dataset: str,
    top: int,
    seed: int,
) -> list[Row]:
    """Result rows: both directions and the bits of every kind of copy, then how the files look.

    Args:
        measured: all figures.
        lines: of `summary_lines`.
        protection: what the protector said.
        dataset: what to call the originals.
        top: how many answers count.
        seed: of the bootstrap and of the noise.
    """
    rows = []
    for matcher, table in zip(measured.matchers, lines, strict=True):
        for line in table:
            base = _base(matcher, line.kind, protection, dataset, seed, measured)
            copy = {ORIGINAL: ORIGINAL, NOISE: NOISE}.get(line.kind, "protected")
            tasks = {f"{copy}->original": line.left, f"original->{copy}": line.missed}  # one for the original itself
            for task, share in tasks.items():
                rows.append(_row(base, task, "left top", share, at=top, ties="expected"))
            rows.append(_row(base, "query", "bits-moved", line.moved))
    base = _base(None, SAVED, protection, dataset, seed, measured)
    for name, look in look_shares(measured, seed).items():
        if look is not None:
            rows.append(_row(base, "files", name, look))
    return rows


def _base(
    matcher: Matcher | None, kind: str, protection: Protection, dataset: str, seed: int, measured: Measured
) -> Row:
    attack: dict[str, Any] | None = None
    if kind == NOISE:
        attack = {"method": "noise", "size": "largest change of each file"}
    elif kind != ORIGINAL:
        attack = {
            "method": "protect",
            "protector": protection.protector or None,
            "view": None if kind == SAVED else kind,
        }
    hashes = {"protector": protection.protector_hash} if protection.protector_hash and attack else {}
    notes = [_searched_note(measured, matcher), *measured.notes]
    if measured.problems:
        notes.append(f"{len(measured.problems)} files could not be compared")
    facts: dict[str, Any] = {}
    if matcher is not None:
        card = matcher.card
        facts = {"model": matcher.name, "bits": matcher.model.bits}
        facts |= {"method": card.method or None, "backbone": card.backbone} if card else {}
        hashes["model"] = matcher.model.digest
        notes.insert(0, matcher_note(matcher.seen))
    threat = (
        {"norm": "linf", "eps": protection.eps} if protection.eps is not None and attack and kind != NOISE else None
    )
    return Row(dataset=dataset, attack=attack, threat=threat, seed=seed, hashes=hashes, notes=tuple(notes), **facts)


def _searched_note(measured: Measured, matcher: Matcher | None) -> str:
    """What is searched: the originals, and what comes with a matcher of the panel."""
    more = 0 if matcher is None or matcher.reference is None else len(matcher.reference)
    beside = f" and {more} reference photos" if more else ""
    return f"{measured.database} originals{beside} are searched"


def _row(base: Row, task: str, metric: str, share: Share, *, at: int | None = None, ties: str | None = None) -> Row:
    return replace(
        base, task=task, metric=metric, at=at, ties=ties, value=share.value, ci95=(share.low, share.high), n=share.n
    )


def file_objects(measured: Measured, top: int) -> list[dict[str, Any]]:
    """One JSON object a file with everything that is known of it; what has no value is None.

    Raises:
        RequestError: `top` is below 1.
    """
    objects: list[dict[str, Any]] = [
        {
            "file": pair.name,
            "protected": str(pair.protected),
            "height": look.height,
            "width": look.width,
            "rmse": round(look.rmse, 6),
            "ssim": _finite(look.ssim),
            "psnr": _finite(look.psnr),
            "changed": round(look.changed, 6),
            "largest_change": look.levels,
            "noise_rmse": _finite(look.noise_rmse),
            "top": top,
            "searched": measured.database,
            "matchers": [],
        }
        for pair, look in zip(measured.pairs, measured.looks, strict=True)
    ]
    for matcher, sides in zip(measured.matchers, measured.sides, strict=True):
        facts = {"name": matcher.name, "hash": matcher.model.digest, "seen": matcher.seen, "bits": matcher.model.bits}
        facts["searched"] = measured.database + (0 if matcher.reference is None else len(matcher.reference))
        for one in objects:
            one["matchers"].append({**facts, "copies": {}})
        for kind, side in sides.items():
            columns = zip(
                side.rows.tolist(),
                side.bits_moved.tolist(),
                side.forward.expected(),
                side.forward.in_top(top),
                side.backward.expected(),
                side.backward.in_top(top),
                strict=True,
            )
            for row, moved, rank, found, back_rank, back_found in columns:
                objects[row]["matchers"][-1]["copies"][kind] = {
                    "bits_moved": moved,
                    "rank": float(rank),
                    "in_top": round(float(found), 6),
                    "reverse_rank": float(back_rank),
                    "reverse_in_top": round(float(back_found), 6),
                }
    return objects


def _finite(value: float | None) -> float | None:
    return round(value, 6) if value is not None and math.isfinite(value) else None


def plain_words(
    measured: Measured, lines: Sequence[Sequence[CopyLine]], protection: Protection, *, top: int, seed: int
) -> list[str]:
    """The outcome in sentences, the most important first; of more than `FEW` searches no sentence each."""
    n, N = len(measured.pairs), measured.database
    compared = (
        "picture was compared with its protected copy"
        if n == 1
        else "pictures were compared with their protected copies"
    )
    beside = sorted({len(one.reference) for one in measured.matchers if one.reference is not None})
    more = f", by searches of the panel among {beside[-1]:,} photos more" if beside else ""
    words = _over_unseen(measured, top, seed)
    words.append(f"{n:,} {compared}; {N:,} {'original is' if N == 1 else 'originals are'} searched{more}.")
    if measured.problems:
        count = len(measured.problems)
        words.append(f"{count:,} {'file' if count == 1 else 'files'} could not be compared; see the list of problems.")
    told = list(zip(measured.matchers, lines, strict=True))
    N = min(measured.searched(number) for number in range(len(told)))  # of the smallest search
    few = told if len(told) <= FEW else []
    for matcher, table in sorted(few, key=lambda one: one[0].seen != NEVER_SEEN):  # those that count come first
        words.append(_outcome(matcher, {line.kind: line for line in table}, top))
    words.append(_trust(measured.matchers, protection, fooled_by_noise(measured, top)))
    if top >= N:
        words.append(f"With {N:,} searched, nothing can leave the first {top}: give more pictures, or a smaller --top.")
    elif top / N >= 0.05:
        words.append(
            f"The search is small: picked by lot, the first {top} of {N:,} answers hold the original for {_percent(top / N)} "
            "of the pictures. In a larger search more originals leave the top."
        )
    looks = look_shares(measured, seed)
    means = [
        f"{label} {share.value:.{digits}f}{unit}"
        for name, label, digits, unit in (
            ("ssim", "SSIM", 3, ""),
            ("psnr", "PSNR", 1, " dB"),
            ("rmse", "RMSE", 4, " of 1"),
        )
        if (share := looks[name]) is not None
    ]
    largest = max(look.levels for look in measured.looks)
    words.append(
        f"How the files look, on average: {', '.join(means)}. No value moved by more than {largest} of 255 levels."
    )
    return words


def unseen_shares(measured: Measured, top: int, seed: int) -> tuple[Share, str, Share] | None:
    """What matchers that the protector never saw find no more of the saved files.

    Returns:
        The mean over these matchers, the name of the one that finds most, and its share: each the share of originals that are
        not among the first `top` answers, with its interval over pictures. None where fewer than two count; those that lose
        more than half of the pictures by noise of the same size do not, see `fooled_by_noise`.
    """
    left = {name: 1 - sides[SAVED].forward.in_top(top) for name, sides in counted(measured, top).items()}
    if len(left) < 2:
        return None
    worst = min(left, key=lambda name: float(left[name].mean()))
    return unseen_means(measured, top, seed)[SAVED], worst, mean_share(left[worst], seed=seed)


def unseen_means(measured: Measured, top: int, seed: int) -> dict[str, Share]:
    """For each kind of copy the share of originals that are lost, mean over the matchers that count; empty for fewer than two."""
    sides = list(counted(measured, top).values())
    if len(sides) < 2:
        return {}
    return {
        kind: mean_share(np.mean([1 - one[kind].forward.in_top(top) for one in sides], axis=0), seed=seed)
        for kind in sides[0]
    }


def counted(measured: Measured, top: int) -> dict[str, dict[str, Side]]:
    """Matchers that say something about strangers: never seen by the protector, and not fooled by noise of the same size."""
    unsteady = fooled_by_noise(measured, top)
    return {
        matcher.name: sides
        for matcher, sides in zip(measured.matchers, measured.sides, strict=True)
        if matcher.seen == NEVER_SEEN and matcher.name not in unsteady
    }


def fooled_by_noise(measured: Measured, top: int) -> dict[str, float]:
    """Matchers that the protector never saw and that noise of the same size fools, too, with the share that it takes from them.

    More than half: what such a search loses of protected files says nothing about protection.
    """
    shares = {
        matcher.name: float(1 - sides[NOISE].forward.in_top(top).mean())
        for matcher, sides in zip(measured.matchers, measured.sides, strict=True)
        if matcher.seen == NEVER_SEEN and NOISE in sides
    }
    return {name: share for name, share in shares.items() if share > 0.5}


def _over_unseen(measured: Measured, top: int, seed: int) -> list[str]:
    """Mean and worst over the matchers that count, as a person understands them."""
    found = unseen_shares(measured, top, seed)
    if found is None:
        return []
    mean, worst, least = found
    unsteady = fooled_by_noise(measured, top)
    count = len(counted(measured, top))
    left_out = [f"{name} ({_percent(share)})" for name, share in unsteady.items()]
    beside = [f"Not counted, because they lose most originals by noise of the same size, too: {', '.join(left_out)}."]
    return [
        f"On average over {count} searches that the protector never saw, {_percent(mean.value)} of the originals are no longer "
        f"found (95% interval {_percent(mean.low)} to {_percent(mean.high)}), so {_percent(1 - mean.value)} still are.",
        f"The search that finds most is {worst}: {_percent(least.value)} are no longer found ({_percent(least.low)} to "
        f"{_percent(least.high)}).",
        *(beside if left_out else []),
    ]


def _outcome(matcher: Matcher, table: dict[str, CopyLine], top: int) -> str:
    saved = table[SAVED]
    words = (
        f"{matcher.name} ({matcher.seen}): searching with a protected file, {_percent(saved.left.value)} of the originals "
        f"are not among the first {top} answers (95% interval {_percent(saved.left.low)} to {_percent(saved.left.high)}); "
        f"searching with an original, {_percent(saved.missed.value)} of the protected files are not."
    )
    views = [
        f"{line.kind} {_percent(line.left.value)}"
        for line in table.values()
        if line.kind not in (ORIGINAL, SAVED, NOISE)
    ]
    if views:
        words += f" After a change of the protected file: {', '.join(views)}."
    if NOISE in table:
        words += f" Noise that moves every value by the file's largest change: {_percent(table[NOISE].left.value)}."
    return words


def _trust(matchers: Sequence[Matcher], protection: Protection, unsteady: Collection[str]) -> str:
    if not protection.found:
        return (
            "There is no protect.json beside the protected files, so it is not known which matchers the protector saw; "
            "the figures of those that it saw are optimistic."
        )
    unseen = [matcher.name for matcher in matchers if matcher.seen == NEVER_SEEN and matcher.name not in unsteady]
    if unsteady and not unseen:
        return (
            f"The searches that the protector never saw ({', '.join(unsteady)}) lose most originals by noise of the same size, "
            "too, so their figures say nothing about protection: give --matcher with a model that finds noisy photos."
        )
    if not unseen:
        return (
            "The protector saw every matcher that was tried here, or a relative of it, so these figures are optimistic: "
            "give --matcher with a model that it never saw."
        )
    which = f": {', '.join(unseen)}" if len(matchers) <= FEW else f" ({len(unseen)} of {len(matchers)})"
    return (
        f"What counts are the matchers that the protector never saw{which}. "
        "Never seen means that neither its weights, nor its network, nor a network of its family was used, as far as is known."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}".removesuffix(".0") + "%"
