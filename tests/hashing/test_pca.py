"""PCA sign: the directions of most variance, whatever the seed."""

import torch

from hamguard.hashing.unsupervised import fit_pca
from tests.hashing.test_unsupervised import features


def test_directions_are_those_of_most_variance_whatever_the_seed():
    x = features()
    head = fit_pca(x, 5, 0)
    assert torch.equal(head.weight, fit_pca(x, 5, 9).weight)
    spread = head(x).var(0)
    torch.testing.assert_close(
        spread, torch.linalg.eigvalsh(x.double().T.cov()).flip(0)[:5].float(), atol=1e-3, rtol=1e-3
    )
    torch.testing.assert_close(head.weight @ head.weight.T, torch.eye(5), atol=1e-5, rtol=0)
