"""Check a data set and its split: overlap, copies, repeated lines, missing labels and texts, chance level, MAP ceiling.

Two pictures are copies when their decoded pixels are equal. Nothing here fails on a finding; it is counted and said.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hamguard.core.digests import digest_array
from hamguard.core.errors import RequestError
from hamguard.core.types import Bytes, Ints
from hamguard.data.dataset import Dataset
from hamguard.data.label_names import name_findings
from hamguard.data.split import ROLES, Split

BLOCK = 512  # queries compared with the database at a time
CALLED = {
    "train": "training pictures",
    "validation": "validation pictures",
    "query": "queries",
    "database": "database pictures",
}


@dataclass(frozen=True)
class CheckReport:
    """What was counted; every field is plain JSON.

    Attributes:
        dataset: name of the set.
        protocol: rule of the split.
        seed: seed of the split.
        digest: content hash of the split.
        pictures: pictures in the set.
        size: height and width, or None where pictures are absent.
        synthetic: whether the set is drawn.
        counts: pictures in each part.
        lines: list lines and distinct pictures in each list, where parts came as lists.
        query_in_database: rows that are both query and database.
        query_in_train: rows that are both query and training.
        query_copies_in_database: queries whose pixels stand in the database under another id; None without pictures.
        train_outside_database: training rows that no search finds.
        copies: pictures of the split that are copies of an earlier one; None where pictures are absent.
        queries_with_copy: queries with a copy in another part; None where pictures are absent.
        unlabeled: pictures without any label in each part.
        without_text: pictures whose text is blank in each part; None where the set has no texts.
        label_counts: pictures of each label over the whole set.
        labels_per_picture: mean number of labels a picture.
        chance: share of relevant pairs of query and database, the MAP of random codes.
        map_ceiling: the best possible full-ranking MAP: the share of queries with a relevant picture in the database.
        findings: the same in sentences, worth a reader's attention.
        notes: notes of set and split.
    """

    dataset: str
    protocol: str
    seed: int
    digest: str
    pictures: int
    size: tuple[int, int] | None
    synthetic: bool
    counts: dict[str, int]
    lines: dict[str, dict[str, int]]
    query_in_database: int
    query_in_train: int
    query_copies_in_database: int | None
    train_outside_database: int
    copies: int | None
    queries_with_copy: int | None
    unlabeled: dict[str, int]
    without_text: dict[str, int] | None
    label_counts: dict[str, int]
    labels_per_picture: float
    chance: float
    map_ceiling: float
    findings: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return asdict(self)


def picture_groups(dataset: Dataset) -> Ints:
    """Number of the first picture with the same pixels, `(N,)`; a picture without an earlier copy has its own number.

    Raises:
        DataMissingError: the set has no pixels.
    """
    first: dict[str, int] = {}
    groups = np.empty(len(dataset), np.int64)
    for start in range(0, len(dataset), BLOCK):
        for i, image in enumerate(dataset.images.pixels(slice(start, start + BLOCK)), start):
            groups[i] = first.setdefault(digest_array(image), i)
    return groups


def relevance_summary(query: Bytes, database: Bytes) -> tuple[float, float]:
    """Chance level and MAP ceiling of labels.

    Args:
        query: query labels, `(Q, C)` {0, 1}.
        database: database labels, `(N, C)` {0, 1}.

    Returns:
        The share of pairs that have a label in common, and the share of queries with at least one such picture.
        A query without one counts as 0, as the field's CalcMap counts it.
    """
    if len(query) == 0 or len(database) == 0 or query.shape[1] == 0:
        return 0.0, 0.0
    # many pictures carry the same labels: compare distinct label rows only
    q, q_count = np.unique(query, axis=0, return_counts=True)
    d, d_count = np.unique(database, axis=0, return_counts=True)
    held = d.astype(np.float32)
    pairs, reachable = 0, 0
    for start in range(0, len(q), BLOCK):
        related = q[start : start + BLOCK].astype(np.float32) @ held.T > 0  # (b, distinct)
        found = related @ d_count  # relevant pictures of each distinct query row
        pairs += int(found @ q_count[start : start + BLOCK])
        reachable += int(q_count[start : start + BLOCK][found > 0].sum())
    return pairs / (len(query) * len(database)), reachable / len(query)


def check_dataset(dataset: Dataset, split: Split) -> CheckReport:
    """Count what may spoil a figure on this set and split.

    Raises:
        RequestError: the split names rows that the set does not have.
    """
    _check_rows(dataset, split)
    in_query, in_database = _mask(split.query, len(dataset)), _mask(split.database, len(dataset))
    used = np.unique(np.concatenate([getattr(split, role) for role in ROLES]))
    copies = with_copy = copied = None
    if not dataset.images.missing:
        groups = picture_groups(dataset)
        copies = len(used) - len(np.unique(groups[used]))
        with_copy = int(np.isin(groups[split.query], groups[np.setdiff1d(used, split.query)]).sum())
        alone = split.query[~in_database[split.query]]
        copied = int(np.isin(groups[alone], groups[split.database]).sum())
    chance, ceiling = relevance_summary(dataset.labels[split.query], dataset.labels[split.database])
    per_picture = dataset.labels.sum(1, dtype=np.int64)
    report = CheckReport(
        dataset=dataset.title,
        protocol=split.protocol,
        seed=split.seed,
        digest=split.digest,
        pictures=len(dataset),
        size=None if dataset.images.missing else dataset.images.size,
        synthetic=dataset.synthetic,
        counts=split.counts,
        lines={role: {"lines": n, "distinct": kept} for role, (n, kept) in split.lines.items()},
        query_in_database=int((in_query & in_database).sum()),
        query_in_train=int(in_query[split.train].sum()),
        query_copies_in_database=copied,
        train_outside_database=int((~in_database[split.train]).sum()),
        copies=copies,
        queries_with_copy=with_copy,
        unlabeled={role: int((per_picture[getattr(split, role)] == 0).sum()) for role in ROLES},
        without_text=_without_text(dataset, split),
        label_counts=dict(zip(dataset.class_names, dataset.labels.sum(0, dtype=np.int64).tolist(), strict=True)),
        labels_per_picture=float(per_picture.mean()) if len(dataset) else 0.0,
        chance=chance,
        map_ceiling=ceiling,
        findings=(),
        notes=(*dataset.notes, *split.notes),
    )
    return CheckReport(**{**vars(report), "findings": tuple(_findings(report, dataset))})


def _without_text(dataset: Dataset, split: Split) -> dict[str, int] | None:
    if dataset.texts is None:
        return None
    blank = np.array([not text.strip() for text in dataset.texts], np.bool_)
    return {role: int(blank[getattr(split, role)].sum()) for role in ROLES}


def _findings(report: CheckReport, dataset: Dataset) -> list[str]:
    said = []
    Q, N = report.counts["query"], report.counts["database"]
    for role, count in report.lines.items():
        if count["lines"] != count["distinct"]:
            said.append(f"the {role} list has {count['lines']:,} lines of which {count['distinct']:,} are distinct")
    if report.query_in_database:
        said.append(f"{report.query_in_database:,} of {Q:,} queries are in the database themselves")
    if report.query_in_train:
        said.append(f"{report.query_in_train:,} of {Q:,} queries are in the training part")
    if report.train_outside_database:
        said.append(f"{report.train_outside_database:,} training pictures are not in the database")
    if report.copies:
        said.append(f"{report.copies:,} pictures are pixel-identical copies of others")
    if report.queries_with_copy:
        said.append(f"{report.queries_with_copy:,} of {Q:,} queries have a copy outside the query part")
    labeled = bool(dataset.labels.any())
    if report.unlabeled["query"] and labeled:
        said.append(f"{report.unlabeled['query']:,} of {Q:,} queries have no label")
    if report.unlabeled["database"] and labeled:
        said.append(f"{report.unlabeled['database']:,} of {N:,} database pictures have no label")
    for role, n in (report.without_text or {}).items():
        if 0 < n < report.counts[role]:
            said.append(f"{n:,} of {report.counts[role]:,} {CALLED[role]} have no text")
    said += name_findings(dataset.class_names, list(report.label_counts.values()))
    if max(report.label_counts.values(), default=0) == 1:
        said.append("no label stands on two pictures: only changed copies of a picture can be searched for")
    if not labeled:
        said.append(
            "no picture has a label: searches are measured by whether a changed picture still finds its original"
        )
    elif Q and N and report.chance == 1:
        said.append(
            "every query shares a label with every database picture: chance level is 1, nothing can be measured"
        )
    elif report.map_ceiling == 0:
        said.append("no query shares a label with a database picture: nothing can be measured")
    elif report.map_ceiling < 1:
        said.append(f"MAP cannot exceed {report.map_ceiling:.3f}: the other queries have nothing relevant to find")
    if dataset.images.missing:
        said.append(f"copies of pictures were not looked for: {dataset.images.missing}")
    return said


def _check_rows(dataset: Dataset, split: Split) -> None:
    for role in ROLES:
        index: Ints = getattr(split, role)
        if len(index) and int(index.max()) >= len(dataset):
            raise RequestError(f"the {role} split names row {int(index.max())}, {dataset.name} has {len(dataset)} rows")


def _mask(index: Ints, n: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    mask = np.zeros(n, np.bool_)
    mask[index] = True
    return mask


def drop_duplicates(dataset: Dataset, split: Split) -> Split:
    """Take copies out of database, training and validation; queries stay, except copies of an earlier query.

    A database picture is dropped where it is a query, copies one, or copies an earlier database picture. A training picture is
    dropped where it is a query, too, but under the protocol `unlabeled`, which means it so.

    Returns:
        A new split, whose hash differs where anything was dropped; a note says how many.

    Raises:
        RequestError: the split names rows that the set does not have, or nothing is left of the database.
        DataMissingError: the set has no pixels to compare.
    """
    _check_rows(dataset, split)
    groups = picture_groups(dataset)
    query = split.query[_first_of_each(groups[split.query])]
    free = split.database[~np.isin(groups[split.database], groups[query])]
    database = free[_first_of_each(groups[free])]
    if len(database) == 0:
        raise RequestError(f"every database picture of {dataset.name} is a copy of a query; nothing is left")
    outside = np.setdiff1d(split.train, split.database)  # lists may train on pictures that no search finds
    taken = groups[np.concatenate([query, database])]
    kept_outside = outside[~np.isin(groups[outside], taken)]
    learned = query if split.protocol == "unlabeled" else query[:0]
    kept = np.concatenate([database, kept_outside[_first_of_each(groups[kept_outside])], learned])
    train = split.train[np.isin(split.train, kept)]
    validation = split.validation[np.isin(split.validation, kept)]
    dropped = len(split.query) - len(query) + len(split.database) - len(database)
    return Split(
        train=train,
        validation=validation,
        query=query,
        database=database,
        protocol=split.protocol,
        seed=split.seed,
        content=split.content,
        lines=split.lines,
        notes=(
            *split.notes,
            f"{dropped:,} copies were dropped, {len(split.database) - len(database):,} of them from the database",
        ),
    )


def _first_of_each(groups: Ints) -> Ints:
    """Positions of the first member of every group, in their order."""
    return np.sort(np.unique(groups, return_index=True)[1])
