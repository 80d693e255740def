"""The figures of `hamguard verify` as the plain data of its page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hamguard.core.rows import levels_text

FIRST = 3
"""Sentences in the first box of a page that has a table of all searches."""
FOOLED = "noise fools it"
"""Mark of a search that the protector never saw, and that is in no mean."""

if TYPE_CHECKING:
    from hamguard.privacy.effect import Measured
    from hamguard.privacy.effect_card import Share
    from hamguard.privacy.effect_summary import CopyLine
    from hamguard.privacy.pairs import Protection
    from hamguard.report.effect_page import Card, EffectPage
    from hamguard.report.table import Table


def effect_page(
    measured: Measured,
    protection: Protection,
    lines: list[list[CopyLine]],
    told: list[str],
    objects: list[dict[str, Any]],
    *,
    subject: str,
    top: int,
    cards: int,
    seed: int,
) -> EffectPage:
    """Everything that stands on the page; the pictures of its cards are decoded once more."""
    from hamguard import __version__
    from hamguard.privacy.effect_card import choose_cards
    from hamguard.privacy.effect_cards import SIDE, common_factor, judges, protection_order
    from hamguard.privacy.effect_details import SCREEN
    from hamguard.privacy.effect_summary import LIMITS
    from hamguard.report.effect_page import EffectPage
    from hamguard.report.effect_table import tied
    from hamguard.report.wording import short_names

    overview = searches_overview(measured, lines, top, seed)
    worst, spread = choose_cards(protection_order(measured, top), cards)
    factor = common_factor(measured, worst + spread)
    names = short_names([matcher.name for matcher in measured.matchers])
    count = [names[i] for i in judges(measured)]
    gone: list[str] = []
    made = [_cards(part, gone, measured, objects, factor, names, top) for part in (worst, spread)]
    complete = not spread and len(worst) == len(measured.pairs)
    first = (
        f"All pictures, the worst protected first ({len(worst)})"
        if complete
        else f"The {len(worst)} worst protected pictures"
    )
    ranks = (
        "rank of the original (rank of the copy in the reverse search), bits moved"
        if overview is None
        else "rank of the original; effect.jsonl has the reverse search and the bits, too"
    )
    pictures = (
        f"Order and verdicts follow {', '.join(count)}. The difference is drawn around gray, {factor} times as strong as it is, "
        f"the same factor for all. Tables: {ranks}. "
        f"What is shown are JPEG copies of at most {SIDE} pixels, and parts at full size (of a large picture, as a screen of "
        f"{SCREEN:,} pixels shows it), chosen by texture, color and likeness; measured were the files themselves."
    )
    more = max(measured.searched(number) for number in range(len(measured.matchers))) - measured.database
    beside = f", by searches of the panel among {more:,} photos more" if more else ""
    told_by = f"protector {protection.protector}" if protection.protector else "no protector named"
    eps = f", eps {levels_text(protection.eps, '.3g')}" if protection.eps is not None else ""
    return EffectPage(
        title="Do these files escape image search?",
        subject=f"{subject}; {told_by}{eps}",
        words=told[:FIRST] if overview else told,
        further=told[FIRST:] if overview else (),
        overview=overview,
        tables=[tied(matcher_table(measured, number, copies, top)) for number, copies in enumerate(lines)],
        reading=[
            f"Original lost: share of pictures whose original is not among the first {top} answers to a search with the copy. "
            "Copy lost: the same the other way round. In parentheses: 95% bootstrap interval over pictures. Equal distances count "
            "by the share of their orders. The median rank is that of the original, 1 is first.",
            "Noise: random signs times each file's own largest change, so it moves at least as far as the protection does. "
            "The original itself: nothing was changed; it is lost only among other pictures with the same code.",
            *measured.notes,
        ],
        cards=[(first, made[0]), (f"{len(spread)} others, from worse to better protected", made[1])],
        pictures=pictures,
        limits=LIMITS,
        problems=[*measured.problems, *gone],
        footer=f"hamguard {__version__}, verify, seed {seed}, top {top}, {measured.database:,} originals searched{beside}. "
        "Figures of every file: effect.jsonl; all of this for programs: summary.json.",
    )


def searches_overview(measured: Measured, lines: list[list[CopyLine]], top: int, seed: int) -> Table | None:
    """All searches in one table, those that count first, of these the one that finds most; None where there are few."""
    from hamguard.privacy.effect import SAVED
    from hamguard.privacy.effect_summary import FEW, counted, fooled_by_noise, unseen_means
    from hamguard.privacy.pairs import NEVER_SEEN
    from hamguard.report.effect_table import Search, searches_table

    if len(measured.matchers) <= FEW:
        return None
    unsteady = fooled_by_noise(measured, top)
    found = [
        Search(
            matcher.name,
            FOOLED if matcher.name in unsteady else matcher.seen,
            {line.kind: _share(line.left) for line in table},
        )
        for matcher, table in zip(measured.matchers, lines, strict=True)
    ]
    found.sort(key=lambda one: (one.tag != NEVER_SEEN, one.left[SAVED][0]))
    unseen = unseen_means(measured, top, seed)
    mean = Search(f"mean of {len(counted(measured, top))}", NEVER_SEEN, {k: _share(v) for k, v in unseen.items()})
    return searches_table(found, [mean] if unseen else [], top=top)


def matcher_table(measured: Measured, number: int, lines: list[CopyLine], top: int) -> Table:
    """The copies of all files, searched by one matcher."""
    from hamguard.report.effect_table import Copy, effect_table

    matcher = measured.matchers[number]
    copies = [Copy(line.kind, _share(line.left), _share(line.missed), line.moved.value, line.rank) for line in lines]
    backbone = f", {matcher.card.backbone}" if matcher.card else ""
    bits = matcher.model.bits
    return effect_table(copies, f"{matcher.name}{backbone}", tag=matcher.seen, bits=bits, top=top)


def _share(share: Share) -> tuple[float, float, float]:
    return share.value, share.low, share.high


def _cards(
    part: list[int],
    gone: list[str],
    measured: Measured,
    objects: list[dict[str, Any]],
    factor: int,
    names: list[str],
    top: int,
) -> list[Card]:
    """Cards of some pairs; those whose files have gone or changed since they were measured are noted in `gone`."""
    from hamguard.core.errors import ImageError

    made = []
    for number in part:
        try:
            made.append(_card(measured, objects[number], number, factor, names, top))
        except ImageError as error:
            gone.append(f"no picture on this page: {error}")
    return made


def _card(measured: Measured, one: dict[str, Any], number: int, factor: int, names: list[str], top: int) -> Card:
    from hamguard.privacy.effect import ORIGINAL, SAVED
    from hamguard.privacy.effect_cards import CardPicture, card_pictures, judges
    from hamguard.privacy.effect_summary import FEW
    from hamguard.report.effect_page import Card, Shown
    from hamguard.report.effect_table import COPIES, SHORT
    from hamguard.report.table import Table

    told = one["matchers"]
    counting = [told[i]["copies"][SAVED] for i in judges(measured)]
    likely = max(copy["in_top"] for copy in counting)
    rank = min(copy["rank"] for copy in counting)
    N = min(measured.searched(i) for i in judges(measured))
    place = f"stands at {rank:g} of {N:,}"
    if likely == 0:
        verdict = f"lost: the original {place}"
    elif likely == 1:
        verdict = f"found: the original {place}"
    else:
        verdict = f"found in {100 * likely:.0f}% of the orders of equal distances: the original {place}"
    kinds = [kind for kind in told[0]["copies"] if kind != ORIGINAL]
    if len(told) > FEW:  # a line each, of ranks alone: a card is half a page wide
        head = ["rank of the original", *(SHORT.get(kind, kind) for kind in kinds)]
        cells = [
            [name, *(f"{matcher['copies'][kind]['rank']:g}" for kind in kinds)]
            for name, matcher in zip(names, told, strict=True)
        ]
        table = Table.of("", head, cells)
    else:
        searches = [f"{name} ({matcher['seen']})" for name, matcher in zip(names, told, strict=True)]
        head = ["rank (reverse), bits", *searches]
        cells = [
            [COPIES.get(kind, f"after {kind}"), *(_cell(matcher["copies"][kind]) for matcher in told)] for kind in kinds
        ]
        table = Table.of("", head, cells, strong=kinds.index(SAVED))

    def shown(caption: str, picture: CardPicture) -> Shown:
        return Shown(caption, picture.jpeg, picture.width, picture.height)

    captions = ("original", "protected", f"difference × {factor}")
    pictures = card_pictures(measured, number, factor)
    trio = [shown(*both) for both in zip(captions, pictures.trio, strict=True)]
    parts = [(shown(what, one), shown("protected", other)) for what, one, other in pictures.parts]
    psnr = "unchanged" if one["psnr"] is None else f"PSNR {one['psnr']:.1f} dB"
    ssim = "" if one["ssim"] is None else f"SSIM {one['ssim']:.3f}, "
    size = f"{one['width']} x {one['height']} pixels"
    facts = f"{size}; {ssim}{psnr}, RMSE {one['rmse']:.4f}, largest change {one['largest_change']} of 255"
    return Card(one["file"], likely == 0, verdict, trio, facts, table, parts)


def _cell(copy: dict[str, Any]) -> str:
    return f"{copy['rank']:g} ({copy['reverse_rank']:g}), {copy['bits_moved']}"
