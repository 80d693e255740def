"""HAG (Yang, Liu, Deng, Tao, IEEE TCYB 50(4), 2020): MAP by iterations and bits, the slope schedule, transfer with ensembles."""

from __future__ import annotations

from hamguard.core.rows import Row
from hamguard.evaluation.reproduce.experiment import Comparison, Line, Scale, experiment
from hamguard.evaluation.reproduce.figures import Figure
from hamguard.evaluation.reproduce.found import Found
from hamguard.evaluation.reproduce.published import NAMES, figure
from hamguard.evaluation.reproduce.relations import Relation

PAPER = "Yang, Liu, Deng, Tao: HAG, IEEE TCYB 50(4), 2020"
SMALL = "product photos at 28 pixels instead of FLICKR-25K (printed figures beside ours), a small net, eps 32/255, 50 queries"


SOURCE = "HAG, TCYB 2018/2020"
DATA = "FLICKR25K"  # the printed set that the small scale stands beside


def _data(row: Row) -> str:
    """The printed data set that a row stands beside; the slides write FLICKR25K."""
    return NAMES.get(str(row.dataset), DATA).replace("FLICKR-25K", "FLICKR25K")


def _series(found: Found, model: str) -> list[tuple[int, Figure]]:
    """Steps and figure of every run of HAG on a model; the clean picture is step 0."""
    figures: dict[int, Figure] = {}
    for name, attack in found.cells:
        cell = found.of(name, attack)
        clean, attacked = cell.one(attack=None, metric="map"), cell.one(attack="hag", metric="map")
        if name == model and clean and attacked:
            figures |= {0: clean, int((attacked.row.threat or {})["steps"]): attacked}
    return sorted(figures.items())


def _line(model: str, steps: int, one: Figure) -> Line:
    bits, method = one.row.bits, f"HAG {steps} iterations"
    printed = figure(SOURCE, "MAP by iteration", dataset=_data(one.row), method=method, bits=bits)
    return Line(f"{model}, {bits} bits, {steps:,} iterations, MAP", printed, one)


@experiment(
    "hag-iterations",
    paper=PAPER,
    what="MAP by iterations",
    small=f"{SMALL}; 16 and 32 bits, to 1,000 iterations",
    minutes=10,
)
def iterations(found: Found, scale: Scale) -> Comparison:
    """MAP by number of iterations, for every code length that was run."""
    lines: list[Line] = []
    relations: list[Relation] = []
    for model in found.models:
        series = _series(found, model)
        lines += [_line(model, steps, one) for steps, one in series]
        relations.append(
            found.falling(f"{model}: MAP falls with the number of iterations", [one for _, one in series], slack=0.02)
        )
    return Comparison(lines, relations)


@experiment(
    "hag-bits", paper=PAPER, what="MAP by code length", small=f"{SMALL}; 16 to 128 bits, 100 iterations", minutes=6
)
def bits(found: Found, scale: Scale) -> Comparison:
    """The same over code lengths: longer codes do not resist."""
    lines: list[Line] = []
    drops: list[tuple[Figure | None, Figure | None]] = []
    for model in found.models:
        series = _series(found, model)
        if len(series) < 2:
            continue
        lines += [_line(model, steps, one) for steps, one in series]
        drops.append((series[0][1], series[-1][1]))
    return Comparison(lines, [found.above("HAG lowers the MAP at every code length", drops)])


@experiment(
    "hag-alpha",
    paper=PAPER,
    what="HAG without its slope schedule",
    small=f"{SMALL}; 32 bits, 500 iterations",
    minutes=6,
)
def alpha(found: Found, scale: Scale) -> Comparison:
    """HAG against HAG*, the same without the slope schedule."""
    lines: list[Line] = []
    pairs: list[tuple[Figure | None, Figure | None]] = []
    for model in found.models:
        with_it, without = (found.of(model, name).one(attack="hag", metric="map") for name in ("hag", "plain"))
        row = found.first(model)
        for one, name in ((with_it, "HAG"), (without, "HAG* (no alpha schedule)")):
            printed = figure(SOURCE, "activation ablation", dataset=_data(row), method=name, bits=row.bits)
            lines.append(Line(f"{model}, {name}, MAP", printed, one))
        pairs.append((without, with_it))
    return Comparison(lines, [found.above("The slope schedule lowers the MAP further", pairs)])


@experiment(
    "hag-transfer",
    paper=PAPER,
    what="Transfer, single and joint",
    small=f"{SMALL}; two networks, DPH and HashNet",
    minutes=12,
)
def transfer(found: Found, scale: Scale) -> Comparison:
    """Pictures made on one model, or on several together, asked of all."""
    lines: list[Line] = []
    plain = found.all(attack=None, metric="map")
    clean = {str(one.row.model): one for one in plain if one.row.model != "random codes"}
    made: dict[tuple[tuple[str, ...], str], Figure] = {}
    for one in found.all(attack="hag", metric="map"):
        sources = (one.row.attack or {}).get("made_on")
        if sources:
            made[tuple(sources), str(one.row.model)] = one
    for model, one in clean.items():
        lines.append(Line(f"clean, asked of {model}, MAP", _printed((), model), one))
    for (sources, model), one in made.items():
        lines.append(Line(f"made on {' + '.join(sources)}, asked of {model}, MAP", _printed(sources, model), one))
    singles = {key: one for key, one in made.items() if len(key[0]) == 1}
    joint = {key: one for key, one in made.items() if len(key[0]) > 1}
    own = [
        (one, singles[(model,), model])
        for (sources, model), one in singles.items()
        if sources[0] != model and ((model,), model) in singles
    ]
    falls = [(clean.get(model), one) for (sources, model), one in singles.items() if sources[0] != model]
    unseen = [
        (singles.get(((source,), model)), one)
        for (sources, model), one in joint.items()
        if model not in sources
        for source in sources
    ]
    return Comparison(
        lines,
        [
            found.above("Pictures made on another model lower the MAP, too", falls),
            found.above("A model suffers most from pictures that were made on it", own),
            found.above("Joint perturbations transfer better than single ones to models that took no part", unseen),
        ],
    )


def _printed(sources: tuple[str, ...], model: str | None) -> float | None:
    """The printed figure, where the models are those of the paper."""
    short = {"vgg16-32": "r1", "vgg16-64": "r2", "vgg19-32": "r3", "vgg19-64": "r4"}
    if not all(name in short for name in sources):
        return None
    label = "+".join(short[name] for name in sources) + (" (" if len(sources) == 1 else "") if sources else "None"
    name, _, length = str(model).partition("-")
    network = f"HashNet-ResNet50-{length}" if name == "hashnet" else f"DPH-{name.upper()}-{length}"
    return figure(SOURCE, "transfer", dataset="MS-COCO", method=f"HAG perturbation {label}", network=network)
