"""Cross-modal attacks carried out and measured: pictures or texts that ask are changed, and both of their searches are asked again.

Pictures are scored as 8-bit files hold them, bags of words as they are, edited texts after they were read again. One run gives all
numbers of steps that were asked for: the rate of Adam is constant, so the point after 100 of 500 steps is that of a run of 100.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.pairs import CrossCodes
from hamguard.attacks.losses.cmla import distortion
from hamguard.attacks.search.gradient_descent import GradientSteps
from hamguard.attacks.words import EditedTexts, WordEdits
from hamguard.codes.bank import CodeBank, PairBank
from hamguard.codes.binary import hamming_pairs, pack
from hamguard.codes.histograms import distance_histograms
from hamguard.core.context import Progress, silent
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row
from hamguard.core.seeds import torch_generator
from hamguard.evaluation.attack.run import AttackedSet
from hamguard.evaluation.attack.spec import describe
from hamguard.evaluation.ground import Ground, Modality, other_modality
from hamguard.evaluation.search.cross_modal import task_row
from hamguard.evaluation.search.score import EXACT, Convention, measure, parse_metric, score_row
from hamguard.images.quantize import as_pixels
from hamguard.models.folding import folded
from hamguard.retrieval.intervals import bootstrap_interval


def run_cross(
    ground: Ground, attack: Attack, side: Modality, *, marks: Sequence[int], progress: Progress = silent
) -> dict[int, AttackedSet]:
    """Attack all queries of one side; what they are after each number of gradients that was asked for.

    Args:
        ground: the model that they are made on.
        attack: `cmla` or any other image-side attack for pictures, `cmla_text` for bags.
        side: `image` or `text`.
        marks: numbers of gradients to look after; the attack's own last.
        progress: told how far the work is.

    Raises:
        RequestError: the guide lacks what it needs, a mark lies beyond the attack's steps, or it lies before them and the point
            there is not that of a shorter run.
        RunError: the gradient is not finite.
    """
    steps = int(getattr(attack.search, "steps", 0))
    if any(not 1 <= mark <= steps for mark in marks):
        raise RequestError(f"steps to look after must lie between 1 and {steps}, got {', '.join(map(str, marks))}")
    if any(mark < steps for mark in marks) and not _has_marks(attack.search):
        raise RequestError(f"only a search like cmla's can be looked at on its way; ask for all {steps} steps alone")
    inside = isinstance(attack.guide, CrossCodes) and attack.guide.material == "batch"
    bank = own_pairs(ground, side) if inside else ground.reference_of(side)
    attack = attack.prepared(bank, ground.seed)
    model: Any = folded(ground.model) if side == "image" else ground.both.text
    labels = torch.from_numpy(ground.query.labels).float().to(ground.device)
    parts: dict[int, list[Tensor]] = {mark: [] for mark in marks}
    distances: dict[int, list[Tensor]] = {mark: [] for mark in marks}
    begun = time.perf_counter()
    for start in range(0, len(ground.rows), ground.batch_size):
        rows = slice(start, min(start + ground.batch_size, len(ground.rows)))
        x = _clean(ground, side, rows)
        problem = attack.problem(
            model, x, labels[rows], bank, index=range(rows.start, rows.stop), seed=ground.seed, marks=marks
        )
        last = attack.solve(problem)
        for mark in marks:
            point = last if mark == steps else problem.kept[mark]
            if attack.rounding and mark != steps:
                point = attack.threat.on_grid(point, problem.x)
            parts[mark].append(point.cpu())
            distances[mark].append(distortion(point, x).cpu())
        progress(rows.stop / len(ground.rows), f"{rows.stop:,} of {len(ground.rows):,} {side}s")
    seconds = time.perf_counter() - begun
    return {
        mark: _attacked_set(side, parts[mark], distances[mark], mark + 1, mark, seconds * mark / max(marks))
        for mark in marks
    }


def _attacked_set(
    side: Modality, parts: Sequence[Tensor], distance: Sequence[Tensor], forwards: int, backwards: int, seconds: float
) -> AttackedSet:
    """Batches as a run whose items cost alike."""
    whole = torch.cat(list(parts))
    return AttackedSet(
        as_pixels(whole) if side == "image" else whole.numpy(),
        np.full(len(whole), forwards),
        np.full(len(whole), backwards),
        seconds,
        distance=torch.cat(list(distance)).double().numpy(),
    )


def own_pairs(ground: Ground, side: Modality) -> PairBank:
    """Codes of the queries and of their other modality, as the published attack compares with."""
    return PairBank.join(ground.query_of(side), ground.query_of(other_modality(side)))


def _has_marks(search: Any) -> bool:
    """Whether a search keeps points on its way, and each is where a run of so many steps would end."""
    return isinstance(search, GradientSteps) and search.alpha == "constant" and search.keep == "last"


def noise_like(ground: Ground, attack: Attack, side: Modality) -> AttackedSet:
    """Uniform noise inside the attack's threat, the control."""
    made, distances = [], []
    for start in range(0, len(ground.rows), ground.batch_size):
        rows = slice(start, min(start + ground.batch_size, len(ground.rows)))
        x = _clean(ground, side, rows)
        if side == "image":
            noisy = attack.threat.start(x, range(rows.start, rows.stop), ground.seed)
            noisy = attack.threat.on_grid(noisy, x)
        else:
            coins = torch.rand(x.shape, generator=torch_generator(ground.seed, "text noise", start)).to(x)
            low, high = attack.threat.low, attack.threat.eps
            noisy = attack.threat.project(x + low + (high - low) * coins, x)
        made.append(noisy.cpu())
        distances.append(distortion(noisy, x).cpu())
    return _attacked_set(side, made, distances, 0, 0, 0.0)


