"""Ranking metrics on banks of codes: `hg.metrics.mean_average_precision(query, database)`."""

from __future__ import annotations

from hamguard.codes.histograms import distance_histograms
from hamguard.retrieval.curves import precision_curve, radius_curve, radius_precision, radius_recall, recall_curve
from hamguard.retrieval.intervals import bootstrap_interval, paired_difference
from hamguard.retrieval.metrics import (
    Score,
    average_precision,
    first_hits_average_precision,
    mean_average_precision,
    ndcg_at,
    precision_at,
    recall_at,
    with_labels,
)

__all__ = [
    "Score",
    "average_precision",
    "bootstrap_interval",
    "distance_histograms",
    "first_hits_average_precision",
    "mean_average_precision",
    "ndcg_at",
    "paired_difference",
    "precision_at",
    "precision_curve",
    "radius_curve",
    "radius_precision",
    "radius_recall",
    "recall_at",
    "recall_curve",
    "with_labels",
]
