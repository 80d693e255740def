"""CMLA (Li, Gao, Deng, Xie, Liu, NeurIPS 2019): clean MAP by code length, MAP and distortion under attack, curves, examples.

The paper's sentences are judged on the published form (one-sided, `preset="paper"`). Our form stands in a block of its own, and the
same questions asked of it are ours. What is said of static training is asked beside fine-tuning without adversaries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from hamguard.core.rows import Row
from hamguard.evaluation.reproduce.experiment import Comparison, Line, Scale, experiment
from hamguard.evaluation.reproduce.figures import Figure, mean_of
from hamguard.evaluation.reproduce.found import CURVES, Found
from hamguard.evaluation.reproduce.published import data_beside, figure, published
from hamguard.evaluation.reproduce.relations import Relation

PAPER = "Li, Gao, Deng, Xie, Liu: CMLA, NeurIPS 2019"
SMALL_DATA = "product photos with names instead of MIRFlickr-25K (printed figures beside ours), small nets, 100 queries"
SMALL = f"{SMALL_DATA}; static training on adversaries of a fifth of the pairs after 20 steps, 3 epochs"
SOURCE = "CMLA, NeurIPS 2019"
DATA = "MIRFlickr-25K"  # the printed set that others stand beside
PRINTED = {"dcmh": "DCMH", "ssah": "SSAH"}
TABLE = "attack MAP and D"
STAYS = 0.05  # so far may the search within move and still be said to stay
SIDES = {"image": ("image->text", "I->T"), "text": ("text->image", "T->I")}
KINDS = {"": "", "static": "+", "control": ", fine-tuned without adversaries"}
FORMS = {"published form": True, "our form": False}
"""Of the attack, and whether it is one-sided; the first is the paper's."""
SHORT = "three code lengths, shorter training"
PHOTOS = (
    "8,000 MS-COCO photos of 112 pixels with captions and 18 labels (printed figures of MIRFlickr-25K beside ours); what is "
    "learned stands above a frozen EfficientNet-Lite0"
)
DEFENDED = (
    "static training on adversaries of a tenth of the pairs after 20 steps, 3 epochs, the network of pictures frozen"
)
WHY: dict[Scale, str] = {
    "small": "other data (product photos, names of some eight words, 41 labels), a net of eight small convolutions from scratch "
    "instead of CNN-F with ImageNet's weights, 100 queries and our training of DCMH and SSAH",
    "photos": "other data (photos with a caption of some ten words, 18 labels), an EfficientNet-Lite0 that stays as ImageNet left "
    "it instead of a CNN-F that learns, few queries and our training of DCMH and SSAH",
    "paper": "torchvision's AlexNet instead of CNN-F, both with ImageNet's weights",
}

Pairs = list[tuple[Figure | None, Figure | None]]


@dataclass(frozen=True)
class Victim:
    """A model before any defense.

    Attributes:
        name: of its rows.
        method: `dcmh` or `ssah`.
        bits: code length.
        data: the printed data set that it stands beside.
        dataset: its own.
    """

    name: str
    method: str
    bits: int
    data: str
    dataset: str

    def named(self, kind: str) -> str:
        """Its rows as it was, or after a defense."""
        return f"{self.name}-{kind}" if kind else self.name

    def title(self, kind: str = "") -> str:
        """As the paper writes it."""
        return PRINTED[self.method] + KINDS[kind]


def _beside(row: Row) -> str:
    """The printed data set that a row stands beside; both tables have the same."""
    return data_beside(row.dataset, SOURCE, TABLE, DATA)


def _victims(found: Found) -> list[Victim]:
    rows = [one.row for one in found.all(attack=None, metric="map", task="image->text", defense=None)]
    known = [
        Victim(str(row.model), str(row.method), int(row.bits or 0), _beside(row), str(row.dataset))
        for row in rows
        if row.method in PRINTED
    ]
    return list({one.name: one for one in known}.values())


def _where(victim: Victim, victims: Sequence[Victim]) -> str:
    """The data set, where there are several."""
    return f"{victim.data}, " if len({one.dataset for one in victims}) > 1 else ""


def _clean(found: Found, victim: Victim, kind: str, task: str, metric: str = "map") -> Figure | None:
    return found.one(model=victim.named(kind), attack=None, metric=metric, task=task)


