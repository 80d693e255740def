"""Losses of pairs as slow loops, which the methods that learn from pairs must agree with."""

import torch


def example(B=5, N=7, K=6, C=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    u, other = (torch.tanh(torch.randn(n, K, generator=g, dtype=torch.double)) for n in (B, N))
    labels, other_labels = ((torch.rand(n, C, generator=g) < 0.3).double() for n in (B, N))
    return u, labels, other, other_labels


def dot(a, b):
    return sum(float(p) * float(q) for p, q in zip(a, b, strict=True))


def slow_mean(value, u, labels, other, other_labels, *, balance, skip_self):
    kinds = {0: [], 1: []}
    for i in range(len(u)):
        for j in range(len(other)):
            if skip_self and i == j:
                continue
            s = int(dot(labels[i], other_labels[j]) > 0)
            kinds[s].append(value(u[i], other[j], s))
    if balance:
        return 0.5 * sum(kinds[0]) / len(kinds[0]) + 0.5 * sum(kinds[1]) / len(kinds[1])
    return sum(kinds[0] + kinds[1]) / len(kinds[0] + kinds[1])


def quant(u, power):
    return sum(abs(abs(float(e)) - 1) ** power for row in u for e in row) / u.numel()


def agrees(loss, value, extra, *, balance, own, factor=1):
    """Whether a loss is the mean of `value` over pairs, times a factor, and what `extra` says of the codes alone."""
    u, labels, other, other_labels = example()
    if own:
        other, other_labels = u, labels
    slow = slow_mean(value, u, labels, other, other_labels, balance=balance, skip_self=own)
    fast = loss(u, labels, other, other_labels, balance=balance, skip_self=own)
    return abs(float(fast) - (factor * slow + extra(u))) < 1e-6
