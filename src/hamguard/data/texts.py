"""The texts of a data set, where it has any."""

from __future__ import annotations

from hamguard.core.errors import RequestError
from hamguard.data.dataset import Dataset


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