def _attacked(found: Found, victim: Victim, kind: str, one_sided: bool, side: str, **more: object) -> list[Figure]:
    """CMLA in one form; ours at the smallest radius that was run on this side, the published one."""
    want = {"attack": "cmla", "side": side, "one_sided": one_sided, "made_on": None, **more}
    figures = found.all(model=victim.named(kind), **want)
    least = min((float((one.row.threat or {})["eps"]) for one in figures), default=0.0)
    return [one for one in figures if float((one.row.threat or {})["eps"]) == least]


def _first(figures: Sequence[Figure]) -> Figure | None:
    return figures[0] if figures else None


def _map(found: Found, victim: Victim, kind: str, one_sided: bool, side: str, steps: int) -> Figure | None:
    task = SIDES[side][0]
    return _first(_attacked(found, victim, kind, one_sided, side, metric="map", task=task, steps=steps))


def _distance(found: Found, victim: Victim, kind: str, one_sided: bool, side: str, steps: int) -> Figure | None:
    return _first(_attacked(found, victim, kind, one_sided, side, metric="D", task=side, steps=steps))


def _steps(found: Found, victim: Victim, kind: str, one_sided: bool, side: str) -> list[int]:
    figures = _attacked(found, victim, kind, one_sided, side, metric="map", task=SIDES[side][0])
    return sorted({int((one.row.threat or {})["steps"]) for one in figures})


def _last(found: Found, victim: Victim, kinds: Sequence[str], one_sided: bool, side: str) -> int | None:
    """The most gradients that all of these were attacked with."""
    marks = [set(_steps(found, victim, kind, one_sided, side)) for kind in kinds]
    shared = set.intersection(*marks)
    return max(shared) if shared else None


@experiment(
    "cmla-clean",
    paper=PAPER,
    what="Clean MAP of DCMH, SSAH and their hardened forms, by code length",
    small=f"{SMALL}; 16, 32 and 64 bits",
    minutes=20,
    photos=f"{PHOTOS}; {DEFENDED}; 16, 32 and 64 bits, 100 queries",
    photos_minutes=8,
)
def clean(found: Found, scale: Scale) -> Comparison:
    """Clean MAP by code length: does training on adversaries cost anything?"""
    victims, lines, relations = _victims(found), list[Line](), list[Relation]()
    for victim, kind, (task, word) in product(victims, KINDS, SIDES.values()):
        row = _clean(found, victim, kind, task)
        if row is None and kind:
            continue  # not hardened in this recipe
        printed = None
        if kind != "control":
            asked = {"dataset": victim.data, "bits": victim.bits, "metric": f"{word} MAP"}
            printed = figure(SOURCE, "clean MAP", method=victim.title(kind), **asked)
        setting = f"{_where(victim, victims)}{victim.title(kind)}, {victim.bits} bits, {word}, clean MAP"
        lines.append(Line(setting, printed, row, block=_series(victim)))
    lines += _by_length(found, victims)
    for group in _groups(victims):
        hard = [victim for victim in group if _clean(found, victim, "static", "image->text")]
        relations += _raises_clean(found, hard, victims)
        relations += _longer(found, group, victims)
    return Comparison(lines, relations, WHY[scale], {SHORT: "5 (DCMH) and 3 (SSAH) epochs, so that three lengths fit"})


def _series(victim: Victim) -> str:
    return SHORT if "-short" in victim.name else ""


def _groups(victims: Sequence[Victim]) -> list[list[Victim]]:
    """Models that differ in their code length alone."""
    groups: dict[tuple[str, str, str], list[Victim]] = {}
    for one in victims:
        groups.setdefault((one.dataset, one.method, _series(one)), []).append(one)
    return list(groups.values())


def _by_length(found: Found, victims: Sequence[Victim]) -> Iterator[Line]:
    """The published form after its fewest gradients, where several lengths were attacked."""
    for victim, (side, (_, word)) in product(victims, SIDES.items()):
        if _series(victim) and (steps := _steps(found, victim, "", True, side)):
            setting = f"{victim.title()}, {victim.bits} bits, {word}, {steps[0]} iterations, MAP under CMLA"
            row = _map(found, victim, "", True, side, steps[0])
            yield Line(setting, _print(victim, "", word, steps[0], "MAP under CMLA"), row, block=SHORT)


