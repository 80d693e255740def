"""PPL (Zhang, Huang, Xu, AAAI 2021): Table 1 and Figures 3 to 7."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from hamguard.core.rows import Row
from hamguard.evaluation.reproduce.experiment import Comparison, Line, Scale, experiment
from hamguard.evaluation.reproduce.figures import Figure
from hamguard.evaluation.reproduce.found import Found
from hamguard.evaluation.reproduce.published import figure
from hamguard.evaluation.reproduce.relations import Relation

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


def _search(found: Found, task: str, *, method: str, bits: int, train: str, **more: object) -> Figure | None:
    return found.one(attack="ppl", metric="map", task=task, method=method, bits=bits, train=train, **more)


def _kinds(found: Found) -> list[tuple[str, int]]:
    """Hash methods and code lengths that were run, in their order."""
    return list(
        dict.fromkeys((str(one.row.method), int(one.row.bits or 0)) for one in found.all(attack="ppl", metric="map"))
    )


def _protects(found: Found, **more: object) -> list[Relation]:
    """What the paper says of models that are trained on one domain."""
    kinds = _kinds(found)

    def pairs(train: str, own: str, others: Sequence[str]) -> list[tuple[Figure | None, Figure | None]]:
        return [
            (
                _search(found, own, method=method, bits=bits, train=train, **more),
                _search(found, other, method=method, bits=bits, train=train, **more),
            )
            for (method, bits), other in product(kinds, others)
        ]

    return [
        found.above(
            "Models trained on clean pictures fail on all searches with protected ones", pairs("C", "C->C", CROSS)
        ),
        found.above(
            "Models trained on protected pictures search well among these, and fail across domains",
            pairs("A", "A->A", BETWEEN),
        ),
        found.above("Models trained on protected pictures fail on clean ones", pairs("A", "A->A", ("C->C",))),
    ]


@experiment("ppl-table1", paper=PAPER, what=TABLE, small=WHOLE, minutes=25)
def table1(found: Found, scale: Scale) -> Comparison:
    """Every cell of the printed table that was run; Fashion-MNIST, and at paper scale the other data as well."""
    names = {"fashion-mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "cifar10 (JPEG copy)": "CIFAR-10"}
    lines = []
    for one in found.all(attack="ppl", metric="map"):
        row = one.row
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
        lines.append(Line(where, printed, one))
    noise = [
        (
            found.one(attack="noise", metric="map", task=task, train="C"),
            found.one(attack="ppl", metric="map", task=task, train="C", method="dsdh", bits=16),
        )
        for task in CROSS
    ]
    control = found.above(
        "Random noise of the same size does not do that (DSDH, 16 bits, trained on C)", noise, ours=True
    )
    return Comparison(lines, [*_protects(found), control])


@experiment("ppl-fig3", paper=PAPER, what="Figure 3: victims on other networks", small=DIGITS, minutes=10)
def fig3(found: Found, scale: Scale) -> Comparison:
    """Victims on networks that the protector never saw."""
    lines: list[Line] = []
    relations = []
    for name in dict.fromkeys(str(one.row.backbone) for one in found.all(attack="ppl", metric="map")):
        for one in found.all(attack="ppl", metric="map", backbone=name):
            lines.append(Line(f"{name}, {_where(one.row)}", None, one))
        first, second = _protects(found.part(backbone=name))[:2]
        relations += [
            replace(said, claim=f"{said.claim}: on {name}, with a protector from another network")
            for said in (first, second)
        ]
    return Comparison(lines, relations)


@experiment("ppl-fig4", paper=PAPER, what="Figure 4: a protector from other data", small=OTHER, minutes=8)
def fig4(found: Found, scale: Scale) -> Comparison:
    """A protector that learned on one data set, used on another."""
    figures = found.all(attack="ppl", metric="map")
    lines = [Line(f"on {one.row.dataset}, {_where(one.row)}", None, one) for one in figures]
    relations = []
    for data in dict.fromkeys(one.row.dataset for one in figures):
        relations += [
            replace(said, claim=f"{said.claim}: on {data}, with a protector from other data")
            for said in _protects(found.part(dataset=data))[:2]
        ]
    return Comparison(lines, relations)


@experiment("ppl-fig5", paper=PAPER, what="Figure 5: share of protected training pictures", small=DIGITS, minutes=8)
def fig5(found: Found, scale: Scale) -> Comparison:
    """Training on a mix: the model works in all four searches."""
    figures = found.all(attack="ppl", metric="map")
    lines = [Line(_where(one.row), None, one) for one in figures]
    relations = []
    for method, bits in _kinds(found):
        shares = [str(one.row.train) for one in found.all(attack="ppl", metric="map", method=method, bits=bits)]
        half = next((share for share in shares if share.startswith(("0.4", "0.5", "0.6"))), "none")
        own = _search(found, "C->C", method=method, bits=bits, train="C")
        least = own.scaled(1 - BOTH) if own else None
        pairs = [(_search(found, task, method=method, bits=bits, train=half), least) for task in SEARCHES]
        claim = f"{method.upper()}: with both kinds in training (share {half}), all four searches work"
        relations.append(
            found.above(claim, pairs, names=f"above {1 - BOTH:.0%} of what training and searching on C reaches")
        )
    return Comparison(lines, relations)


@experiment("ppl-fig6", paper=PAPER, what="Figure 6: MAP over eps", small="digits instead of Fashion-MNIST", minutes=10)
def fig6(found: Found, scale: Scale) -> Comparison:
    """Over eps: searches across domains fall, the search inside the protected domain stays."""
    figures = sorted(found.all(attack="ppl", metric="map"), key=_eps)
    lines = [Line(f"eps {_eps(one):g}, {_where(one.row)}", None, one) for one in figures]
    relations = []
    for method in dict.fromkeys(str(one.row.method) for one in figures):
        own = [one for one in figures if one.row.method == method]
        for task in BETWEEN:
            series = [one for one in own if (one.row.train, one.row.task) == ("C", task)]
            claim = f"{method.upper()}, trained on C: {task} falls as eps grows"
            relations.append(found.falling(claim, series, slack=0.05))
        inside = [one for one in own if (one.row.train, one.row.task) == ("A", "A->A")]
        pairs = [(inside[0], one) for one in inside[1:]]
        relations.append(found.near(f"{method.upper()}, trained on A: A->A stays as eps grows", pairs, 0.1))
    return Comparison(lines, relations)


def _where(row: Row) -> str:
    return f"{str(row.method).upper()}, trained on {row.train}, {row.task}"


def _eps(figure: Figure) -> float:
    return float((figure.row.threat or {}).get("eps", 0))


@experiment("ppl-fig7", paper=PAPER, what="Figure 7: pictures before and after", small=DIGITS, minutes=2)
def fig7(found: Found, scale: Scale) -> Comparison:
    """Examples of pictures before and after: something to look at, and how far they moved in figures."""
    claim = "The protected pictures look like the originals where eps is small"
    return Comparison([], [found.look(claim, "look at the sheet on the page; a person decides")])
