"""`Data`: a data set with its split, opened by name or made from arrays; and what a card says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hamguard.core.errors import RequestError
from hamguard.core.label_arrays import as_array
from hamguard.data.arrays import read_names, stored_parts
from hamguard.data.cache import Progress
from hamguard.data.check import drop_duplicates as without_duplicates
from hamguard.data.dataset import Dataset
from hamguard.data.given import check_name, image_store, own_split, split_of_rows, texts_of
from hamguard.data.protocols import make_split, usual_protocol
from hamguard.data.sources import open_source
from hamguard.data.split import Part, Role, Split

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class DataPart:
    """The pictures that play one role.

    Attributes:
        dataset: the whole data set.
        split: the whole split.
        part: role and rows of the data set, `(n,)`.
    """

    dataset: Dataset
    split: Split
    part: Part

    def __len__(self) -> int:
        return len(self.part)

    def __repr__(self) -> str:
        return f"{len(self):,} {self.role} pictures of {self.dataset.title}"

    @property
    def role(self) -> Role:
        """`train`, `validation`, `query` or `database`."""
        return self.part.role

    @property
    def images(self) -> Tensor:
        """The pictures, `(n, C, H, W)` float32 in [0, 1]; all at once, so take `first(n)` of a large set.

        Raises:
            DataMissingError: the set has no pixels here; the message says which files to put where.
        """
        return self.dataset.images.batch(self.part.index)

    @property
    def labels(self) -> Tensor:
        """Multi-hot labels, `(n, C)` float32 in {0, 1}."""
        import torch

        return torch.from_numpy(self.dataset.labels[self.part.index]).float()

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the pictures."""
        return tuple(map(str, self.dataset.ids[self.part.index]))

    @property
    def texts(self) -> tuple[str, ...] | None:
        """One text a picture, None where the set has none."""
        texts = self.dataset.texts
        return None if texts is None else tuple(texts[i] for i in self.part.index)

    def first(self, n: int | None) -> DataPart:
        """The first `n` of them; queries stand in a fair order, so that these are a sample.

        Raises:
            RequestError: `n` is below 1.
        """
        return DataPart(self.dataset, self.split, self.part.first(n))


