"""ProS-GAN (Wang, Zhang, Wu, Shen, Lu, CVPR 2021): Tables 1 to 4 and Figures 2 to 4."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

from hamguard.evaluation.reproduce.experiment import Comparison, Line, Scale, experiment
from hamguard.evaluation.reproduce.figures import Figure
from hamguard.evaluation.reproduce.found import CURVES, Found
from hamguard.evaluation.reproduce.published import NAMES, figure
from hamguard.evaluation.reproduce.relations import Relation

PAPER = "Wang, Zhang, Wu, Shen, Lu: ProS-GAN, CVPR 2021"
SMALL = (
    "product photos at 28 pixels instead of NUS-WIDE (printed figures beside ours), a small net instead of VGG-11, "
    "eps 32/255 instead of 8/255, at which these pictures hardly move"
)


SOURCE = "ProS-GAN, CVPR 2021"
DATA = "NUS-WIDE"  # the printed set that the small scale stands beside
NOISE = 0.02  # so far may noise move the t-MAP and still be said to do nothing


def _bits(found: Found, model: str) -> int:
    return int(found.first(model).bits or 0)


def _data(found: Found, model: str) -> str:
    """The printed data set that a model stands beside."""
    return NAMES.get(str(found.first(model).dataset), DATA)


def _t(found: Found, model: str, attack: str, method: str | None) -> Figure | None:
    """A t-MAP of one attack's cell: `method` is the attack, `noise`, `ideal-code`, or None for the clean picture."""
    return found.of(model, attack).one(attack=method, metric="t-map")


def _methods(found: Found, table: str, network: Callable[[str], str]) -> Comparison:
    """Tables 1 and 4: seven rows a code length, and what the text says of them."""
    lines: list[Line] = []
    wanted = (
        ("Original", "dhta", None),
        ("Noise", "dhta", "noise"),
        ("P2P", "p2p", "p2p"),
        ("DHTA", "dhta", "dhta"),
        ("ProS-GAN", "prosgan", "prosgan"),
        ("Anchor code", "dhta", "ideal-code"),
        ("Prototype code", "prosgan", "ideal-code"),
    )
    for model in found.models:
        bits = _bits(found, model)
        for name, attack, method in wanted:
            printed = figure(
                SOURCE,
                table,
                dataset=_data(found, model),
                method=name,
                bits=bits,
                metric="t-MAP",
                network=network(model),
            )
            lines.append(Line(f"{model}, {bits} bits, {name}, t-MAP", printed, _t(found, model, attack, method)))
        printed = figure(
            SOURCE,
            table,
            dataset=_data(found, model),
            method="Original",
            bits=bits,
            metric="MAP",
            network=network(model),
        )
        clean = found.of(model, "dhta").one(attack=None, metric="map")
        lines.append(Line(f"{model}, {bits} bits, clean MAP", printed, clean))
    return Comparison(lines, _targeted(found))


def _targeted(found: Found) -> list[Relation]:
    models = found.models

    def pairs(one: tuple[str, str], other: tuple[str, str]) -> list[tuple[Figure | None, Figure | None]]:
        return [(_t(found, model, *one), _t(found, model, *other)) for model in models]

    return [
        found.near(
            "Noise changes the t-MAP of the clean picture by almost nothing",
            [(_t(found, model, "dhta", None), _t(found, model, "dhta", "noise")) for model in models],
            NOISE,
        ),
        found.above("DHTA reaches more than P2P", pairs(("dhta", "dhta"), ("p2p", "p2p"))),
        found.above("ProS-GAN reaches more than DHTA", pairs(("prosgan", "prosgan"), ("dhta", "dhta"))),
        found.above(
            "The prototype code is a better guide than the anchor code",
            pairs(("prosgan", "ideal-code"), ("dhta", "ideal-code")),
        ),
        _budget(found, models),
    ]


def _budget(found: Found, models: Sequence[str]) -> Relation:
    """Ours: the two do not move pixels alike, so that their order says little."""
    claim = "At the printed settings ProS-GAN moves pictures no further than DHTA does (RMSE)"
    pairs = [(_rmse(found, model, "dhta"), _rmse(found, model, "prosgan")) for model in models]
    return found.above(claim, pairs, ours=True)


def _rmse(found: Found, model: str, attack: str) -> Figure | None:
    return found.of(model, attack).one(attack=attack, metric="rmse")


@experiment(
    "prosgan-table1",
    paper=PAPER,
    what="Table 1: targeted attacks on DPSH",
    small=f"{SMALL}; 12 and 32 bits, 200 queries, 100 gradients",
    minutes=10,
)
def table1(found: Found, scale: Scale) -> Comparison:
    """Targeted attacks on DPSH."""
    return _methods(found, "Table 1", lambda model: "DPSH")


@experiment(
    "prosgan-table4",
    paper=PAPER,
    what="Table 4: targeted attacks on DPH and HashNet",
    small=f"{SMALL}; 32 bits, 200 queries",
    minutes=8,
)
def table4(found: Found, scale: Scale) -> Comparison:
    """The same on DPH and HashNet."""
    return _methods(found, "Table 4", lambda model: "DPH" if model.startswith("dph") else "HashNet")


