"""PPL (Zhang, Huang, Xu, AAAI 2021): Table 1 and Figures 3 to 7."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from hamguard.core.rows import Row
from hamguard.evaluation.reproduce.experiment import (
    Comparison,
    Found,
    Line,
    Relation,
    Scale,
    above,
    experiment,
    falling,
    near,
)
from hamguard.evaluation.reproduce.published import figure

DIGITS = "digits instead of CIFAR-10, the networks of small pictures"
PAPER = "Zhang, Huang, Xu: PPL, AAAI 2021"
TABLE = "Table 1: four searches of ADSH and DSDH on clean and protected pictures"
WHOLE = "Fashion-MNIST whole, 8 and 16 of 8 to 24 bits, 2,000 of 10,000 queries"
OTHER = "digits and Fashion-MNIST instead of CIFAR-10 and ImageNet"


SOURCE = "PPL, AAAI 2021"
SEARCHES = ("C->C", "C->A", "A->C", "A->A")
CROSS = SEARCHES[1:]
BETWEEN = ("C->A", "A->C")
BOTH = 0.1  # of the C->C of a model trained on C: so much may a search lose and still be said to work


def _search(found: Found, task: str, *, method: str, bits: int, train: str, **more: object) -> Row | None:
    return found.one(attack="ppl", metric="map", task=task, method=method, bits=bits, train=train, **more)


def _kinds(found: Found) -> list[tuple[str, int]]:
    """Hash methods and code lengths that were run, in their order."""
    return list(dict.fromkeys((str(row.method), int(row.bits or 0)) for row in found.all(attack="ppl", metric="map")))


def _protects(found: Found, **more: object) -> list[Relation]:
    """What the paper says of models that are trained on one domain."""
    kinds = _kinds(found)

    def pairs(train: str, own: str, others: Sequence[str]) -> list[tuple[Row | None, Row | None]]:
        return [
            (
                _search(found, own, method=method, bits=bits, train=train, **more),
                _search(found, other, method=method, bits=bits, train=train, **more),
            )
            for (method, bits), other in product(kinds, others)
        ]

    return [
        above("Models trained on clean pictures fail on all searches with protected ones", pairs("C", "C->C", CROSS)),
        above(
            "Models trained on protected pictures search well among these, and fail across domains",
            pairs("A", "A->A", BETWEEN),
        ),
        above("Models trained on protected pictures fail on clean ones", pairs("A", "A->A", ("C->C",))),
    ]


@experiment("ppl-table1", paper=PAPER, what=TABLE, small=WHOLE, minutes=25)
def table1(found: Found, scale: Scale) -> Comparison:
    """Every cell of the printed table that was run; Fashion-MNIST, and at paper scale the other data as well."""
    names = {"fashion-mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "cifar10 (JPEG copy)": "CIFAR-10"}
    lines = []
    for row in found.all(attack="ppl", metric="map"):
        if row.task not in SEARCHES or row.train not in ("C", "A"):
            continue
        data = names.get(str(row.dataset), "ImageNet-13" if scale == "paper" else "")
        printed = figure(
            SOURCE,
            "Table 1",
            dataset=data,
            method=str(row.method).upper(),
            bits=row.bits,
            train=row.train,
            metric=row.task,
        )
        where = f"{row.dataset}, {str(row.method).upper()}, {row.bits} bits, trained on {row.train}, {row.task}"
        lines.append(Line(where, printed, row))
    noise = [
        (found.one(attack="noise", metric="map", task=task, train="C"), row)
        for task in CROSS
        for row in [found.one(attack="ppl", metric="map", task=task, train="C", method="dsdh", bits=16)]
    ]
    control = above("Ours: random noise of the same size does not do that (DSDH, 16 bits, trained on C)", noise)
    return Comparison(lines, [*_protects(found), control])


@experiment("ppl-fig3", paper=PAPER, what="Figure 3: victims on other networks", small=DIGITS, minutes=10)
def fig3(found: Found, scale: Scale) -> Comparison:
    """Victims on networks that the protector never saw."""
    lines: list[Line] = []
    relations = []
    for name in dict.fromkeys(str(row.backbone) for row in found.all(attack="ppl", metric="map")):
        for row in found.all(attack="ppl", metric="map", backbone=name):
            lines.append(Line(f"{name}, {str(row.method).upper()}, trained on {row.train}, {row.task}", None, row))
        first, second = _protects(Found([row for row in found.rows if row.backbone == name]))[:2]
        relations += [
            Relation(f"{one.claim}: on {name}, with a protector from another network", one.verdict, one.figures)
            for one in (first, second)
        ]
    return Comparison(lines, relations)


@experiment("ppl-fig4", paper=PAPER, what="Figure 4: a protector from other data", small=OTHER, minutes=8)
def fig4(found: Found, scale: Scale) -> Comparison:
    """A protector that learned on one data set, used on another."""
    rows = found.all(attack="ppl", metric="map")
    lines = [
        Line(f"on {row.dataset}, {str(row.method).upper()}, trained on {row.train}, {row.task}", None, row)
        for row in rows
    ]
    relations = []
    for data in dict.fromkeys(row.dataset for row in rows):
        part = Found([row for row in rows if row.dataset == data])
        relations += [
            Relation(f"{one.claim}: on {data}, with a protector from other data", one.verdict, one.figures)
            for one in _protects(part)[:2]
        ]
    return Comparison(lines, relations)


@experiment("ppl-fig5", paper=PAPER, what="Figure 5: share of protected training pictures", small=DIGITS, minutes=8)
def fig5(found: Found, scale: Scale) -> Comparison:
    """Training on a mix: the model works in all four searches."""
    rows = found.all(attack="ppl", metric="map")
    lines = [Line(f"{str(row.method).upper()}, trained on {row.train}, {row.task}", None, row) for row in rows]
    relations = []
    for method, bits in _kinds(found):
        mixed = [row for row in rows if row.method == method and row.train not in ("C", "A")]
        half = next((row.train for row in mixed if str(row.train).startswith(("0.4", "0.5", "0.6"))), None)
        own = _search(found, "C->C", method=method, bits=bits, train="C")
        pairs = [
            (own, next((row for row in mixed if row.train == half and row.task == task), None)) for task in SEARCHES
        ]
        kept = [(a, b) for a, b in pairs if a and b]
        claim = f"{method.upper()}: with both kinds in training (share {half}), all four searches work"
        if not kept:
            relations.append(Relation(claim, "not testable at this scale", "no mixed training"))
            continue
        least = min(float(b.value or 0) for _, b in kept)
        full = float(own.value or 0) if own else 0.0
        said = f"least of the four {least:.3f}, {full:.3f} trained and searched on C; works: within {BOTH:.0%}"
        relations.append(Relation(claim, "holds" if least >= (1 - BOTH) * full else "does not hold", said))
    return Comparison(lines, relations)


@experiment("ppl-fig6", paper=PAPER, what="Figure 6: MAP over eps", small="digits instead of Fashion-MNIST", minutes=10)
def fig6(found: Found, scale: Scale) -> Comparison:
    """Over eps: searches across domains fall, the search inside the protected domain stays."""
    rows = sorted(found.all(attack="ppl", metric="map"), key=lambda row: float((row.threat or {}).get("eps", 0)))
    lines = [
        Line(
            f"eps {(row.threat or {}).get('eps'):g}, {str(row.method).upper()}, trained on {row.train}, {row.task}",
            None,
            row,
        )
        for row in rows
    ]
    relations = []
    for method in dict.fromkeys(str(row.method) for row in rows):
        for task in BETWEEN:
            series = [row for row in rows if row.method == method and row.train == "C" and row.task == task]
            claim = f"{method.upper()}, trained on C: {task} falls as eps grows"
            relations.append(falling(claim, series, slack=0.05))
        inside = [row for row in rows if row.method == method and row.train == "A" and row.task == "A->A"]
        pairs = [(inside[0], row) for row in inside[1:]] if inside else []
        relations.append(near(f"{method.upper()}, trained on A: A->A stays as eps grows", pairs, 0.1))
    return Comparison(lines, relations)


@experiment("ppl-fig7", paper=PAPER, what="Figure 7: pictures before and after", small=DIGITS, minutes=2)
def fig7(found: Found, scale: Scale) -> Comparison:
    """Examples of pictures before and after: something to look at, and how far they moved in figures."""
    claim = "The protected pictures look like the originals where eps is small"
    return Comparison(
        [], [Relation(claim, "not testable at this scale", "look at the sheet on the page; a person decides")]
    )
