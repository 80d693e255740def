"""Named protocols: the published rules, and our own defaults, that turn a data set and a seed into a `Split`.

`ppl-*` are the three protocols of PPL, `prosgan-*` those of ProS-GAN, SAAT and CgAT (their lists are read by
`hamguard.data.lists`), `dcmh-mirflickr` is that of the cross-modal papers. Validation is always drawn from the database
outside training, and stays searchable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil
from typing import TypeAlias

import numpy as np

from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.core.registry import Registry
from hamguard.core.types import Ints
from hamguard.data.dataset import Dataset
from hamguard.data.split import Split, draw_split, fair_order

Rule: TypeAlias = Callable[[Dataset, int], Split]


@dataclass(frozen=True)
class Protocol:
    """A registered rule.

    Attributes:
        name: how it is called.
        about: one line for lists and help.
        datasets: names of the data sets it is made for; empty where any will do.
        rule: draws the split.
    """

    name: str
    about: str
    datasets: tuple[str, ...]
    rule: Rule


PROTOCOLS: Registry[Protocol] = Registry("protocol", "hamguard.data", decorator="protocol")


def protocol(name: str, about: str, *datasets: str) -> Callable[[Rule], Rule]:
    """Register a rule under a name.

    Raises:
        RequestError: the name is taken by another one.
    """

    def register(rule: Rule) -> Rule:
        PROTOCOLS.enter(name, Protocol(name, about, datasets, rule), rule)
        return rule

    return register


def make_split(dataset: Dataset, name: str, seed: int = 0) -> Split:
    """Draw the split of a named protocol.

    Args:
        dataset: the data set.
        name: a protocol; a family name such as `ppl` means `ppl-<data set>`.
        seed: seed of the draw.

    Raises:
        RequestError: unknown protocol, one made for another data set, or too few pictures for it.
    """
    name = f"{name}-{dataset.name}" if f"{name}-{dataset.name}" in PROTOCOLS else name
    usable = [p.name for p in PROTOCOLS.values() if not p.datasets or dataset.name in p.datasets]
    if name in PROTOCOLS and name not in usable:
        made_for = " or ".join(PROTOCOLS[name].datasets)
        raise RequestError(f"protocol {name} is made for {made_for}, got {dataset.name}; allowed: {', '.join(usable)}")
    check_choice("protocol", name, usable)
    return PROTOCOLS[name].rule(dataset, seed)


def usual_protocol(dataset: Dataset) -> str:
    """The protocol of data that name none: `stored` where they hold their parts, else `seeded`.

    `copies` where nothing is relevant to anything else, or where there is too little to part: only copies can be asked for.
    """
    if dataset.native is not None:
        return "stored"
    alone = len(dataset) < 4 or (dataset.labels.size and int(dataset.labels.sum(0).max()) <= 1)
    return "copies" if alone else "seeded"


def _native(dataset: Dataset, name: str) -> tuple[Ints, Ints]:
    """Query rows and database rows as the set itself parts them."""
    if dataset.native is None:
        raise RequestError(f"protocol {name} needs a stored split, {dataset.name} has none; use protocol seeded")
    return np.flatnonzero(dataset.native == 2), np.flatnonzero(dataset.native != 2)


@protocol("seeded", "1/6 queries, 1/12 validation, the rest training; all but the queries are the database")
def seeded(dataset: Dataset, seed: int) -> Split:
    """Draw a sixth as queries (at most 2,000), a twelfth as validation (at most 1,000), train on the rest."""
    if len(dataset) < 4:
        raise RequestError(f"a drawn split needs at least 4 pictures, {dataset.name} has {len(dataset)}")
    n = min(2000, ceil(len(dataset) / 6))
    order = fair_order(dataset.labels, np.arange(len(dataset)), seed, "seeded")
    note = f"split drawn with seed {seed}: {n:,} queries, {len(dataset) - n:,} in the database, training on the rest"
    return draw_split(
        dataset, query=order[:n], database=order[n:], n_train=None, protocol="seeded", seed=seed, notes=(note,)
    )


@protocol("unlabeled", "as seeded, but all pictures are learned from: without labels none can be learned by heart")
def unlabeled(dataset: Dataset, seed: int) -> Split:
    """Learn from all pictures, queries and validation among them; the other parts are those of `seeded`."""
    parts = seeded(dataset, seed)
    note = (
        f"no labels, so all {len(dataset):,} pictures are learned from, the {len(parts.query):,} queries among them: what is "
        "measured on these pictures is not measured on new ones"
    )
    return replace(parts, train=np.arange(len(dataset)), protocol="unlabeled", notes=(*parts.notes[:-1], note))


@protocol("copies", "queries and database are the same pictures; for searches with changed copies")
def copies(dataset: Dataset, seed: int) -> Split:
    """Search all pictures, ask for all of them: the queries are to be changed (JPEG, crop, attack) before encoding."""
    rows = np.arange(len(dataset))
    note = "queries are the database pictures themselves, to be changed before they are encoded"
    order = fair_order(dataset.labels, rows, seed, "copies")
    n = min(1000, max(1, round(len(dataset) / 12)))
    return draw_split(
        dataset,
        query=rows,
        database=rows,
        n_train=None,
        train=order[n:],
        validation=order[:n],
        protocol="copies",
        seed=seed,
        notes=(note,),
    )


@protocol("stored", "the split stored with the data: 0 train, 1 validation, 2 query, 3 rest of the database")
def stored(dataset: Dataset, seed: int) -> Split:
    """Take the parts as they are stored; 0, 1 and 3 together are the database."""
    query, database = _native(dataset, "stored")
    native = dataset.native
    train, validation = np.flatnonzero(native == 0), np.flatnonzero(native == 1)
    notes = ["split as stored with the data"]
    if len(train) == 0:
        notes.append("no training rows are stored: training takes the database outside validation")
    if len(validation) == 0:
        notes.append("no validation rows are stored: they are drawn")
    return draw_split(
        dataset,
        query=query,
        database=database,
        n_train=None,
        train=train if len(train) else None,
        validation=validation if len(validation) else None,
        protocol="stored",
        seed=seed,
        notes=tuple(notes),
    )


@protocol("official", "1,000 test images against the 50,000 training images, 10,000 of them learned from", "cifar10")
def official(dataset: Dataset, seed: int) -> Split:
    """Ask for test images only, 100 a class: networks that saw the training images are scored fairly."""
    query, database = _native(dataset, "official")
    order = fair_order(dataset.labels, query, seed, "official")
    n_query, n_train = _scaled(dataset, 1000, 60_000), _scaled(dataset, 10_000, 60_000)
    return draw_split(
        dataset, query=order[:n_query], database=database, n_train=n_train, protocol="official", seed=seed
    )


@protocol("official-10k", "all test images against all training images, 10,000 of them learned from", "cifar10")
def official_10k(dataset: Dataset, seed: int) -> Split:
    """Ask for all 10,000 test images."""
    query, database = _native(dataset, "official-10k")
    n_train = _scaled(dataset, 10_000, 60_000)
    return draw_split(dataset, query=query, database=database, n_train=n_train, protocol="official-10k", seed=seed)


@protocol("ppl-cifar10", "PPL: 1,000 queries from all images, 59,000 database, 10,000 of them learned from", "cifar10")
def ppl_cifar10(dataset: Dataset, seed: int) -> Split:
    """Pool training and test images, draw 100 queries and 1,000 training images a class (PPL, "59k")."""
    order = fair_order(dataset.labels, np.arange(len(dataset)), seed, "ppl-cifar10")
    n_query, n_train = _scaled(dataset, 1000, 60_000), _scaled(dataset, 10_000, 60_000)
    return draw_split(
        dataset,
        query=order[:n_query],
        database=order[n_query:],
        n_train=n_train,
        protocol="ppl-cifar10",
        seed=seed,
        notes=("queries are drawn from training and test images: given CIFAR-10 weights may have seen them",),
    )


@protocol(
    "ppl-fashion-mnist",
    "PPL: 10,000 test images against 60,000 training images, 10,000 of them learned from",
    "fashion-mnist",
)
def ppl_fashion_mnist(dataset: Dataset, seed: int) -> Split:
    """Ask for the test images; draw 1,000 training images a class from the database."""
    query, database = _native(dataset, "ppl-fashion-mnist")
    n_train = _scaled(dataset, 10_000, 70_000)
    return draw_split(dataset, query=query, database=database, n_train=n_train, protocol="ppl-fashion-mnist", seed=seed)


@protocol("ppl-imagenet-13", "PPL: 13 classes, 1,300 queries, 16,900 database, 10,000 of them learned from")
def ppl_imagenet_13(dataset: Dataset, seed: int) -> Split:
    """Draw 100 queries and 1,300 database pictures from each of 13 classes; PPL does not name the classes."""
    per_class = dataset.labels.sum(0, dtype=np.int64)
    if not dataset.single_label or len(per_class) != 13 or int(per_class.min()) < 1400:
        raise RequestError(
            "protocol ppl-imagenet-13 needs a folder of 13 ImageNet classes with 1,400 pictures each "
            f"(the paper does not name them), got {len(per_class)} classes with {int(per_class.min(initial=0))} or more"
        )
    order = fair_order(dataset.labels, np.arange(len(dataset)), seed, "ppl-imagenet-13")
    kind = dataset.labels[order].argmax(1)
    query = np.concatenate([order[kind == c][:100] for c in range(13)])
    database = np.concatenate([order[kind == c][100:1400] for c in range(13)])
    return draw_split(dataset, query=query, database=database, n_train=10_000, protocol="ppl-imagenet-13", seed=seed)


@protocol(
    "dcmh-mirflickr",
    "DCMH, SSAH, CMLA: 2,000 queries, the rest is the database, 10,000 of it learned from",
    "mirflickr",
)
def dcmh_mirflickr(dataset: Dataset, seed: int) -> Split:
    """Draw 2,000 of the 20,015 pairs as queries and 10,000 of the 18,015 others for training."""
    order = fair_order(dataset.labels, np.arange(len(dataset)), seed, "dcmh-mirflickr")
    n_query, n_train = _scaled(dataset, 2000, 20_015), _scaled(dataset, 10_000, 20_015)
    return draw_split(
        dataset,
        query=order[:n_query],
        database=order[n_query:],
        n_train=n_train,
        protocol="dcmh-mirflickr",
        seed=seed,
    )


def _scaled(dataset: Dataset, n: int, full: int) -> int:
    """The published number, or the same share of a smaller set (tests and `size`-reduced copies of the data)."""
    return n if len(dataset) >= full else max(1, round(n * len(dataset) / full))
