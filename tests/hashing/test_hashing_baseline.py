"""Hashing-Baseline: mean, principal components, a random rotation, sign."""

import numpy as np
import pytest
import torch

from hamguard.core.errors import RequestError
from hamguard.core.seeds import numpy_generator
from hamguard.hashing.unsupervised import fit_hashing_baseline, fit_itq, fit_pca
from tests.hashing.test_unsupervised import features


def test_it_is_the_paper_s_chain_written_out():
    """z = V^T (x - mean) by the singular value decomposition, u = R z: signs of the directions of V may differ, R is orthogonal."""
    x = features(n=60, D=9).double().numpy()
    head = fit_hashing_baseline(torch.from_numpy(x), 5, 3)
    centered = x - x.mean(axis=0)
    _, _, right = np.linalg.svd(centered, full_matrices=False)
    z = centered @ right[:5].T  # (n, 5)
    u = head(torch.from_numpy(x).float()).double().numpy()  # (n, 5)
    rotation, *_ = np.linalg.lstsq(z, u, rcond=None)
    np.testing.assert_allclose(z @ rotation, u, atol=1e-4)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(5), atol=1e-5)


def test_the_rotation_is_drawn_from_the_seed():
    x = features()
    pca, head = fit_pca(x, 8, 0), fit_hashing_baseline(x, 8, 5)
    rotation, _ = np.linalg.qr(numpy_generator(5, "hashing-baseline").standard_normal((8, 8)))
    torch.testing.assert_close(head.weight, torch.from_numpy(rotation).float() @ pca.weight, atol=1e-5, rtol=0)
    assert not torch.equal(head.weight, fit_hashing_baseline(x, 8, 6).weight)


def test_bits_carry_alike_where_those_of_pca_do_not():
    x = features(n=800)
    spread = [float(fit(x, 12, 0)(x).std(0).std()) for fit in (fit_pca, fit_hashing_baseline)]
    assert spread[1] < spread[0] / 2


def test_it_is_itq_before_its_first_step_up_to_the_draw():
    x = features()
    start, head = fit_itq(x, 6, 0, steps=0), fit_hashing_baseline(x, 6, 0)
    torch.testing.assert_close(start.weight.T @ start.weight, head.weight.T @ head.weight, atol=1e-5, rtol=0)


def test_more_bits_than_dimensions_are_refused():
    with pytest.raises(RequestError, match="at most the 20 dimensions"):
        fit_hashing_baseline(features(), 21, 0)
