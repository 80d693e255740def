"""THA's loss against a literal transcription, and what the trained net gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hamguard.attacks.guides.prototype import PUBLISHED, PrototypeCode, prototype_net
from hamguard.attacks.guides.vote import SignedMean
from hamguard.attacks.losses.circle import circle_loss
from hamguard.codes.bank import CodeBank
from hamguard.core.errors import RequestError, RunError
from hamguard.core.seeds import torch_generator


def clusters(n: int = 60, classes: int = 3, bits: int = 16, flip: float = 0.1) -> CodeBank:
    """Codes of single-label items: every bit is one class against the others, and some are flipped."""
    generator = torch_generator(3, "clusters")
    centers = torch.where(torch.arange(bits) % classes == torch.arange(classes)[:, None], 1.0, -1.0)
    number = torch.arange(n) % classes
    flips = torch.where(torch.rand(n, bits, generator=generator) < flip, -1.0, 1.0)
    return CodeBank.of(centers[number] * flips, torch.eye(classes)[number])


def literal(h: np.ndarray, codes: np.ndarray, similar: np.ndarray, joint: bool) -> float:
    """The equations of D.3 with loops."""
    labels, total = len(h), 0.0
    rows = []
    for i in range(labels):
        positive, negative = [], []
        for j in range(len(codes)):
            s = sum(h[i, k] * codes[j, k] for k in range(h.shape[1])) / h.shape[1]
            if similar[i, j]:
                positive.append(-max(2 - s, 0) * s)
            else:
                negative.append(max(2 + s, 0) * s)
        rows.append((positive, negative))
        total += 1e-4 * sum(((1 if h[i, k] >= 0 else -1) - h[i, k]) ** 2 for k in range(h.shape[1]))
    if joint:
        rows = [([v for p, _ in rows for v in p], [v for _, n in rows for v in n])]
    for part in rows:
        total += sum(math.log(sum(math.exp(v) for v in values)) for values in part if values)
    return total / labels


@pytest.mark.parametrize("joint", [False, True])
def test_loss_is_the_transcription(joint: bool) -> None:
    rng = np.random.default_rng(0)
    h, codes = rng.uniform(-1, 1, (3, 4)), rng.choice([-1.0, 1.0], (5, 4))
    similar = rng.random((3, 5)) < 0.4
    similar[1], similar[2] = True, False  # one label without others, one without similar codes
    args = (torch.from_numpy(h), torch.from_numpy(codes), torch.from_numpy(similar))
    assert float(circle_loss(*args, joint=joint)) == pytest.approx(literal(h, codes, similar, joint), rel=1e-9)


def test_loss_has_finite_gradients_where_a_part_is_empty_and_none_through_its_weights() -> None:
    h = torch.tensor([[0.5, -0.5]], requires_grad=True)
    circle_loss(h, torch.tensor([[1.0, 1], [1, -1]]), torch.zeros(1, 2, dtype=torch.bool)).backward()
    assert h.grad is not None and bool(h.grad.isfinite().all())
    one = torch.tensor([[0.5, 0.5]], requires_grad=True)
    circle_loss(one, torch.tensor([[1.0, 1]]), torch.ones(1, 1, dtype=torch.bool)).backward()
    # s = 0.5, weight 2 - s = 1.5 held fixed: d/dh = -1.5 / 2, and the quantization's 2e-4 (h - 1)
    assert one.grad is not None and one.grad.flatten().tolist() == pytest.approx([-0.75 - 1e-4] * 2)


def test_prototypes_of_single_labels_are_nearly_the_center_codes() -> None:
    bank, label = clusters(), torch.eye(3)
    own = torch.ones(3, bank.bits)
    got = PrototypeCode(steps=60).fit(bank)(own, label, None, range(3), 0)
    center = SignedMean("center")(own, label, bank, range(3), 0)
    assert int((got != center).sum()) <= 1
    for row in range(3):
        dist = (bank.bits - bank.codes @ got[row]) / 2  # (N,)
        same = torch.from_numpy(bank.labels[:, row] == 1)
        assert float(dist[same].max()) < float(dist[~same].min()), "every code of the class is nearer than any other"


def test_training_repeats_with_the_seed_and_draws_nothing_global() -> None:
    bank, own = clusters(), torch.ones(3, 16)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    guide = PrototypeCode(steps=3, codes_per_step=20)
    first, second, other = guide.fit(bank, 1), guide.fit(bank, 1), guide.fit(bank, 2)
    assert torch.equal(state, torch.random.get_rng_state())
    for a, b in zip(first.net.parameters(), second.net.parameters(), strict=True):
        assert torch.equal(a, b) and not a.requires_grad
    assert first.loss == second.loss != other.loss
    on_the_fly = guide(own, torch.eye(3), bank, range(3), 1)
    assert torch.equal(on_the_fly, first(own, torch.eye(3), bank, range(3), 1))
    with torch.no_grad(), torch.inference_mode(False):
        assert guide.fit(bank, 1).loss == first.loss, "also where the caller has gradients off"


def test_first_weights_are_the_framework_defaults_in_size() -> None:
    net = prototype_net(100, 8, torch_generator(0))
    for layer in (net[0], net[2], net[3]):
        assert isinstance(layer, torch.nn.Linear)
        bound = layer.in_features**-0.5
        assert 0.9 * bound < float(layer.weight.detach().abs().max()) <= bound
        assert float(layer.bias.detach().abs().max()) <= bound


def test_the_published_training_is_written_down() -> None:
    assert (PUBLISHED.steps, PUBLISHED.rate, PUBLISHED.batch_size) == (100 * 300, 1e-4, 32)
    assert PUBLISHED.joint and PUBLISHED.codes_per_step is None


def test_wrong_inputs_explain_themselves() -> None:
    bank, own = clusters(), torch.ones(3, 16)
    fitted = PrototypeCode(steps=1).fit(bank)
    with pytest.raises(RequestError, match="the prototype code needs the labels of the pictures"):
        fitted(own, None, bank, range(3), 0)
    with pytest.raises(RequestError, match="labels have 4 classes, the reference codes 3"):
        fitted(own, torch.eye(4), bank, range(4), 0)
    with pytest.raises(RequestError, match="fitted on codes of 16 bits, the model has 8"):
        fitted(own[:, :8], torch.eye(3), bank, range(3), 0)
    with pytest.raises(RequestError, match="the prototype code needs reference codes with labels, got none"):
        PrototypeCode().fit(None)
    with pytest.raises(RequestError, match="every label vector is empty"):
        PrototypeCode().fit(CodeBank.of(own, torch.zeros(3, 2)))
    with pytest.raises(RequestError, match="steps must be at least 1, got 0"):
        PrototypeCode(steps=0)
    with pytest.raises(RequestError, match="codes per step must be at least 1, got 0"):
        PrototypeCode(codes_per_step=0)
    with pytest.raises(RunError, match="training of the prototype net ended in NaN; take a smaller rate"):
        PrototypeCode(steps=4, rate=1e38).fit(bank)
