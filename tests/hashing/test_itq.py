"""ITQ: a rotation of the components that lowers the quantization error."""

import torch

from hamguard.hashing.unsupervised import fit_itq, fit_pca
from tests.hashing.test_unsupervised import features


def test_it_rotates_the_components_and_lowers_the_error():
    x = features()
    pca, start, end = fit_pca(x, 8, 0), fit_itq(x, 8, 0, steps=0), fit_itq(x, 8, 0)

    def error(head):
        v = head(x)
        return float((torch.where(v < 0, -1.0, 1.0) - v).square().sum())

    assert error(end) < error(start)
    torch.testing.assert_close(end.weight @ end.weight.T, torch.eye(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(end.weight.T @ end.weight, pca.weight.T @ pca.weight, atol=1e-5, rtol=0)