@dataclass(frozen=True, eq=False)
class Data:
    """A data set and its split.

    Attributes:
        dataset: pictures, labels, texts.
        split: which picture plays which part.
    """

    dataset: Dataset
    split: Split

    @classmethod
    def open(
        cls,
        source: str,
        *,
        root: Path | str | None = None,
        protocol: str | None = None,
        split_seed: int = 0,
        size: int | None = None,
        drop_duplicates: bool = False,
        progress: Progress | None = None,
        pictures: bool = True,
    ) -> Data:
        """Open data by name; arguments and errors as in `open_source`, whose `seed` is `split_seed` here."""
        return cls(
            *open_source(
                source,
                root=root,
                protocol=protocol,
                seed=split_seed,
                size=size,
                drop_duplicates=drop_duplicates,
                progress=progress,
                pictures=pictures,
            )
        )

    @classmethod
    def of(
        cls,
        images: Any,
        labels: Any = None,
        texts: Sequence[str] | None = None,
        split: Split | Mapping[str, Any] | Any | None = None,
        *,
        name: str = "arrays",
        split_seed: int = 0,
        class_names: Sequence[str] | None = None,
    ) -> Data:
        """Data from arrays, tensors or lists.

        Args:
            images: real numbers in [0, 1] or uint8, `(N, C, H, W)`, `(N, H, W, C)` or `(N, H, W)`; `C` is 1 or 3. Real numbers are
                rounded to 8 bits, as a file would hold them.
            labels: class numbers or names `(N,)`, or multi-hot `(N, C)` of 0 and 1; None where pictures have none.
            texts: one text a picture.
            split: which picture plays which part: `(N,)` numbers (0 train, 1 validation, 2 query, 3 rest of the database); rows by
                role, `{"query": rows, "database": rows}`, with `train` and `validation` where they are not to be drawn; or a
                `Split`. None draws a sixth as queries, at most 2,000; the rest is the database, of which a twelfth of the set,
                at most 1,000, is validation, and what is left is learned from.
            name: what rows, cards and tables call the data; they are never looked for under it.
            split_seed: seed of what is drawn of the split.
            class_names: names of the labels in the order of their numbers or columns; by default their numbers.

        Raises:
            RequestError: images or labels of another shape, of another number, or out of range; a split that does not fit.
        """
        check_name(name)
        store, notes = image_store(images)
        names = None if class_names is None else tuple(map(str, class_names))
        if labels is None and names:
            raise RequestError("class_names name labels, and there are none")
        marks, columns, label_notes = (
            (np.zeros((len(store), 0), np.uint8), (), ("pictures without labels",))
            if labels is None
            else read_names(as_array(labels), names, len(store))
        )
        native = (
            None if split is None or isinstance(split, (Split, Mapping)) else stored_parts(as_array(split), len(store))
        )
        dataset = Dataset(
            name=name,
            images=store,
            labels=marks,
            class_names=columns,
            ids=np.arange(len(store)).astype(str),
            texts=None if texts is None else texts_of(texts),
            notes=(*notes, *label_notes),
            native=native,
        )
        if isinstance(split, Split):
            return cls(dataset, own_split(split, dataset))
        if isinstance(split, Mapping):
            return cls(dataset, split_of_rows(split, dataset, split_seed))
        return cls(dataset, make_split(dataset, usual_protocol(dataset), split_seed))

    def __len__(self) -> int:
        return len(self.dataset)

    def __repr__(self) -> str:
        counts = ", ".join(f"{role} {n:,}" for role, n in self.split.counts.items())
        return (
            f"Data({self.dataset.title!r}, {self.dataset.images!r}, {len(self.dataset.class_names)} labels; {counts})"
        )

    def under(self, protocol: str) -> Data:
        """The same pictures, parted by another protocol with the same seed.

        Raises:
            RequestError: unknown protocol, one made for another data set, or too few pictures for it.
        """
        dataset, opened = self.dataset, self.dataset.opened
        split = make_split(dataset, protocol, self.split.seed)
        if opened is not None:
            if opened.drop_duplicates:
                split = without_duplicates(dataset, split)
            dataset = replace(dataset, opened=replace(opened, protocol=protocol, split=split.digest))
        return Data(dataset, split)

    def part(self, role: Role) -> DataPart:
        """One part.

        Raises:
            RequestError: unknown role.
        """
        return DataPart(self.dataset, self.split, self.split.part(role))

    @property
    def query(self) -> DataPart:
        """What is asked for; any first n of them are a fair sample."""
        return self.part("query")

    @property
    def database(self) -> DataPart:
        """What is searched."""
        return self.part("database")

    @property
    def everything(self) -> DataPart:
        """All images as what is searched."""
        return DataPart(self.dataset, self.split, Part("database", np.arange(len(self.dataset))))

    @property
    def train(self) -> DataPart:
        """What is learned from."""
        return self.part("train")

    @property
    def validation(self) -> DataPart:
        """What selects models."""
        return self.part("validation")


def reopening(dataset: Dataset, split: Split) -> dict[str, Any]:
    """How to open a data set and its split again.

    Returns:
        `source`, `protocol`, `split_seed`, `size` and `drop_duplicates` as `open_source` took them. All are None where
        pictures, labels or split are not those of a source any more, or never were: they can be found under no name.
    """
    opened = dataset.opened
    if opened is None or (opened.content, opened.split) != (dataset.digest, split.digest):
        return dict.fromkeys(("source", "protocol", "split_seed", "size", "drop_duplicates"))
    return {
        "source": opened.source,
        "protocol": opened.protocol,
        "split_seed": opened.split_seed,
        "size": opened.size,
        "drop_duplicates": opened.drop_duplicates,
    }


def data_facts(dataset: Dataset, split: Split) -> dict[str, Any]:
    """The part `data` of a model's card."""
    again = reopening(dataset, split)
    return {
        "source": again.pop("source"),
        "name": dataset.title,
        **again,
        "split": split.describe(),
        "notes": [*dataset.notes, *split.notes],
        "class_names": list(dataset.class_names),
    }


def training_facts(dataset: Dataset, split: Split) -> dict[str, Any]:
    """The same for a generator, a protector or a purifier, which learn from the training part alone."""
    facts = data_facts(dataset, split)
    del facts["class_names"]
    return {**facts, "split": split.digest, "train": len(split.train)}
