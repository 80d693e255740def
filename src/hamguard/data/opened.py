"""What a card says of the data: where they can be opened again, or that they cannot."""

from __future__ import annotations

from typing import Any

from hamguard.data.dataset import Dataset
from hamguard.data.split import Split


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
    """The part `data` of the card of a generator, a protector or a purifier, which learn from the training part alone."""
    again = reopening(dataset, split)
    return {
        "source": again["source"],
        "name": dataset.title,
        "protocol": again["protocol"],
        "split": split.digest,
        "train": len(split.train),
        "notes": [*dataset.notes, *split.notes],
    }