def run_words(ground: Ground, edits: WordEdits) -> AttackedSet:
    """Edit the words of all query texts.

    Raises:
        RequestError: the guide lacks what it needs.
        RunError: the gradient is not finite.
    """
    begun = time.perf_counter()
    labels = torch.from_numpy(ground.query.labels).float().to(ground.device)
    found: EditedTexts = edits(ground.both.text, ground.both.vocabulary, ground.texts, labels, ground.text_reference)
    again = ground.both.vocabulary.bag(found.texts)  # what is scored is the text that one would type
    return AttackedSet(
        again.numpy(),
        found.forwards.numpy(),
        found.backwards.numpy(),
        time.perf_counter() - begun,
        distance=np.array([len(done) for done in found.edits], np.float64),
        texts=found.texts,
        edits=found.edits,
    )


def _clean(ground: Ground, side: Modality, rows: slice) -> Tensor:
    if side == "image":
        return ground.dataset.images.batch(ground.rows[rows]).to(ground.device)  # (b, C, H, W)
    return ground.bags[rows].to(ground.device)  # (b, D)


def codes_of(ground: Ground, side: Modality, made: Any) -> CodeBank:
    """Codes of changed queries by the ground's model, which may be another than the one they were made on."""
    if side == "image":
        return ground.codes_of(made)
    with torch.no_grad():
        packed = pack(ground.both.text.code(torch.from_numpy(np.asarray(made)).to(ground.device)))
    return replace(ground.text_query, packed=packed)


def attacked_rows(
    ground: Ground,
    side: Modality,
    made: AttackedSet,
    *,
    attack: dict[str, Any],
    threat: dict[str, Any],
    name: str = "D",
    metrics: Sequence[str] = ("map",),
    convention: Convention = EXACT,
) -> list[Row]:
    """Rows of both searches of the changed side, then how far codes and items moved.

    Args:
        ground: the model that is asked.
        side: what was changed.
        made: changed images or bags, with D of each or the number of edits.
        attack: facts of the attack.
        threat: its threat model.
        name: what the row of the distance is called.
        metrics: what to measure.
        convention: ties, denominator, empty queries.
    """
    bank, passes = codes_of(ground, side, made.items), made.passes
    seconds = round(made.seconds, 3) if made.seconds else None
    rows: list[Row] = []
    base = Row()
    for searched in (other_modality(side), side):
        base = task_row(ground, f"{side}->{searched}")
        hashes = {**base.hashes, "query_codes": bank.digest}
        base = replace(
            base, attack=attack, threat=threat, forwards=passes[0], backwards=passes[1], seconds=seconds, hashes=hashes
        )
        table = distance_histograms(bank, ground.database_of(searched))
        for text in metrics:
            name_at = parse_metric(text)
            score = measure(*name_at, bank, ground.database_of(searched), table, convention)
            rows.append(replace(score_row(score, base, name_at, 0.0, ground.seed, bank.bits), seconds=seconds))
    moved = hamming_pairs(bank.packed, ground.query_of(side).packed).astype(np.float64)
    for metric, values in (("bits-moved", moved), (name, made.distance)):
        interval = bootstrap_interval(values, seed=ground.seed)
        rows.append(replace(base, task=side, metric=metric, value=float(values.mean()), ci95=interval, n=len(values)))
    return rows


