"""Codes without labels: a fixed linear head on given features, fitted in seconds.

* LSH: M. S. Charikar, "Similarity Estimation Techniques from Rounding Algorithms", STOC 2002: signs of random projections, here
  around the mean, so that every bit splits the data.
* PCA sign: signs of the first K principal components.
* ITQ: Y. Gong, S. Lazebnik, "Iterative Quantization: A Procrustean Approach to Learning Binary Codes", CVPR 2011: the principal
  components, rotated so that they lie near the corners of the cube.
* Hashing-Baseline: I. Moummad, K. Zaher, L. Rauch, A. Joly, "Hashing-Baseline: Rethinking Hashing in the Age of Pretrained Models",
  arXiv 2509.14427, 2025; code ilyassmoummad/hashing-baseline: the principal components, rotated at random, so that all bits carry
  alike. It is ITQ before its first step.

Deliberate differences:

* ITQ is computed here rather than by `faiss.ITQTransform`, because that one scales every vector to length one between two shifts,
  which is no linear head, and trains on a subsample.
* Hashing-Baseline's components are exact, its code finds them by a randomized decomposition; and its code ranks by distances of the
  sigmoids of a query's outputs from the bits of the database, where a query has bits here, too, as in every other search.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hamguard.core.checks import check_range, check_shape
from hamguard.core.errors import RequestError
from hamguard.core.seeds import numpy_generator
from hamguard.core.types import Floats
from hamguard.hashing.objective import LinearHead
from hamguard.hashing.registry import register_unsupervised


def _checked(features: Tensor, bits: int) -> Floats:
    check_shape("features", tuple(features.shape), ("n", "D"))
    check_range("bits", bits, 1)
    values = features.detach().cpu().double().numpy()
    if len(values) < 2 or not np.isfinite(values).all():
        raise RequestError(f"features must be at least 2 rows of finite numbers, got {tuple(features.shape)}")
    return values


def _head(weight: Floats, mean: Floats) -> LinearHead:
    return LinearHead(torch.from_numpy(weight).float(), torch.from_numpy(-weight @ mean).float())


def _components(values: Floats, bits: int) -> Floats:
    """First `bits` principal directions of `(n, D)` as rows `(K, D)`, signs fixed so that the greatest entry is positive."""
    if bits > values.shape[1]:
        raise RequestError(f"bits must be at most the {values.shape[1]} dimensions of the features, got {bits}")
    centered = values - values.mean(0)
    _, vectors = np.linalg.eigh(centered.T @ centered)  # ascending eigenvalues
    rows = vectors[:, ::-1][:, :bits].T
    greatest = rows[np.arange(bits), np.abs(rows).argmax(1)]
    return np.ascontiguousarray(rows * np.where(greatest < 0, -1.0, 1.0)[:, None])


def _rotation(bits: int, seed: int, name: str) -> Floats:
    """A random orthogonal matrix `(K, K)`: the Q of a Gaussian one."""
    rotation, _ = np.linalg.qr(numpy_generator(seed, name).standard_normal((bits, bits)))
    return rotation


@register_unsupervised("lsh", title="random hyperplanes (LSH, Charikar, STOC 2002)")
def fit_lsh(features: Tensor, bits: int, seed: int) -> LinearHead:
    """Random hyperplanes through the mean.

    Args:
        features: `(n, D)`, n at least 2.
        bits: code length K, any.
        seed: of the directions; equal seeds give equal heads.

    Raises:
        RequestError: features are not two-dimensional or not finite, or `bits` is less than 1.
    """
    values = _checked(features, bits)
    weight = numpy_generator(seed, "lsh").standard_normal((bits, values.shape[1]))
    return _head(weight / np.linalg.norm(weight, axis=1, keepdims=True), values.mean(0))


@register_unsupervised("pca", title="signs of principal components (PCA)", bits_of_features=True)
def fit_pca(features: Tensor, bits: int, seed: int) -> LinearHead:
    """Signs of the first principal components; `seed` plays no part.

    Args:
        features: `(n, D)`, n at least 2.
        bits: code length K, at most D.
        seed: ignored, there for the common signature.

    Raises:
        RequestError: as `fit_lsh`, or `bits` exceeds D.
    """
    values = _checked(features, bits)
    return _head(_components(values, bits), values.mean(0))


@register_unsupervised(
    "hashing-baseline", title="Hashing-Baseline (Moummad, Zaher, Rauch, Joly, 2025)", bits_of_features=True
)
def fit_hashing_baseline(features: Tensor, bits: int, seed: int) -> LinearHead:
    """Principal components under a random rotation: no training beyond the decomposition.

    Args:
        features: `(n, D)` of a frozen network, n at least 2.
        bits: code length K, at most D.
        seed: of the rotation; equal seeds give equal heads.

    Raises:
        RequestError: as `fit_lsh`, or `bits` exceeds D.
    """
    values = _checked(features, bits)
    return _head(_rotation(bits, seed, "hashing-baseline") @ _components(values, bits), values.mean(0))


@register_unsupervised("itq", title="ITQ (Gong and Lazebnik, CVPR 2011)", bits_of_features=True)
def fit_itq(features: Tensor, bits: int, seed: int, *, steps: int = 50) -> LinearHead:
    """Principal components, rotated to lower the quantization error `||B - V R||^2`.

    Args:
        features: `(n, D)`, n at least 2.
        bits: code length K, at most D.
        seed: of the first rotation; equal seeds give equal heads.
        steps: alternations of codes and rotation (paper 50).

    Raises:
        RequestError: as `fit_lsh`, or `bits` exceeds D.
    """
    values = _checked(features, bits)
    components = _components(values, bits)  # (K, D)
    projected = (values - values.mean(0)) @ components.T  # V, (n, K)
    rotation = _rotation(bits, seed, "itq")
    for _ in range(steps):
        codes = np.where(projected @ rotation < 0, -1.0, 1.0)  # fix R, update B
        left, _, right = np.linalg.svd(projected.T @ codes)  # fix B, update R: orthogonal Procrustes
        rotation = left @ right
    return _head(rotation.T @ components, values.mean(0))
