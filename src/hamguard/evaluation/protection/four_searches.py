"""The protocol of PPL: models trained on clean or protected pictures, searched with either in either (AAAI 2021, Table 1).

C is the clean domain, A (adversarial, in the paper's word) the protected one. `C->A` searches protected pictures with clean
ones. A protection is good where a model trained on C finds C->C only, and one trained on A finds A->A only: then pictures of
the person cannot be found by models of others, and pictures of others not by models that were fed with the protected ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hamguard.codes.bank import CodeBank
from hamguard.core.context import Context, always
from hamguard.core.digests import digest_json
from hamguard.core.rows import Row
from hamguard.core.types import Ints
from hamguard.data.dataset import Dataset, ImageStore
from hamguard.data.opened import Data
from hamguard.data.split import Split
from hamguard.evaluation.ground import Ground
from hamguard.evaluation.protection.protections import Protection, mixed
from hamguard.evaluation.search.score import score_rows
from hamguard.models.hash_model import HashModel
from hamguard.models.store import Card, load_any
from hamguard.trainers.hash_model import LEARNED
from hamguard.trainers.job import Job
from hamguard.trainers.kind import Start, Trained
from hamguard.trainers.run import run_job
from hamguard.trainers.words import read_job
from hamguard.training.encode import encode

SEARCHES = (("C", "C"), ("C", "A"), ("A", "C"), ("A", "A"))
"""Query and database."""


@dataclass(frozen=True)
class Sides:
    """One data set twice: as it is, and protected.

    Attributes:
        clean: the data set.
        protected: its pictures after protection.
        split: its parts.
        protection: how they were protected.
        queries: the first N of the query part; None for all.
    """

    clean: Dataset
    protected: ImageStore
    split: Split
    protection: Protection
    queries: int | None = None

    def domain(self, name: str) -> Dataset:
        """The data set of domain `C` or `A`."""
        return self.clean if name == "C" else replace(self.clean, images=self.protected)


@dataclass(frozen=True)
class Party:
    """Somebody who trains a hash model.

    Attributes:
        request: the training run; its `data` is what the rows say, not what is opened.
        ratio: share of the training pictures that are protected: 0 for "train C", 1 for "train A".
        adversarial: epochs of adversarial training (SAAT) after that, on the same pictures; 0 for none.
        adversarial_eps: its radius; the protection's own where None.
    """

    request: Job
    ratio: float
    adversarial: int = 0
    adversarial_eps: float | None = None

    @property
    def trained_on(self) -> str:
        """`C`, `A`, or the share of A, and how the party adapts."""
        word = {0.0: "C", 1.0: "A"}.get(self.ratio, f"{self.ratio:g} A")
        if (views := self.request.training.augment) != "none":
            word += f", random views: {views}"
        return word + (f", adversarial training of {self.adversarial} epochs" if self.adversarial else "")


def cell_digest(sides: Sides, party: Party) -> str:
    """Hash of everything that a cell's rows depend on."""
    return digest_json(
        {
            "request": party.request.digest,
            "ratio": party.ratio,
            "adversarial": party.adversarial,
            "adversarial_eps": party.adversarial_eps,
            "split": sides.split.digest,
            "queries": sides.queries,
            "protection": sides.protection.digest,
            "data": sides.clean.digest,
        }
    )


def run_cell(
    sides: Sides,
    party: Party,
    models: Path,
    *,
    context: Context | None = None,
    keep_models: bool = False,
) -> list[Row]:
    """Train one party's model and search four ways with it.

    Args:
        sides: the data, clean and protected.
        party: who trains.
        models: folder of trained models; those of a party that learned from protected images stay only where `keep_models` says so.
        context: device and progress; its seed is that of the bootstrap.
        keep_models: keep the trained model.

    Returns:
        Rows of the four searches with the metric `map`; further ones against learned codes where the method has them.

    Raises:
        RequestError: something does not fit together.
        RunError: the loss became NaN, or the disk is full.
        CollapseError: the codes became constant.
    """
    context = context or Context()
    pictures = mixed(sides.clean.images, sides.protected, sides.split.train, party.ratio, party.request.seed)
    learned_from = Data(replace(sides.clean, images=pictures), sides.split)
    place = models / _model_name(sides, party)
    ask = party.request
    with context.stage(f"{ask.method} {ask.network.bits} bits, trained on {party.trained_on}") as progress:
        inside = context.but(stage=always(progress))
        trained = run_job(ask, learned_from, place, context=inside)
        if party.adversarial:
            place = _harden(sides, party, learned_from, place, trained, inside)
    model, card = load_any(place, context.device)
    rows = four_rows(sides, party, model, card, place, context=context)
    if not keep_models and party.ratio > 0:  # those trained on C serve every protection
        for path in sorted(place.rglob("*"), reverse=True):
            path.unlink()
        place.rmdir()
    return rows


