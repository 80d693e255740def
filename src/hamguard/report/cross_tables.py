"""Rows of a cross-modal study as tables: one function a table, each empty where the study has no such rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hamguard.core.noted import is_tradeoff
from hamguard.core.rows import Row, Rows, levels_text
from hamguard.report.table import Table

TASKS = ("image->text", "text->image", "image->image", "text->text")
DEFENSES = ("control", "static", "minmax")
ACROSS = {"image": "image->text", "text": "text->image"}
WITHIN = {"image": "image->image", "text": "text->text"}


class Figures(Rows):
    """The rows of a study, to be asked for its figures."""

    def figure(self, model: str, task: str, metric: str = "map", **facts: Any) -> Row | None:
        """The row of one figure; None where the study has none.

        Args:
            model: its name.
            task: the search, or the modality.
            metric: of the row.
            facts: `method` of the attack (none: clean), and what `Rows.where` takes; `tradeoff` asks for rows of the trade-off.
        """
        tradeoff = facts.pop("tradeoff", False)
        asked = {"attack": facts.pop("method", None), "made_on": None, "one_sided": False, **facts}
        found = self.where(model=model, task=task, metric=metric, **asked)
        return next((row for row in found if is_tradeoff(row) == tradeoff), None)

    def value(self, model: str, task: str, metric: str = "map", **facts: Any) -> float | None:
        """Its value."""
        row = self.figure(model, task, metric, **facts)
        return None if row is None else row.value

    def models(self) -> list[str]:
        """All models, in the order of the rows."""
        return list(dict.fromkeys(row.model for row in self if row.model and row.model != "random codes"))

    def floor(self, task: str, model: str, tradeoff: bool = False) -> float:
        """MAP of random codes on a model's data, over the queries of the main tables or over the fewer ones of the trade-off."""
        own = self.figure(model, task, tradeoff=tradeoff)
        found = [
            row.value
            for row in self.where(task=task, metric="random_map", **(_place(own) if own else {}))
            if row.value is not None and is_tradeoff(row) == tradeoff
        ]
        return sum(found) / len(found) if found else 0.0

    def made(self, side: str) -> Rows:
        """Rows of CMLA on one side, each made for the model that it is asked of, outside of the trade-off."""
        own = self.where(attack="cmla", made_on=None)
        return Rows(
            row for row in own if row.threat and (row.attack or {}).get("side") == side and not is_tradeoff(row)
        )

    def budgets(self, side: str) -> list[tuple[float, bool]]:
        """Radii of CMLA on one side, and whether one-sided, in the order of the rows."""
        threats = [row.threat or {} for row in self.made(side)]
        return list(dict.fromkeys((float(one["eps"]), bool(one.get("one_sided"))) for one in threats))

    def steps(self, side: str, model: str, one_sided: bool = False) -> list[int]:
        """Numbers of gradients that CMLA was looked at after."""
        own = self.made(side).where(model=model, one_sided=one_sided)
        return sorted({int((row.threat or {})["steps"]) for row in own})


def _place(row: Row) -> dict[str, Any]:
    """Split and code length of a figure, which random codes beside it have, too."""
    return {"split": row.split, "bits": row.bits}


