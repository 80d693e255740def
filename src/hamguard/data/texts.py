"""The texts of a data set, or features of them, where it has any."""

from __future__ import annotations

from hamguard.core.errors import RequestError
from hamguard.data.dataset import Dataset


def has_text_side(dataset: Dataset) -> bool:
    """Whether texts, or features of texts, stand beside the pictures."""
    return dataset.texts is not None or dataset.text_features is not None


def check_text_side(dataset: Dataset) -> None:
    """Check that a cross-modal model has something to read.

    Raises:
        RequestError: the data have neither texts nor features of texts.
    """
    if dataset.text_features is None:
        texts_of(dataset)


def texts_of(dataset: Dataset) -> tuple[str, ...]:
    """The texts of a data set.

    Raises:
        RequestError: it has none.
    """
    if dataset.texts is None or not any(text.strip() for text in dataset.texts):
        raise RequestError(
            f"{dataset.name} has no texts; cross-modal work needs one a picture: a text column in labels.csv or "
            "labels.jsonl, texts in an arrays file, or NAME_PART_text.txt beside lists"
        )
    return dataset.texts
