"""LSH: random directions, as many as one likes."""

import torch

from hamguard.hashing.unsupervised import fit_lsh
from tests.hashing.test_unsupervised import features


def test_it_takes_more_bits_than_dimensions():
    assert fit_lsh(features(), 64, 0).weight.shape == (64, 20)


def test_directions_are_those_of_the_seed_through_the_mean():
    x = features()
    head = fit_lsh(x, 8, 3)
    assert torch.equal(fit_lsh(x * 2 + 1, 8, 3).weight, head.weight), "the data move the planes, not their directions"
    torch.testing.assert_close(head.weight.norm(dim=1), torch.ones(8))
    torch.testing.assert_close(head(x.mean(0, keepdim=True)), torch.zeros(1, 8), atol=1e-4, rtol=0)