def shown(value: float | None, digits: int = 3) -> str:
    """A number, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def radius(side: str, eps: float) -> str:
    """A radius as people write it."""
    return levels_text(eps) if side == "image" else f"{eps:g} of the bag"


def clean_table(rows: Figures) -> Table:
    """All four searches of all models, MAP and precision@1000."""
    lines = [
        [name, *(f"{shown(rows.value(name, task))} / {shown(_precision(rows, name, task))}" for task in TASKS)]
        for name in rows.models()
    ]
    first: dict[tuple[Any, ...], str] = {}
    for row in rows:
        if row.metric == "map" and not row.attack and row.model:
            first.setdefault((row.bits, row.dataset), row.model)
    for (bits, data), model in first.items():
        where = f" of {bits} bits on {data}" if len(first) > 1 else ""
        lines.append([f"random codes{where}", *(shown(rows.floor(task, model)) for task in TASKS)])
    return Table.of("Clean searches: MAP / precision@1000", ("model", *TASKS), lines)


def _precision(rows: Figures, name: str, task: str) -> float | None:
    found = [
        row for row in rows if row.model == name and row.task == task and row.metric == "precision" and not row.attack
    ]
    return found[0].value if found else None


def cmla_table(rows: Figures, side: str, eps: float, one_sided: bool, names: Sequence[str]) -> Table:
    """MAP across modalities and D by number of gradients, in the form of the published table, and the own modality beside."""
    steps = rows.steps(side, names[0], one_sided)
    head = ["model", "clean", "noise"]
    head += [word for mark in steps for word in (f"MAP {mark}", f"D {mark}")]
    head += ["to random", "own", "own after"]
    lines = []
    for name in names:
        figures: dict[str, Any] = {"eps": eps, "one_sided": one_sided}
        line = [
            name,
            shown(rows.value(name, ACROSS[side])),
            shown(rows.value(name, ACROSS[side], method="noise", **figures)),
        ]
        for mark in steps:
            at: dict[str, Any] = {**figures, "method": "cmla", "steps": mark}
            line += [shown(rows.value(name, ACROSS[side], **at)), shown(rows.value(name, side, "D", **at), 4)]
        last: dict[str, Any] = {**figures, "method": "cmla", "steps": max(steps)}
        way = way_down(rows, name, side, **last)
        line += ["-" if way is None else f"{way:.0%}"]
        line += [shown(rows.value(name, WITHIN[side])), shown(rows.value(name, WITHIN[side], **last))]
        lines.append(line)
    form = "published form: one-sided, norm weight 1, pairs of the batch" if one_sided else "default form"
    return Table.of(f"CMLA on {side}s at {radius(side, eps)} ({form}), {ACROSS[side]}", head, lines)


def way_down(rows: Figures, name: str, side: str, **at: Any) -> float | None:
    """Share of the way from the clean MAP across modalities to that of random codes; None where a figure is missing."""
    clean, attacked = rows.value(name, ACROSS[side]), rows.value(name, ACROSS[side], **at)
    floor = rows.floor(ACROSS[side], name)
    return None if clean is None or attacked is None or clean <= floor else (clean - attacked) / (clean - floor)


def words_table(rows: Figures, names: Sequence[str]) -> Table | None:
    """Edits of whole words."""
    counts = sorted({int(r.threat["eps"]) for r in rows if r.threat and (r.attack or {}).get("method") == "cmla-words"})
    if not counts:
        return None
    lines = []
    for name in names:
        for task in ("text->image", "text->text"):
            figures = [shown(rows.value(name, task, method="cmla-words", eps=count)) for count in counts]
            lines.append([f"{name}, {task}", shown(rows.value(name, task)), *figures])
    head = ("search", "no edit", *(f"{n} edits" if n > 1 else "1 edit" for n in counts))
    return Table.of("Whole words added or dropped", head, lines)


def tradeoff_table(rows: Figures, names: Sequence[str]) -> Table | None:
    """MAP across and within over the weight of the intra term."""
    lines = []
    for name in names:
        for side in ("image", "text"):
            for weight, across, within in tradeoff_points(rows, name, side):
                d = rows.value(name, side, "D", method="cmla", tradeoff=True, intra=weight)
                lines.append([f"{name}, {side}", f"{weight:g}", shown(across), shown(within), shown(d, 4)])
            clean = [shown(rows.value(name, task, tradeoff=True)) for task in (ACROSS[side], WITHIN[side])]
            if clean != ["-", "-"]:
                lines.append([f"{name}, {side}", "no attack", *clean, "0"])
    head = ("model, side", "weight", "MAP across", "MAP within", "D")
    return Table.of("Trade-off: weight of the intra term", head, lines) if lines else None


def tradeoff_points(rows: Figures, name: str, side: str) -> list[tuple[float, float, float]]:
    """Weight, MAP across, MAP within."""
    weights = sorted(
        {float(row.attack["intra"]) for row in rows if row.attack and is_tradeoff(row) and "intra" in row.attack}
    )
    points = []
    for weight in weights:
        more: dict[str, Any] = {"method": "cmla", "tradeoff": True, "intra": weight}
        across, within = rows.value(name, ACROSS[side], **more), rows.value(name, WITHIN[side], **more)
        if across is not None and within is not None:
            points.append((weight, across, within))
    return points


def guided_table(rows: Figures, names: Sequence[str]) -> Table | None:
    """Image-side attacks of one modality."""
    lines = []
    known = ("cmla", "cmla-words", "noise", "ideal-code")
    found = [row for row in rows if row.attack and row.attack.get("method") not in known and row.model in names]
    for name, method in dict.fromkeys((str(row.model), str((row.attack or {})["method"])) for row in found):
        toward = any((row.attack or {}).get("toward") for row in found if (row.attack or {}).get("method") == method)
        metric = "t-map" if toward else "map"
        cells = [f"{name}, {method}" + (" (t-MAP)" if toward else "")]
        for task in ("image->image", "image->text"):
            cells += [shown(rows.value(name, task, metric)), shown(rows.value(name, task, metric, method=method))]
        lines.append(cells)
    head = ("attack", "image->image clean", "attacked", "image->text clean", "attacked")
    return Table.of("Attacks made for one modality, asked of both", head, lines) if lines else None


def defense_table(rows: Figures, names: Sequence[str]) -> Table | None:
    """Clean and attacked MAP across modalities of models and their defenses."""
    lines = []
    budgets = {side: [(eps, one) for eps, one in rows.budgets(side) if not one] for side in ("image", "text")}
    columns = [(side, eps) for side in ("image", "text") for eps, _ in budgets[side]]
    steps = defended_steps(rows, names)
    if steps is None:
        return None
    for name in rows.models():
        if not any(name == base or name.startswith(f"{base}-") for base in names):
            continue
        cells = [name, shown(rows.value(name, "image->text")), shown(rows.value(name, "text->image"))]
        for side, eps in columns:
            cells.append(shown(rows.value(name, ACROSS[side], method="cmla", steps=steps, eps=eps)))
        lines.append(cells)
    head = ["model", "image->text clean", "text->image clean"]
    head += [f"{ACROSS[side]}, CMLA {radius(side, eps)}" for side, eps in columns]
    return Table.of(f"Defenses: MAP under CMLA made for each model, {steps} gradients", head, lines)


def defended_steps(rows: Figures, names: Sequence[str]) -> int | None:
    """The most gradients that every defended model was attacked with; None where nothing is defended."""
    defended = [name for name in rows.models() if any(name == f"{base}-{kind}" for base in names for kind in DEFENSES)]
    shared = [set(rows.steps("image", name)) for name in [*defended, *names]] if defended else []
    return max(set.intersection(*shared)) if shared and set.intersection(*shared) else None


def transfer_table(rows: Figures, names: Sequence[str]) -> Table | None:
    """Items made on one model, asked of another."""
    lines = []
    for side in ("image", "text"):
        for eps, one_sided in rows.budgets(side):
            for source in names:
                for target in names:
                    if source == target:
                        continue
                    more: dict[str, Any] = {"method": "cmla", "eps": eps, "one_sided": one_sided, "made_on": source}
                    across = rows.value(target, ACROSS[side], **more)
                    if across is None:
                        continue
                    own = rows.value(
                        source,
                        ACROSS[side],
                        method="cmla",
                        eps=eps,
                        one_sided=one_sided,
                        steps=max(rows.steps(side, source)),
                    )
                    lines.append(
                        [
                            f"{source} to {target}, {side}s at {radius(side, eps)}",
                            shown(own),
                            shown(rows.value(target, ACROSS[side])),
                            shown(across),
                            shown(rows.value(target, WITHIN[side])),
                            shown(rows.value(target, WITHIN[side], **more)),
                        ]
                    )
    head = (
        "made on, asked of",
        "on the source",
        "across: clean",
        "across: attacked",
        "within: clean",
        "within: attacked",
    )
    return Table.of("Transfer", head, lines) if lines else None
