"""Robustness as numbers, one file a measure."""
