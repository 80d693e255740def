"""SAAT (Yuan, Zhang, Wang, Wu, IEEE TIFS 2023): attacks (Table I), defenses (Table II), curves under attack (Figures 3 and 4)."""

from __future__ import annotations

from itertools import product

from hamguard.evaluation.reproduce.experiment import Comparison, Line, Scale, experiment
from hamguard.evaluation.reproduce.figures import Figure
from hamguard.evaluation.reproduce.found import CURVES, Found
from hamguard.evaluation.reproduce.published import NAMES, figure

PAPER = "Yuan, Zhang, Wang, Wu: SAAT, IEEE TIFS 2023"
SMALL = "product photos at 28 pixels instead of FLICKR-25K (printed figures beside ours), a small net, eps 32/255, full ranking"


SOURCE = "SAAT, TIFS 2023"
DATA = "FLICKR-25K"  # the printed set that the small scale stands beside
AWAY = {"hag": "HAG", "sdha": "SDHA", "mainstay": "SAAT attack"}
TOWARD = {"p2p": "P2P", "dhta": "DHTA", "prosgan": "ProS-GAN", "tha": "THA", "saat": "SAAT attack"}
METHOD = {"saat": "mainstay"}  # the attack of SAAT is the mainstay attack


def _data(found: Found, model: str) -> str:
    """The printed data set that a model stands beside."""
    return NAMES.get(str(found.first(model).dataset), DATA)


def _figure(found: Found, model: str, attack: str, metric: str) -> Figure | None:
    """At 5,000 as printed where that was measured, else over the full ranking."""
    want = {"attack": METHOD.get(attack, attack), "metric": metric}
    return found.of(model, attack).one(**want, at=5000) or found.of(model, attack).one(**want)


def _clean(found: Found, model: str) -> Figure | None:
    cell = found.of(model, "hag")
    return cell.one(attack=None, metric="map", at=5000) or cell.one(attack=None, metric="map")


@experiment(
    "saat-table1", paper=PAPER, what="Table I: attacks on DPH", small=f"{SMALL}; 32 bits, 200 queries", minutes=10
)
def table1(found: Found, scale: Scale) -> Comparison:
    """Attacks away (MAP) and toward (t-MAP) on an undefended model."""
    lines: list[Line] = []
    models = found.models
    for model in models:
        clean = _clean(found, model)
        bits = clean.row.bits if clean else 0
        for metric, table, row_of in (("map", AWAY, "MAP@5000"), ("t-map", TOWARD, "t-MAP@5000")):
            if metric == "map":
                printed = figure(
                    SOURCE, "Table I", dataset=_data(found, model), method="Original", bits=bits, metric=row_of
                )
                lines.append(Line(f"{model}, {bits} bits, clean MAP", printed, clean))
            for attack, name in table.items():
                printed = figure(SOURCE, "Table I", dataset=_data(found, model), method=name, bits=bits, metric=row_of)
                what = "t-MAP" if metric == "t-map" else "MAP"
                lines.append(
                    Line(f"{model}, {bits} bits, {name}, {what}", printed, _figure(found, model, attack, metric))
                )
    lower = [
        (_figure(found, model, other, "map"), _figure(found, model, "mainstay", "map"))
        for model in models
        for other in ("hag", "sdha")
    ]
    higher = [
        (_figure(found, model, "saat", "t-map"), _figure(found, model, other, "t-map"))
        for model in models
        for other in ("p2p", "dhta", "prosgan", "tha")
    ]
    return Comparison(
        lines,
        [
            found.above("SAAT's attack leaves less MAP than HAG and SDHA", lower),
            found.above("SAAT's attack reaches more t-MAP than P2P, DHTA, ProS-GAN and THA", higher),
        ],
    )


@experiment(
    "saat-table2",
    paper=PAPER,
    what="Table II: adversarial training",
    small=f"{SMALL}; 32 bits, 200 queries, 3 epochs",
    minutes=12,
)
def table2(found: Found, scale: Scale) -> Comparison:
    """MAP of hardened models under attacks that are made for each."""
    lines: list[Line] = []
    plain = [model for model in found.models if "+" not in model]
    kinds = {"saat": "SAAT adversarial training", "atrdh": "ATRDH adversarial training"}
    stronger: list[tuple[Figure | None, Figure | None]] = []
    gained: list[tuple[Figure | None, Figure | None]] = []
    clean: list[tuple[Figure | None, Figure | None]] = []
    for model, kind in product(plain, ("none", "control", *kinds)):
        title = model if kind == "none" else f"{model}+{kind}"
        own = _clean(found, title)
        bits = own.row.bits if own else 0
        printed = _printed(_data(found, model), kinds.get(kind), "Original", bits)
        lines.append(Line(f"{model}, {bits} bits, {kind}, clean MAP", printed, own))
        for attack, name in AWAY.items():
            row = _figure(found, title, attack, "map")
            lines.append(
                Line(
                    f"{model}, {bits} bits, {kind}, {name}, MAP",
                    _printed(_data(found, model), kinds.get(kind), name, bits),
                    row,
                )
            )
    for model, attack in product(plain, AWAY):
        saat, atrdh, none = (_figure(found, f"{model}{end}", attack, "map") for end in ("+saat", "+atrdh", ""))
        stronger.append((saat, atrdh))
        gained += [(saat, none), (atrdh, none)]
    for model in plain:
        both = [_clean(found, f"{model}+{kind}") for kind in ("saat", "atrdh")]
        clean.append((both[0], both[1]))
    return Comparison(
        lines,
        [
            found.above("Adversarial training raises the MAP under every attack", gained),
            found.above("SAAT's training holds more than ATRDH's under every attack", stronger),
            found.above("SAAT's training keeps more clean MAP than ATRDH's", clean),
        ],
    )


def _printed(data: str, train: str | None, name: str, bits: int | None) -> float | None:
    if train is None:
        return figure(SOURCE, "Table I", dataset=data, method=name, bits=bits, metric="MAP@5000")
    return figure(SOURCE, "Table II", dataset=data, method=name, bits=bits, train=train)


@experiment(
    "saat-curves",
    paper=PAPER,
    what="Figures 3 and 4: curves under attack",
    small=f"{SMALL}; 32 bits, 200 queries",
    minutes=6,
)
def curves(found: Found, scale: Scale) -> Comparison:
    """Precision-recall and precision@N curves under attack: the plots are on the page, their means here."""
    lines: list[Line] = []
    pairs: list[tuple[Figure | None, Figure | None]] = []
    for model in found.models:
        means = {attack: found.curves(model, attack, attack) for attack in AWAY}
        for attack, own in means.items():
            lines += [Line(f"{model}, {AWAY[attack]}, mean of {what}", None, row) for what, row in own.items()]
        for other in ("hag", "sdha"):
            pairs += [(means[other].get(what), means["mainstay"].get(what)) for what in CURVES.values()]
    return Comparison(lines, [found.above("The curves under SAAT's attack lie below those under HAG and SDHA", pairs)])