def _raises_clean(found: Found, hard: Sequence[Victim], victims: Sequence[Victim]) -> Iterator[Relation]:
    if not hard:
        return
    pairs, control = Pairs(), Pairs()
    for victim, (task, _) in product(hard, SIDES.values()):
        row = _clean(found, victim, "static", task)
        pairs.append((row, _clean(found, victim, "", task)))
        control.append((row, _clean(found, victim, "control", task)))
    claim = f"{_where(hard[0], victims)}{hard[0].title()}: static adversarial training raises the clean MAP"
    yield found.above(claim, pairs, control=control)


def _longer(found: Found, group: Sequence[Victim], victims: Sequence[Victim]) -> Iterator[Relation]:
    by_bits = {victim.bits: victim for victim in group}
    if not {16, 64} <= set(by_bits):
        return
    pairs = [(_clean(found, by_bits[64], "", task), _clean(found, by_bits[16], "", task)) for task, _ in SIDES.values()]
    claim = f"{_where(group[0], victims)}{group[0].title()}: the clean MAP is higher with 64 bits than with 16"
    yield found.above(claim, pairs)


@experiment(
    "cmla-attack",
    paper=PAPER,
    what="MAP and distortion under CMLA, plain and hardened",
    small=f"{SMALL}; 32 bits",
    minutes=40,
    photos=f"{PHOTOS}; {DEFENDED}; 32 bits, 50 queries, to 100 iterations",
    photos_minutes=12,
)
def attack(found: Found, scale: Scale) -> Comparison:
    """MAP and distortion D by number of gradients, both directions, plain and hardened models, both forms of the attack."""
    victims, lines, relations = _victims(found), list[Line](), list[Relation]()
    for (form, one_sided), victim, kind, side in product(FORMS.items(), victims, KINDS, SIDES):
        word = SIDES[side][1]
        for count in _steps(found, victim, kind, one_sided, side):
            for name, asked in (("MAP under CMLA", _map), ("distortion D", _distance)):
                printed = _print(victim, kind, word, count, name) if one_sided else None
                setting = f"{_where(victim, victims)}{victim.title(kind)}, {word}, {count} iterations, {name}"
                lines.append(Line(setting, printed, asked(found, victim, kind, one_sided, side, count), block=form))
    for form in FORMS:
        for side in SIDES:
            relations += _across(found, victims, form, side)
        for victim, side in product(victims, SIDES):
            relations += _of_one(found, victim, victims, form, side)
        relations += [_hardened(found, victims, form, side) for side in SIDES]
    blocks = {
        "published form": f"{WHY[scale]}; the attack's own settings are the published ones",
        "our form": "another attack (see the card of cmla), which the paper does not have; no printed figure stands beside it",
    }
    return Comparison(lines, relations, block_why=blocks)


def _said(claim: str, form: str) -> str:
    return claim if FORMS[form] else f"{claim} ({form})"


def _across(found: Found, victims: Sequence[Victim], form: str, side: str) -> Iterator[Relation]:
    pairs = Pairs()
    for victim in victims:
        last = _last(found, victim, [""], FORMS[form], side)
        attacked = None if last is None else _map(found, victim, "", FORMS[form], side, last)
        pairs.append((_clean(found, victim, "", SIDES[side][0]), attacked))
    claim = f"CMLA on {side}s lowers the MAP of the search across modalities"
    yield found.above(_said(claim, form), pairs, ours=not FORMS[form])


def _of_one(found: Found, victim: Victim, victims: Sequence[Victim], form: str, side: str) -> Iterator[Relation]:
    """What is said of the distances, and of the search within the own modality."""
    one_sided, who = FORMS[form], f"{_where(victim, victims)}{victim.title()}, {side}s"
    steps = _steps(found, victim, "", one_sided, side)
    distances = [_distance(found, victim, "", one_sided, side, count) for count in steps]
    yield found.falling(_said(f"{who}: D falls with more iterations", form), distances, ours=not one_sided)
    own = f"{side}->{side}"
    after = _first(
        _attacked(found, victim, "", one_sided, side, metric="map", task=own, steps=steps[-1] if steps else 0)
    )
    claim = _said(f"{who}: the search within the own modality stays", form)
    yield found.near(claim, [(_clean(found, victim, "", own), after)], STAYS, ours=not one_sided)


def _hardened(found: Found, victims: Sequence[Victim], form: str, side: str) -> Relation:
    """Static training against the plain model and beside the control, after the most gradients of all three."""
    one_sided, pairs, control = FORMS[form], Pairs(), Pairs()
    for victim in victims:
        last = _last(found, victim, list(KINDS), one_sided, side)
        rows = {kind: None if last is None else _map(found, victim, kind, one_sided, side, last) for kind in KINDS}
        pairs.append((rows["static"], rows[""]))
        control.append((rows["static"], rows["control"]))
    claim = _said(f"Static adversarial training raises the MAP under CMLA on {side}s made for it", form)
    return found.above(claim, pairs, control=control, ours=not one_sided)