@experiment(
    "prosgan-table2",
    paper=PAPER,
    what="Table 2: time and perceptibility",
    small=f"{SMALL}; 32 bits, 50 queries",
    minutes=8,
)
def table2(found: Found, scale: Scale) -> Comparison:
    """Seconds a picture, perceptibility and t-MAP of one-step and many-step attacks."""
    lines: list[Line] = []
    names = {
        "fgsm": "DHTA+FGSM (1 iter)",
        "ifgsm": "DHTA+I-FGSM (100 iter)",
        "dhta": "DHTA (2000 iter)",
        "prosgan": "ProS-GAN (1 iter)",
    }
    seconds: dict[tuple[str, str], Figure | None] = {}
    for model, (attack, name) in product(found.models, names.items()):
        cell = found.of(model, attack)
        scored, moved = cell.one(attack=attack, metric="t-map"), cell.one(attack=attack, metric="rmse")
        for metric, row, factor in (("t-MAP", scored, 1.0), ("perceptibility", moved, 100.0)):
            printed = figure(SOURCE, "Table 2", dataset=_data(found, model), method=name, metric=metric)
            ours = row.scaled(factor) if row and factor != 1 else row
            what = "t-MAP" if metric == "t-MAP" else "RMSE x 100"
            lines.append(Line(f"{model}, {name}, {what}", printed, ours))
        if scored and scored.per_query_seconds:
            seconds[model, attack] = scored.per_query_seconds
            printed = figure(SOURCE, "Table 2", dataset=_data(found, model), method=name, metric="seconds")
            lines.append(Line(f"{model}, {name}, seconds a picture", printed, seconds[model, attack], 4))

    def pairs(one: str, other: str, metric: str) -> list[tuple[Figure | None, Figure | None]]:
        """The two attacks on every model."""
        return [
            (
                found.of(model, one).one(attack=one, metric=metric),
                found.of(model, other).one(attack=other, metric=metric),
            )
            for model in found.models
        ]

    fast = [
        (seconds.get((model, slow)), seconds.get((model, "prosgan")))
        for model, slow in product(found.models, ("ifgsm", "dhta"))
    ]
    small = [*pairs("ifgsm", "dhta", "rmse"), *pairs("prosgan", "dhta", "rmse")]
    relations = [
        found.above("ProS-GAN takes less time a picture than the iterative attacks", fast),
        found.above("100 sign steps reach more than one step", pairs("ifgsm", "fgsm", "t-map")),
        found.above("100 sign steps reach at least what 2,000 raw steps reach", pairs("ifgsm", "dhta", "t-map")),
        found.above("2,000 raw steps change pictures less than sign steps and than ProS-GAN (RMSE)", small),
    ]
    return Comparison(lines, relations)


@experiment(
    "prosgan-table3",
    paper=PAPER,
    what="Table 3: transfer",
    small=f"{SMALL}; two networks, 12 and 32 bits, 100 queries",
    minutes=10,
)
def table3(found: Found, scale: Scale) -> Comparison:
    """Pictures made on one model, asked of others; at small scale the networks differ from the printed ones."""
    lines: list[Line] = []
    across: dict[str, list[Figure]] = {"dhta": [], "prosgan": []}
    pairs: list[tuple[Figure | None, Figure | None]] = []
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
    return Comparison(lines, relations)


def _printed(model: str) -> str:
    """`vgg11-32` as the paper writes it."""
    name, _, bits = model.partition("-")
    return f"{ {'vgg11': 'VGG11', 'alexnet': 'AlexNet', 'resnet18': 'ResNet18'}.get(name, name) }-{bits}"


@experiment(
    "prosgan-fig2",
    paper=PAPER,
    what="Figure 2: precision-recall and precision@N curves",
    small=f"{SMALL}; 32 bits",
    minutes=6,
)
def fig2(found: Found, scale: Scale) -> Comparison:
    """Precision-recall and precision@N curves under target labels: the plots are on the page, their means here."""
    lines = []
    better: dict[tuple[str, str], list[tuple[Figure | None, Figure | None]]] = {
        ("prosgan", "dhta"): [],
        ("dhta", "p2p"): [],
    }
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
    minutes=6,
    recipe="prosgan-fig2",
)
def fig3(found: Found, scale: Scale) -> Comparison:
    """Answers to a query before and after: a sheet on the page."""
    pairs = [(_t(found, model, "prosgan", "prosgan"), _t(found, model, "prosgan", None)) for model in found.models]
    return Comparison(
        [], [found.above("The attacked query finds pictures of the target label (sheet on the page; t-MAP)", pairs)]
    )


@experiment(
    "prosgan-fig4",
    paper=PAPER,
    what="Figure 4: ablations and the reconstruction weight",
    small=f"{SMALL}; 32 bits, 100 queries",
    minutes=20,
)
def fig4(found: Found, scale: Scale) -> Comparison:
    """Ablations (a) and the weight of the reconstruction (b)."""
    lines: list[Line] = []
    models = found.models
    attacks = list(dict.fromkeys(attack for _, attack in found.cells))
    for model, attack in product(models, attacks):
        row = _t(found, model, attack, "prosgan")
        if row:
            lines.append(Line(f"{model}, {attack}, t-MAP", None, row))
            lines.append(
                Line(f"{model}, {attack}, RMSE", None, found.of(model, attack).one(attack="prosgan", metric="rmse"))
            )

    def pairs(one: str, other: str) -> list[tuple[Figure | None, Figure | None]]:
        return [(_t(found, model, one, "prosgan"), _t(found, model, other, "prosgan")) for model in models]

    weights = [name for name in ("weight25", "prosgan", "weight100", "weight200") if name in attacks]
    relations = [
        found.above(
            "Without the distance to the prototype code (GAN) the attack reaches less", pairs("prosgan", "gan")
        ),
        found.above("Without classes in the discriminator (ProS-GAN-1) it reaches less", pairs("prosgan", "prosgan1")),
    ]
    for model in models:
        tmaps = [_t(found, model, name, "prosgan") for name in weights]
        moved = [found.of(model, name).one(attack="prosgan", metric="rmse") for name in weights]
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
