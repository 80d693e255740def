"""The rule of `core.label_arrays`, under the name that it had here."""

from hamguard.core.label_arrays import LabelArray, read_label_array

__all__ = ["LabelArray", "read_label_array"]