def _print(victim: Victim, kind: str, word: str, steps: int, name: str) -> float | None:
    if kind == "control" or victim.bits != 32:
        return None
    asked = (SOURCE, TABLE, victim.data, f"CMLA {steps} iterations", victim.title(kind), f"{word} {name}")
    for one in published():
        if (one.source, one.table, one.dataset, one.method, one.network, one.metric) == asked:
            return one.value
    return None


@experiment(
    "cmla-curves",
    paper=PAPER,
    what="Figure: precision-recall and precision@1000 curves, clean and under CMLA",
    small=f"{SMALL}; 32 bits",
    minutes=40,
    recipe="cmla-attack",
    photos=f"{PHOTOS}; {DEFENDED}; 32 bits, 50 queries, to 100 iterations",
    photos_minutes=12,
)
def curves(found: Found, scale: Scale) -> Comparison:
    """The plots are on the page; here are precision@1000 and the mean of each curve."""
    victims, lines = _victims(found), list[Line]()
    below: dict[str, Pairs] = {side: [] for side in SIDES}
    pairs, control = Pairs(), Pairs()
    for victim, (side, (task, word)) in product(victims, SIDES.items()):
        last = _last(found, victim, [""], True, side)
        rows: dict[str, Figure | None] = {}
        for kind in KINDS:
            asked = {"metric": "precision", "task": task, "at": 1000}
            ends = {
                "clean": found.one(model=victim.named(kind), attack=None, **asked),
                "published form": _first(_attacked(found, victim, kind, True, side, steps=last, **asked)),
            }
            rows[kind] = ends["published form"]
            who = f"{_where(victim, victims)}{victim.title(kind)}, {word}"
            lines += [Line(f"{who}, {what}, precision@1000", None, row) for what, row in ends.items() if row]
            lines += _means(found, victim, kind, side, who)
            if not kind:
                below[side].append((ends["clean"], ends["published form"]))
        pairs.append((rows["static"], rows[""]))
        control.append((rows["static"], rows["control"]))
    relations = [
        found.above(f"Precision@1000 under CMLA on {side}s lies below the clean one", own)
        for side, own in below.items()
    ]
    claim = "Static adversarial training raises precision@1000 under CMLA made for it"
    return Comparison(lines, [*relations, found.above(claim, pairs, control=control)], WHY[scale])


def _means(found: Found, victim: Victim, kind: str, side: str, who: str) -> Iterator[Line]:
    """Mean of the points of both curves, clean and in both forms after the last gradient."""
    for metric, what in CURVES.items():
        asked = {"metric": metric, "task": SIDES[side][0]}
        points = {"clean": found.all(model=victim.named(kind), attack=None, **asked)}
        points |= {form: _attacked(found, victim, kind, one, side, **asked) for form, one in FORMS.items()}
        for form, own in points.items():
            if own:
                yield Line(f"{who}, {form}, mean of {what}", None, mean_of(own))


@experiment(
    "cmla-examples",
    paper=PAPER,
    what="Figure: pictures and texts before and after",
    small=f"{SMALL_DATA}; 100 gradients of the published form; 32 bits",
    minutes=15,
    recipe="cmla-attack",
    photos=f"{PHOTOS}; 32 bits, 50 queries, 100 gradients of the published form",
    photos_minutes=5,
)
def examples(found: Found, scale: Scale) -> Comparison:
    """The sheets are on the page; here is how far their pictures and texts moved."""
    victims, lines = _victims(found), list[Line]()
    for (form, one_sided), victim, side in product(FORMS.items(), victims, SIDES):
        if steps := _steps(found, victim, "", one_sided, side):
            row = _distance(found, victim, "", one_sided, side, steps[-1])
            setting = f"{_where(victim, victims)}{victim.title()}, {side}s, {steps[-1]} iterations, distortion D"
            lines.append(Line(setting, None, row, digits=4, block=form))
    claim = "The change of a picture is hard to see, and a text keeps its words"
    why = "look at the sheets of the page: queries before and after, the change, and the answers; a person decides"
    return Comparison(lines, [found.look(claim, why)])