def cmla_rows(
    ground: Ground,
    attack: Attack,
    side: Modality,
    *,
    marks: Sequence[int],
    noise: bool = False,
    progress: Progress = silent,
    **scores: Any,
) -> tuple[dict[int, AttackedSet], list[Row]]:
    """CMLA on one side, carried out and measured.

    Args:
        ground: the model that is attacked and asked.
        attack: `cmla` or `cmla_text`.
        side: what it changes.
        marks: numbers of gradients to look after.
        noise: add the rows of noise inside the same threat.
        progress: told how far the work is.
        scores: `metrics` and `convention` of `attacked_rows`.

    Returns:
        What was made by the number of gradients, and its rows: noise, then the marks in their order.

    Raises:
        RequestError: as `run_cross`.
        RunError: the gradient is not finite.
    """
    found, rows, facts = run_cross(ground, attack, side, marks=marks, progress=progress), [], cmla_facts(attack, side)
    if noise:
        control = noise_like(ground, attack, side)
        rows += attacked_rows(
            ground,
            side,
            control,
            attack={**facts, "method": "noise", "values": {}},
            threat=cmla_threat(attack, 0, side),
            **scores,
        )
    for mark in marks:
        rows += attacked_rows(
            ground,
            side,
            found[mark],
            attack=facts,
            threat=cmla_threat(attack, mark, side),
            **scores,
        )
    return found, rows


def word_rows(ground: Ground, edits: WordEdits, **scores: Any) -> tuple[AttackedSet, list[Row]]:
    """Word edits, carried out and measured; `scores` and errors as in `cmla_rows`."""
    found = run_words(ground, edits)
    attack, threat = word_facts(edits)
    rows = attacked_rows(
        ground,
        "text",
        found,
        attack=attack,
        threat=threat,
        name="edits",
        **scores,
    )
    return found, rows


def cmla_facts(attack: Attack, side: Modality, made_on: str | None = None) -> dict[str, Any]:
    """What a row says of CMLA."""
    loss: Any = attack.loss
    published = ("paper" if loss.halved else "code") if attack.threat.one_sided else "default"
    facts = {
        "method": "cmla",
        "preset": published,
        "side": side,
        "toward": False,
        "labels": "aware",
        "guide": "pairs",
        "intra": loss.intra,
        "values": describe(attack),
    }
    return {**facts, "made_on": [made_on]} if made_on else facts


def cmla_threat(attack: Attack, steps: int, side: Modality) -> dict[str, Any]:
    """The threat model of a row of CMLA."""
    ball = attack.threat
    grid = "8 bit" if side == "image" else "bag of words, real values"
    return {
        "norm": ball.norm,
        "eps": ball.eps,
        "one_sided": ball.one_sided,
        "steps": steps,
        "restarts": 1,
        "grid": grid,
    }


def word_facts(edits: WordEdits) -> tuple[dict[str, Any], dict[str, Any]]:
    """Attack and threat of a row of word edits."""
    attack = {
        "method": "cmla-words",
        "preset": "default",
        "side": "text",
        "toward": False,
        "labels": "aware",
        "guide": "pairs",
        "values": describe(edits),
    }
    return attack, {"norm": "words", "eps": edits.most, "steps": edits.most, "restarts": 1, "grid": "text"}
