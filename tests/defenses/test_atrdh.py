"""ATRDH: a step trains the prototype, attacks toward it, and asks for the true similarities."""

from __future__ import annotations

import copy

import torch

from hamguard.attacks.guides.prototype import BETAS
from hamguard.core.seeds import torch_generator
from hamguard.defenses.atrdh import ATRDH
from tests.defenses.conftest import BITS, Place, batch_of, begun
from tests.defenses.steps import (
    INDEX,
    literal_pgd,
    pictures,
    same_gradient,
    signs,
)


def test_a_step_is_the_printed_one(place: Place) -> None:
    task = begun(place, "atrdh", "weight=2")
    assert isinstance(task, ATRDH)
    twin, net = copy.deepcopy(task.model), copy.deepcopy(task.prototype)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, betas=BETAS)
    everything, labels, index = pictures(place)
    bank = torch.tanh(twin(everything)).detach()
    x, y = everything[index], labels[index]
    generator = torch_generator(0, "step")
    pool = labels.unique(dim=0)
    targets = pool[torch.randint(len(pool), (len(INDEX),), generator=generator)]
    h, codes, similar = net(targets), signs(bank), targets @ labels.T > 0  # the THA loss, joint over the batch
    s = h @ codes.T / BITS
    pull = torch.logsumexp((-(2 - s.detach()) * s)[similar], 0)
    push = torch.logsumexp(((2 + s.detach()) * s)[~similar], 0)
    loss = (pull + push + 1e-4 * (signs(h) - h).square().sum()) / len(h)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    code = signs(net(targets)).detach()
    draw = int(torch.randint(2**62, (), generator=generator))
    x1 = literal_pgd(twin, x, code, +1, INDEX, draw)  # x1 <- PGD toward sign(P(y_t))
    z, u1 = twin(x), torch.tanh(twin(x1))
    s_true = torch.where(y @ labels.T > 0, 1.0, -1.0)  # S under the true labels
    want = task.objective.loss(z, y, index, 0.25) + 2 * (u1 @ bank.T / BITS - s_true).square().mean()
    found = task.step(batch_of(*INDEX))
    for a, b in zip(task.prototype.parameters(), net.parameters(), strict=True):
        off = (
            a - b
        ).abs() > 1e-6 + 1e-4 * b.abs()  # Adam divides by the gradient's size, also where that is rounding alone
        assert float(off.float().mean()) < 1e-3 and float((a - b).detach().abs().max()) <= 2e-3
    same_gradient(task, found, want, twin)
