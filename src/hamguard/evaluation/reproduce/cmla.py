"""CMLA (Li, Gao, Deng, Xie, Liu, NeurIPS 2019): clean MAP of hardened models, MAP and distortion under attack."""

from __future__ import annotations

from itertools import product

from hamguard.evaluation.reproduce.experiment import Comparison, Line, Scale, experiment
from hamguard.evaluation.reproduce.figures import Figure
from hamguard.evaluation.reproduce.found import Found
from hamguard.evaluation.reproduce.published import figure, published
from hamguard.evaluation.reproduce.relations import Relation

PAPER = "Li, Gao, Deng, Xie, Liu: CMLA, NeurIPS 2019"
SMALL = (
    "product photos with names instead of MIRFlickr-25K (printed figures beside ours), small nets, 32 bits, 100 queries"
)


SOURCE = "CMLA, NeurIPS 2019"
DATA = "MIRFlickr-25K"  # the printed set that the small scale stands beside
MODELS = {"dcmh": "DCMH", "dcmh-static": "DCMH+", "ssah": "SSAH", "ssah-static": "SSAH+"}
TABLE = "attack MAP and D"
STAYS = 0.05  # so far may the search within move and still be said to stay
SIDES = {"image": ("image->text", "I->T"), "text": ("text->image", "T->I")}


def _attacked(found: Found, model: str, side: str, steps: int, metric: str = "map", task: str = "") -> Figure | None:
    """CMLA in its default form at the smallest radius that was run on this side, the published one."""
    where = task or (SIDES[side][0] if metric == "map" else side)
    figures = [
        one
        for one in found.all(model=model, attack="cmla", metric=metric, task=where, steps=steps, side=side)
        if not (one.row.threat or {}).get("one_sided") and not (one.row.attack or {}).get("made_on")
    ]
    return min(figures, key=lambda one: float((one.row.threat or {})["eps"]), default=None)


def _steps(found: Found, model: str, side: str) -> list[int]:
    threats = [one.row.threat or {} for one in found.all(model=model, attack="cmla", metric="map", side=side)]
    return sorted({int(threat["steps"]) for threat in threats if not threat.get("one_sided")})


@experiment(
    "cmla-clean",
    paper=PAPER,
    what="Clean MAP of DCMH, SSAH and their hardened forms",
    small=SMALL,
    minutes=25,
    recipe="cmla-attack",
)
def clean(found: Found, scale: Scale) -> Comparison:
    """Clean MAP: does training on adversaries cost anything?"""
    lines: list[Line] = []
    pairs: list[tuple[Figure | None, Figure | None]] = []
    for model, (task, word) in product(MODELS, SIDES.values()):
        row = found.one(model=model, attack=None, metric="map", task=task)
        printed = figure(SOURCE, "clean MAP", dataset=DATA, method=MODELS[model], bits=32, metric=f"{word} MAP")
        lines.append(Line(f"{MODELS[model]}, {word}, clean MAP", printed, row))
        if model.endswith("-static"):
            pairs.append((row, found.one(model=model.removesuffix("-static"), attack=None, metric="map", task=task)))
    return Comparison(lines, [found.above("Static adversarial training raises the clean MAP", pairs)])


@experiment(
    "cmla-attack", paper=PAPER, what="MAP and distortion under CMLA, plain and hardened", small=SMALL, minutes=25
)
def attack(found: Found, scale: Scale) -> Comparison:
    """MAP and distortion D by number of gradients, both directions, plain and hardened models."""
    lines: list[Line] = []
    broken: list[tuple[Figure | None, Figure | None]] = []
    held: list[tuple[Figure | None, Figure | None]] = []
    relations = []
    for model, side in product(MODELS, SIDES):
        task, word = SIDES[side]
        steps = _steps(found, model, side)
        for count in steps:
            for metric, name in (("map", "MAP under CMLA"), ("D", "distortion D")):
                row = _attacked(found, model, side, count, metric)
                lines.append(
                    Line(f"{MODELS[model]}, {word}, {count} iterations, {name}", _print(model, word, count, name), row)
                )
        if not steps:
            continue
        last = _attacked(found, model, side, steps[-1])
        if model in ("dcmh", "ssah"):
            broken.append((found.one(model=model, attack=None, metric="map", task=task), last))
            distances = [_attacked(found, model, side, count, "D") for count in steps]
            relations.append(found.falling(f"{MODELS[model]}, {side}s: D falls with more iterations", distances))
            relations.append(_own_search(found, model, side, steps[-1]))
            both = [count for count in steps if count in _steps(found, f"{model}-static", side)]
            if both:  # the longest that both models were attacked with
                held.append(
                    (_attacked(found, f"{model}-static", side, both[-1]), _attacked(found, model, side, both[-1]))
                )
    return Comparison(
        lines,
        [
            found.above("CMLA lowers the MAP of the search across modalities", broken),
            *relations,
            found.above("Static adversarial training raises the MAP under attacks made for it", held),
        ],
    )


def _own_search(found: Found, model: str, side: str, steps: int) -> Relation:
    attacked = _attacked(found, model, side, steps, task=f"{side}->{side}")
    before = found.one(model=model, attack=None, metric="map", task=f"{side}->{side}")
    return found.near(f"{MODELS[model]}, {side}s: search within the own modality stays", [(before, attacked)], STAYS)


def _print(model: str, word: str, steps: int, name: str) -> float | None:
    for one in published():
        where = (one.source, one.table, one.dataset, one.method, one.network, one.metric)
        if where == (SOURCE, TABLE, DATA, f"CMLA {steps} iterations", MODELS[model], f"{word} {name}"):
            return one.value
    return None
