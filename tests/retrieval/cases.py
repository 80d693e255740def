"""Small rankings with known distances, for the tests of metrics."""

import itertools

import numpy as np

from hamguard.codes.binary import pack
from hamguard.codes.histograms import DistanceHistograms
from hamguard.codes.labeled import Codes

# K.3 of the method collection.
DISTANCES = [0, 0, 1, 1, 1, 2, 2, 3]
RELEVANCE = [1, 0, 1, 1, 0, 0, 1, 0]


def ranking(distances, relevance, bits=3):
    """A query of zeros, and a database at the given distances."""
    codes = np.array([[1] * d + [0] * (bits - d) for d in distances])
    query = Codes(pack(np.zeros((1, bits), dtype=int)), bits, np.array([[1, 0]], dtype=np.uint8))
    labels = np.array([[r, 1 - r] for r in relevance], dtype=np.uint8)
    return query, Codes(pack(codes), bits, labels)


def table(distances, relevance, bits=3):
    marked = np.array(relevance, dtype=bool)
    total = np.bincount(distances, minlength=bits + 1)[None]
    return DistanceHistograms(total, np.bincount(np.array(distances)[marked], minlength=bits + 1)[None], bits)


def orders(distances, relevance):
    """Relevance lists of every order that equal distances allow."""
    groups = [[r for d, r in zip(distances, relevance, strict=True) if d == x] for x in sorted(set(distances))]
    for parts in itertools.product(*(itertools.permutations(g) for g in groups)):
        yield [r for part in parts for r in part]


def literal_ap(order, at=None, norm="relevant"):
    """Average precision of one ranked list, by the definition."""
    cut = len(order) if at is None else min(at, len(order))
    hits, total = 0, 0.0
    for rank in range(1, cut + 1):
        if order[rank - 1]:
            hits += 1
            total += hits / rank
    divisor = {"relevant": sum(order), "hits": hits, "min": sum(order) if at is None else min(at, sum(order))}[norm]
    return total / divisor if divisor else 0.0
