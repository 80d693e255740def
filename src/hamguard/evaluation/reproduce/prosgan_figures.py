"""ProS-GAN (Wang, Zhang, Wu, Shen, Lu, CVPR 2021): Table 3, Figures 2 to 4, and what the small form cuts."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from hamguard.evaluation.reproduce.experiment import Comparison, Line, Scale, experiment
from hamguard.evaluation.reproduce.figures import Figure
from hamguard.evaluation.reproduce.found import CURVES, Found
from hamguard.evaluation.reproduce.prosgan import PAPER, PHOTOS, SMALL, SOURCE, Pairs, rmse, t_map
from hamguard.evaluation.reproduce.published import figure

CUTS = {
    "epochs": ("three times the epochs", "3 epochs"),
    "width": ("twice the width", "a quarter of the width"),
    "prototype": ("the printed prototype, in which every pair counts alike", "a prototype with balanced pairs"),
    "sigmoid": ("the sigmoid of the text", "the sigmoid of the text"),
}
"""Cells of one change each: what is given back at small scale, and what is cut at paper scale."""
PAIRS = {True: ("batch", "balanced pairs inside the batch"), False: ("bank", "the pairs of the authors' code")}
"""The model with the other training of DPSH, at paper scale or not."""


@experiment(
    "prosgan-table3",
    paper=PAPER,
    what="Table 3: transfer",
    small=f"{SMALL}; two networks, 12 and 32 bits on one of them, 100 queries",
    minutes=10,
    photos=f"{PHOTOS}; the same on MobileNetV2, 32 bits, 100 queries, 20 gradients",
    photos_minutes=14,
)
def table3(found: Found, scale: Scale) -> Comparison:
    """Pictures made on one model, asked of others; only at paper scale the networks are the printed ones."""
    lines: list[Line] = []
    across: dict[str, list[Figure]] = {"dhta": [], "prosgan": []}
    pairs: Pairs = []
    for one in found.all(metric="t-map"):
        row = one.row
        made = (row.attack or {}).get("made_on")
        method = (row.attack or {}).get("method")
        if not made or method not in across:
            continue
        name = "ProS-GAN" if method == "prosgan" else "DHTA"
        printed = None
        if scale == "paper":
            source, target = (_printed(str(name)) for name in (made[0], row.model))
            printed = figure(
                SOURCE, "Table 3", method=f"{name}: crafted on {source}", network=f"evaluated on DPSH/{target}"
            )
        lines.append(Line(f"{name}, made on {made[0]}, asked of {row.model}, t-MAP", printed, one))
        if made[0] != row.model:
            across[str(method)].append(one)
            if method == "prosgan":
                pairs.append((one, found.one(metric="t-map", attack="dhta", made_on=made, model=row.model)))
    clean = {one.row.model: one for one in found.all(metric="t-map", attack=None)}
    gains = [(one, clean.get(one.row.model)) for one in across["prosgan"]]
    relations = [
        found.above("ProS-GAN's pictures reach other models, too (above the clean picture)", gains),
        found.above("ProS-GAN transfers better than DHTA", pairs),
    ]
    why = (
        "" if scale == "paper" else "the networks are none of the printed ones, so that no printed figure stands beside"
    )
    return Comparison(lines, relations, why=why)


def _printed(model: str) -> str:
    """`vgg11-32` as the paper writes it."""
    name, _, bits = model.partition("-")
    return f"{ {'vgg11': 'VGG11', 'alexnet': 'AlexNet', 'resnet18': 'ResNet18'}.get(name, name) }-{bits}"


@experiment(
    "prosgan-fig2",
    paper=PAPER,
    what="Figure 2: precision-recall and precision@N curves",
    small=f"{SMALL}; 32 bits",
    minutes=5,
    photos=f"{PHOTOS}; 32 bits, 100 queries, 20 gradients",
    photos_minutes=8,
)
def fig2(found: Found, scale: Scale) -> Comparison:
    """Precision-recall and precision@N curves under target labels: the plots are on the page, their means here."""
    lines = []
    better: dict[tuple[str, str], Pairs] = {("prosgan", "dhta"): [], ("dhta", "p2p"): []}
    for model in found.models:
        means = {attack: found.curves(model, attack, attack) for attack in ("p2p", "dhta", "prosgan")}
        for attack, curves in means.items():
            lines += [
                Line(f"{model}, {attack}, mean of {what} under target labels", None, row)
                for what, row in curves.items()
            ]
        for (one, other), pairs in better.items():
            pairs += [(means[one].get(what), means[other].get(what)) for what in CURVES.values()]
    return Comparison(
        lines,
        [
            found.above("ProS-GAN's curves lie above DHTA's", better["prosgan", "dhta"]),
            found.above("DHTA's curves lie above P2P's", better["dhta", "p2p"]),
        ],
    )


@experiment(
    "prosgan-fig3",
    paper=PAPER,
    what="Figure 3: answers before and after",
    small=f"{SMALL}; 32 bits",
    minutes=5,
    recipe="prosgan-fig2",
    photos=f"{PHOTOS}; 32 bits, 100 queries, 20 gradients",
    photos_minutes=8,
)
def fig3(found: Found, scale: Scale) -> Comparison:
    """Answers to a query before and after: a sheet on the page."""
    pairs = [
        (t_map(found, model, "prosgan", "prosgan"), t_map(found, model, "prosgan", None)) for model in found.models
    ]
    return Comparison(
        [], [found.above("The attacked query finds pictures of the target label (sheet on the page; t-MAP)", pairs)]
    )


@experiment(
    "prosgan-fig4",
    paper=PAPER,
    what="Figure 4: ablations and the reconstruction weight",
    small=f"{SMALL}; 32 bits, 100 queries",
    minutes=8,
)
def fig4(found: Found, scale: Scale) -> Comparison:
    """Ablations (a) and the weight of the reconstruction (b)."""
    lines: list[Line] = []
    models = found.models
    attacks = list(dict.fromkeys(attack for _, attack in found.cells))
    for model, attack in product(models, attacks):
        row = t_map(found, model, attack, "prosgan")
        if row:
            lines.append(Line(f"{model}, {attack}, t-MAP", None, row))
            lines.append(Line(f"{model}, {attack}, RMSE", None, rmse(found, model, attack, "prosgan")))

    def pairs(one: str, other: str) -> Pairs:
        return [(t_map(found, model, one, "prosgan"), t_map(found, model, other, "prosgan")) for model in models]

    weights = [name for name in ("weight25", "prosgan", "weight100", "weight200") if name in attacks]
    relations = [
        found.above(
            "Without the distance to the prototype code (GAN) the attack reaches less", pairs("prosgan", "gan")
        ),
        found.above("Without classes in the discriminator (ProS-GAN-1) it reaches less", pairs("prosgan", "prosgan1")),
    ]
    for model in models:
        tmaps = [t_map(found, model, name, "prosgan") for name in weights]
        moved = [rmse(found, model, name, "prosgan") for name in weights]
        if len([row for row in tmaps if row]) > 1:
            relations.append(
                found.falling(f"{model}: a larger reconstruction weight lowers the t-MAP", tmaps, slack=0.01)
            )
            relations.append(
                found.falling(
                    f"{model}: a larger reconstruction weight lowers the perturbation (RMSE)", moved, slack=0.001
                )
            )
    return Comparison(lines, relations)


@experiment(
    "prosgan-cuts",
    paper=PAPER,
    what="what the small form cuts, one at a time",
    small=f"{SMALL}; 32 bits, 200 queries; width 32, 9 epochs, the printed prototype, a sigmoid, DPSH by the bank",
    minutes=18,
)
def cuts(found: Found, scale: Scale) -> Comparison:
    """Which published setting that the small form leaves out matters: each is given back alone; at paper scale each is cut."""
    lines: list[Line] = []
    changes = {attack: words[scale == "paper"] for attack, words in CUTS.items()}
    for model, attack in found.cells:
        cell, method = found.of(model, attack), "dhta" if attack == "dhta" else "prosgan"
        name = {"dhta": "DHTA", "prosgan": "ProS-GAN"}.get(attack, f"ProS-GAN with {changes.get(attack)}")
        lines.append(Line(f"{model}, {name}, t-MAP", None, cell.one(attack=method, metric="t-map")))
        lines.append(
            Line(f"{model}, {name}, its guide code, t-MAP", None, cell.one(attack="ideal-code", metric="t-map"))
        )
        lines.append(Line(f"{model}, {name}, RMSE", None, cell.one(attack=method, metric="rmse")))

    def pair(model: str, attack: str, other: str) -> Pairs:
        """ProS-GAN in one cell, and what stands beside it on the same model."""
        method = "dhta" if other == "dhta" else "prosgan"
        return [(t_map(found, model, attack, "prosgan"), t_map(found, model, other, method))]

    relations = [
        found.above(f"ProS-GAN reaches more with {words}", pair("dpsh", attack, "prosgan"), ours=True)
        for attack, words in changes.items()
    ]
    for model, words in (("dpsh", ""), PAIRS[scale == "paper"]):
        where = f" on DPSH with {words}" if words else ""
        claim = f"ProS-GAN reaches more than DHTA, each at its own budget{where}"
        relations.append(found.above(claim, pair(model, "prosgan", "dhta"), ours=True))
    return Comparison(lines, relations, why=_closed(found, changes))


def _closed(found: Found, changes: Mapping[str, str]) -> str:
    """How much of what ProS-GAN lacks to DHTA each change alone brings back, the largest first."""
    own, other = t_map(found, "dpsh", "prosgan", "prosgan"), t_map(found, "dpsh", "dhta", "dhta")
    if own is None or other is None or other.value <= own.value:
        return ""
    lack = other.value - own.value
    reached = {words: t_map(found, "dpsh", attack, "prosgan") for attack, words in changes.items()}
    gains = {words: (one.value - own.value) / lack for words, one in reached.items() if one is not None}
    listed = ", ".join(f"{words} {gain:.0%}" for words, gain in sorted(gains.items(), key=lambda pair: -pair[1]))
    return f"Of the t-MAP of {lack:.3f} that ProS-GAN lacks to DHTA, so much comes back: {listed}."