def _model_name(sides: Sides, party: Party) -> str:
    ask = party.request
    pictures = sides.protection.digest if party.ratio else "clean"
    parts = [ask.digest, sides.split.digest, sides.clean.digest, pictures, f"{party.ratio:g}"]
    return f"{ask.method}-{ask.network.bits}-{party.ratio:g}-{ask.seed}-{digest_json(parts)[:12]}"


def _harden(sides: Sides, party: Party, data: Data, start: Path, trained: Trained, context: Context) -> Path:
    eps = party.adversarial_eps or sides.protection.eps
    flags = {
        "method": "saat",
        "seed": party.request.seed,
        "eps": eps,
        "training.epochs": party.adversarial,
        "data.source": party.request.data.source,
        "data.protocol": party.request.data.protocol,
    }
    place = start.with_name(f"{start.name}-saat-{party.adversarial}-{eps:.4f}")
    begun = Start(str(start), trained.model, trained.card, start)
    run_job(read_job({}, flags, kind="hardened"), data, place, start=[begun], context=context)
    return place


def four_rows(
    sides: Sides,
    party: Party,
    model: Any,
    card: Card | None,
    place: Path,
    *,
    context: Context | None = None,
) -> list[Row]:
    """Rows of the four searches of a trained model.

    Args:
        sides: the data, clean and protected.
        party: who trained it.
        model: the model.
        card: its card.
        place: its folder, which rows are called after; learned codes lie in it where the method has them.
        context: device; its seed is that of the bootstrap.

    Raises:
        RequestError: pictures that do not fit the model.
        RunError: the model returns NaN.
    """
    context = context or Context()
    if isinstance(model, HashModel):
        model.to(memory_format=torch.channels_last)
    banks: dict[tuple[str, str], CodeBank] = {}
    for name in ("C", "A"):
        data = sides.domain(name)
        for role in ("query", "database"):
            part = sides.split.part(role)
            part = part.first(sides.queries) if role == "query" else part
            banks[name, role] = encode(model, data, sides.split, part, device=context.device)
    protection = sides.protection
    attack = {**protection.facts, **({"views": list(protection.views)} if protection.views else {})}
    rows = []
    learned = CodeBank.load(place / LEARNED, model_hash=model.digest) if (place / LEARNED).is_file() else None
    for query, database in SEARCHES:
        pair = banks[query, "query"], banks[database, "database"]
        ground = Ground(place.name, model, card, Data(sides.clean, sides.split), *pair, Context(seed=context.seed))
        facts = replace(
            ground.base,
            train=party.trained_on,
            attack=attack,
            task=f"{query}->{database}",
            seed=party.request.seed,
            threat={"norm": protection.norm, "eps": round(protection.eps, 6)},
        )
        rows += score_rows(*pair, metrics=["map"], facts=facts, seed=context.seed, reference=False)
        if learned is not None and database == "C":  # once for each kind of query
            other = replace(facts, task=f"{query}->learned", hashes={**facts.hashes, "database_codes": learned.digest})
            rows += score_rows(pair[0], learned, metrics=["map"], facts=other, seed=context.seed, reference=False)
    return rows


def needed(split: Split, queries: int | None) -> Ints:
    """Numbers of all pictures that the protocol looks at, sorted."""
    parts = [split.train, split.database, split.part("query").first(queries).index]
    return np.unique(np.concatenate(parts))
