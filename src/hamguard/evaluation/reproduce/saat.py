"""SAAT (Yuan, Zhang, Wang, Wu, IEEE TIFS 2023): attacks, adversarial training, curves, examples, weights.

Tables I and II, Figures 3 to 5; the studies of lambda and mu, whose values no source at hand has (the authors' code draws six of
each). Of adversarial training the paper's table has the start model only; the control beside it, the same fine-tuning without
adversaries, is ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from hamguard.evaluation.reproduce.experiment import Comparison, Line, Scale, experiment
from hamguard.evaluation.reproduce.figures import Figure
from hamguard.evaluation.reproduce.found import CURVES, Found
from hamguard.evaluation.reproduce.published import data_beside, figure
from hamguard.evaluation.reproduce.relations import Relation

PAPER = "Yuan, Zhang, Wang, Wu: SAAT, IEEE TIFS 2023"
SMALL = "product photos at 28 pixels instead of FLICKR-25K (printed figures beside ours), a small net, eps 32/255, full ranking"
PHOTOS = (
    "8,000 MS-COCO photos of 112 pixels with 18 labels, a head on frozen EfficientNet-Lite0, full ranking, one seed"
)
SOURCE = "SAAT, TIFS 2023"
DATA = "FLICKR-25K"  # the printed set that others stand beside
AWAY = {"hag": "HAG", "sdha": "SDHA", "mainstay": "SAAT attack"}
TOWARD = {"p2p": "P2P", "dhta": "DHTA", "prosgan": "ProS-GAN", "tha": "THA", "saat": "SAAT attack"}
METHOD = {"saat": "mainstay"}  # the attack of SAAT is the mainstay attack
TRAINED = {"saat": "SAAT adversarial training", "atrdh": "ATRDH adversarial training"}
HITS = "[ties=stable,norm=hits]"  # MAP@5000 as printed: over the hits among the 5,000
LESS = {"half": "half the radius, 16/255", "eighth": "an eighth of the radius, 1/255"}
"""Blocks of attacks whose tables are called `NAME-half` or `NAME-eighth`: at the full radius all end near the floor."""


def _why(found: Found, scale: Scale) -> str:
    """Why small figures are others, with the figures between which ours must lie."""
    model = next((name for name in found.models if "+" not in name), "")
    cell = found.of(model, "mainstay")
    floor, chance = cell.one(attack="ideal-code", metric="map", at=None), cell.one(metric="random_map")
    if scale == "paper" or floor is None or chance is None:
        return ""
    if scale == "photos":
        return (
            f"18 labels instead of 80, and a network that learned nothing but its head from them; random codes reach a MAP of "
            f"{chance.value:.2f}, and the code that SAAT's attack leaves for has one of {floor.value:.2f}"
        )
    return (
        "a net from scratch and photos of which few share a label: random codes reach a MAP of "
        f"{chance.value:.2f}, while of FLICKR-25K about 0.6 of the pairs are alike, which lifts printed figures, t-MAP most; at "
        f"32/255 all attacks stand near the floor: the code that SAAT's attack leaves for has a MAP of {floor.value:.2f}"
    )


def _data(found: Found, model: str) -> str:
    """The printed data set that a model stands beside; both tables have the same three."""
    return data_beside(found.first(model).dataset, SOURCE, "Table I", DATA)


def _figure(found: Found, model: str, attack: str, metric: str) -> Figure | None:
    """At 5,000 as printed where that was measured, else over the full ranking."""
    cell = found.of(model, attack)
    name = attack.partition("-")[0]
    method = METHOD.get(name, name)
    return cell.one(attack=method, metric=metric + HITS, at=5000) or cell.one(attack=method, metric=metric, at=None)


def _clean(found: Found, model: str) -> Figure | None:
    cell = found.of(model, "hag")
    return cell.one(attack=None, metric="map" + HITS, at=5000) or cell.one(attack=None, metric="map", at=None)


def _bits(found: Found, model: str) -> int:
    return found.first(model).bits or 0


def _table_one(found: Found, model: str, name: str, metric: str) -> float | None:
    where = {"dataset": _data(found, model), "method": name, "bits": _bits(found, model)}
    return figure(SOURCE, "Table I", metric=metric, **where)


def _attack_lines(found: Found, model: str) -> Iterator[Line]:
    """The clean figure and the attacks; then those of a smaller radius, where they were run."""
    title = f"{model}, {_bits(found, model)} bits"
    yield Line(f"{title}, clean MAP", _table_one(found, model, "Original", "MAP@5000"), _clean(found, model))
    for metric, names in (("map", AWAY), ("t-map", TOWARD)):
        what = metric.replace("map", "MAP")
        for attack, name in names.items():
            printed = _table_one(found, model, name, f"{what}@5000")
            yield Line(f"{title}, {name}, {what}", printed, _figure(found, model, attack, metric))
    yield from _less_lines(found, model, title)


def _less_lines(found: Found, model: str, title: str) -> Iterator[Line]:
    """The attacks away at a smaller radius, where they were run."""
    for (end, block), (attack, name) in product(LESS.items(), AWAY.items()):
        if (model, f"{attack}-{end}") in found.cells:
            yield Line(f"{title}, {name}, MAP", None, _figure(found, model, f"{attack}-{end}", "map"), block=block)


def _smaller(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """Which smaller radii were run: how the tables of their attacks end, and the words for it."""
    words = {"half": "half", "eighth": "an eighth of"}
    return [(end, words[end]) for end, block in LESS.items() if any(line.block == block for line in lines)]


@experiment(
    "saat-table1",
    paper=PAPER,
    what="Table I: attacks on DPH",
    small=f"{SMALL}; 32 bits, 200 queries, two seeds, 100 gradients for each attack",
    minutes=8,
    photos=f"{PHOTOS}; 32 bits, 100 queries, 20 gradients for each attack; the generator of `prosgan-table1`",
    photos_minutes=10,
)
def table1(found: Found, scale: Scale) -> Comparison:
    """Attacks away (MAP) and toward (t-MAP) on an undefended model."""
    lines = [line for model in found.models for line in _attack_lines(found, model)]

    def lower(other: str, end: str = "") -> list[tuple[Figure | None, Figure | None]]:
        names = [(model, _figure(found, model, f"mainstay{end}", "map")) for model in found.models]
        return [(_figure(found, model, f"{other}{end}", "map"), own) for model, own in names]

    def higher(other: str) -> list[tuple[Figure | None, Figure | None]]:
        names = [(model, _figure(found, model, "saat", "t-map")) for model in found.models]
        return [(own, _figure(found, model, other, "t-map")) for model, own in names]

    relations = [
        *(found.above(f"SAAT's attack leaves less MAP than {AWAY[other]}", lower(other)) for other in ("hag", "sdha")),
        *(
            found.above(f"SAAT's attack reaches more t-MAP than {TOWARD[other]}", higher(other))
            for other in ("p2p", "dhta", "tha")
        ),
        found.above(
            "SAAT's attack reaches more t-MAP than ProS-GAN",
            higher("prosgan"),
            printed="on NUS-WIDE at 16 and at 32 bits ProS-GAN's printed figure is the higher one",
        ),
    ]
    for end, part in _smaller(lines):
        relations += [
            found.above(
                f"SAAT's attack leaves less MAP than {AWAY[other]} at {part} the radius",
                lower(other, f"-{end}"),
                ours=True,
            )
            for other in ("hag", "sdha")
        ]
    return Comparison(lines, relations, why=_why(found, scale))


@experiment(
    "saat-table2",
    paper=PAPER,
    what="Table II: adversarial training",
    small=f"{SMALL}; 32 bits, 200 queries, two seeds, 3 epochs of each training",
    minutes=10,
    photos=f"{PHOTOS}; 32 bits, 60 queries, 20 gradients; each training is one short epoch of all weights over 2,000 pictures, "
    "with adversaries inside 2/255",
    photos_minutes=9,
)
def table2(found: Found, scale: Scale) -> Comparison:
    """MAP of hardened models under attacks that are made for each."""
    plain = [model for model in found.models if "+" not in model]
    lines: list[Line] = []
    for model in plain:
        for kind in ("none", "control", *TRAINED):
            title = model if kind == "none" else f"{model}+{kind}"
            words = f"{model}, {_bits(found, model)} bits, {kind}"
            lines.append(Line(f"{words}, clean MAP", _printed(found, model, kind, "Original"), _clean(found, title)))
            for attack, name in AWAY.items():
                ours = _figure(found, title, attack, "map")
                lines.append(Line(f"{words}, {name}, MAP", _printed(found, model, kind, name), ours))
            lines += _less_lines(found, title, words)

    def pairs(one: str, other: str, end: str = "") -> list[tuple[Figure | None, Figure | None]]:
        attacks = [f"{attack}{end}" for attack in AWAY]
        return [
            (_figure(found, f"{model}+{one}", attack, "map"), _figure(found, f"{model}{other}", attack, "map"))
            for model in plain
            for attack in attacks
        ]

    relations = [
        found.above(
            f"{kind.upper()}'s training raises the MAP under every attack",
            pairs(kind, ""),
            control=pairs(kind, "+control"),
        )
        for kind in TRAINED
    ]
    relations.append(
        found.above(
            "SAAT's training holds more than ATRDH's under every attack",
            pairs("saat", "+atrdh"),
            control=pairs("saat", "+control"),
            printed="on FLICKR-25K at 16 bits ATRDH's printed figures are the higher ones, under all three attacks",
        )
    )
    relations.append(
        found.above(
            "SAAT's training keeps more clean MAP than ATRDH's",
            [(_clean(found, f"{model}+saat"), _clean(found, f"{model}+atrdh")) for model in plain],
            printed="in 8 of 12 printed cells ATRDH keeps more",
        )
    )
    relations += [
        found.above(
            f"{kind.upper()}'s training raises the MAP under every attack at {part} the radius",
            pairs(kind, "", f"-{end}"),
            control=pairs(kind, "+control", f"-{end}"),
            ours=True,
        )
        for end, part in _smaller(lines)
        for kind in TRAINED
    ]
    return Comparison(lines, relations, why=_why(found, scale))


def _printed(found: Found, model: str, kind: str, name: str) -> float | None:
    """Table I for the start model, Table II for hardened ones, nothing for the control, which is ours."""
    if kind == "none":
        return _table_one(found, model, name, "MAP@5000")
    where = {"dataset": _data(found, model), "method": name, "bits": _bits(found, model)}
    return figure(SOURCE, "Table II", train=TRAINED[kind], **where) if kind in TRAINED else None


@experiment(
    "saat-curves",
    paper=PAPER,
    what="Figures 3 and 4: curves under attack",
    small=f"{SMALL}; 32 bits, 200 queries",
    minutes=2,
)
def curves(found: Found, scale: Scale) -> Comparison:
    """Precision-recall and precision@N curves under attack: the plots are on the page, their means here."""
    lines: list[Line] = []
    relations = []
    means = {(model, attack): found.curves(model, attack, attack) for model in found.models for attack in AWAY}
    for (model, attack), own in means.items():
        lines += [Line(f"{model}, {AWAY[attack]}, mean of {what}", None, one) for what, one in own.items()]
    for other in ("hag", "sdha"):
        pairs = [
            (means[model, other].get(what), means[model, "mainstay"].get(what))
            for model in found.models
            for what in CURVES.values()
        ]
        relations.append(found.above(f"The curves under SAAT's attack lie below those under {AWAY[other]}", pairs))
    return Comparison(lines, relations)


@experiment(
    "saat-fig5",
    paper=PAPER,
    what="Figure 5: answers before and after, away and toward a target",
    small=f"{SMALL}; 32 bits, 200 queries",
    minutes=2,
)
def fig5(found: Found, scale: Scale) -> Comparison:
    """Sheets of queries and their answers on the page; here, how many of the first five answers fit."""
    lines: list[Line] = []
    left: list[tuple[Figure | None, Figure | None]] = []
    reached: list[tuple[Figure | None, Figure | None]] = []
    for model in found.models:
        away, toward = found.of(model, "mainstay"), found.of(model, "saat")
        own = [_first_five(away, None, ""), _first_five(away, "mainstay", "")]
        target = [_first_five(toward, None, "t-"), _first_five(toward, "mainstay", "t-")]
        for words, pair in (("share a label with the query", own), ("carry the target label", target)):
            for when, one in zip(("before", "after"), pair, strict=True):
                lines.append(Line(f"{model}, first five answers that {words}, {when}", None, one))
        left.append((own[0], own[1]))
        reached.append((target[1], target[0]))
    relations = [
        found.above("Away from its code, a query's first five answers no longer share its label", left),
        found.above("Toward a target, a query's first five answers carry the target label", reached),
        found.look("Queries look unchanged, and their answers are others", "two sheets on the page; a person decides"),
    ]
    return Comparison(lines, relations)


def _first_five(cell: Found, attack: str | None, labels: str) -> Figure | None:
    """Precision at 5 under the labels of the queries, or of the targets (`t-`)."""
    found = [one for one in cell.all(attack=attack, at=5) if str(one.row.metric).startswith(f"{labels}precision")]
    return found[0] if found else None


@experiment(
    "saat-weights",
    paper=PAPER,
    what="lambda and mu of adversarial training",
    small=f"{SMALL}; 32 bits, 100 queries, 2 epochs; the values of both weights are ours",
    minutes=6,
)
def weights(found: Found, scale: Scale) -> Comparison:
    """MAP, clean and under attack, over each weight, the other one at the authors' value."""
    lines: list[Line] = []
    relations = []
    for model in (name for name in found.models if "+" not in name):
        for letter, key, fixed in (("lambda", "lam", {"mu": 1e-4}), ("mu", "mu", {"lam": 1.0})):
            titles = _by_weight(found, model, key, fixed)
            for value, title in titles:
                words = f"{model}, {letter} = {value:g}"
                lines.append(Line(f"{words}, clean MAP", None, _clean(found, title), block=letter))
                lines += [
                    Line(f"{words}, {name}, MAP", None, _figure(found, title, attack, "map"), block=letter)
                    for attack, name in AWAY.items()
                ]
            if len(titles) > 1:
                relations += _weight_relations(found, model, letter, [title for _, title in titles])
    return Comparison(lines, relations)


def _by_weight(found: Found, model: str, key: str, fixed: dict[str, float]) -> list[tuple[float, str]]:
    """Hardened models that differ in one weight alone, by its value."""
    titles = []
    for title in found.models:
        defense = found.first(title).defense or {}
        settings = defense.get("settings", {})
        if title.startswith(f"{model}+") and defense.get("method") == "saat" and fixed.items() <= settings.items():
            titles.append((float(settings[key]), title))
    return sorted(titles)


def _weight_relations(found: Found, model: str, letter: str, titles: Sequence[str]) -> list[Relation]:
    """Questions of ours: the plots at hand have no numbers."""
    first, last = titles[0], titles[-1]
    attacked = [(_figure(found, last, attack, "map"), _figure(found, first, attack, "map")) for attack in AWAY]
    clean = (_clean(found, first), _clean(found, last))
    if letter == "lambda":
        return [
            found.above(
                f"{model}: the largest lambda holds more under every attack than the least", attacked, ours=True
            ),
            found.above(f"{model}: the largest lambda costs clean MAP against the least", [clean], ours=True),
        ]
    return [
        found.near(f"{model}: mu hardly matters, clean or under attack", [*attacked, clean], 0.03, ours=True),
    ]
