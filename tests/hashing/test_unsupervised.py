"""LSH, PCA sign, ITQ and Hashing-Baseline: heads, determinism, errors, and that ITQ lowers the quantization error."""

import pytest
import torch

from hamguard.core.errors import RequestError
from hamguard.hashing.registry import UNSUPERVISED
from hamguard.hashing.unsupervised import fit_hashing_baseline, fit_itq, fit_lsh, fit_pca


def features(n=400, D=20, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, D, generator=g) * torch.linspace(3, 0.1, D) + 5


@pytest.mark.parametrize("name", sorted(UNSUPERVISED))
def test_head_is_deterministic_and_every_bit_splits_the_data(name):
    x = features()
    head = UNSUPERVISED[name](x, 12, 4)
    again = UNSUPERVISED[name](x, 12, 4)
    assert head.weight.shape == (12, 20) and head.bias.shape == (12,) and head.weight.dtype == torch.float32
    assert torch.equal(head.weight, again.weight) and torch.equal(head.bias, again.bias)
    share = (head(x) > 0).float().mean(0)
    assert float(share.min()) > 0.2 and float(share.max()) < 0.8
    torch.testing.assert_close(head(x).mean(0), torch.zeros(12), atol=1e-4, rtol=0)


@pytest.mark.parametrize("fit", [fit_lsh, fit_itq, fit_hashing_baseline])
def test_seed_changes_the_head(fit):
    assert not torch.equal(fit(features(), 8, 0).weight, fit(features(), 8, 1).weight)


@pytest.mark.parametrize("fit", [fit_pca, fit_itq, fit_hashing_baseline])
def test_too_many_bits(fit):
    with pytest.raises(RequestError, match="at most the 20 dimensions"):
        fit(features(), 21, 0)


def test_bad_features():
    with pytest.raises(RequestError, match="features must have shape"):
        fit_lsh(torch.zeros(3), 4, 0)
    with pytest.raises(RequestError, match="bits must be at least 1"):
        fit_lsh(features(), 0, 0)
    with pytest.raises(RequestError, match="finite numbers"):
        fit_lsh(torch.full((3, 2), float("nan")), 4, 0)
