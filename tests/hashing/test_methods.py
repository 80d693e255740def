"""Laws and behavior that every registered method obeys; a new method is covered by being registered."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from hamguard.core.errors import RequestError
from hamguard.hashing.objective import Objective, Settings, pair_weights, similarity
from hamguard.hashing.registry import OBJECTIVES, register
from hamguard.training.recipe import Recipe

METHODS = OBJECTIVES.names()
VARIANTS = [(m, {}) for m in METHODS] + [
    *((m, {"pairs": "bank"}) for m in ("dpsh", "dph", "dsh", "hashnet", "dsdh")),
    ("dpsh", {"relaxation": "linear"}), ("dsh", {"relaxation": "tanh", "balance": True}),
    ("hashnet", {"continuation": "iterations"}),
    ("adsh", {"v_start": "zero", "negatives": "hard"}),
    ("orthohash", {"form": "arc", "targets": "hadamard"}), ("orthohash", {"targets": "balanced"}),
    ("dpn", {"targets": "hadamard", "over": "sum", "several": "vote"}), ("dpn", {"targets": "balanced"}),
    ("bihalf", {"fits": "labels"}), ("cibhash", {"codes": "sign", "features": "kept"}),
]  # fmt: skip


def make(method, settings=None, *, bits=6, labels=None, seed=0):
    kind = OBJECTIVES[method]
    labels = torch.eye(4).repeat(6, 1) if labels is None else labels
    objective = kind(kind.settings_type(**(settings or {})), bits=bits, labels=labels, seed=seed)
    if objective.needs_start:
        objective.start(torch.randn(len(labels), bits, generator=torch.Generator().manual_seed(seed)))
    return objective


def more(objective, logits, index):
    """What a method asks for besides logits and labels: a function of the items."""
    extra = {}
    if objective.needs_features:
        extra["features"] = torch.rand(24, 7, generator=torch.Generator().manual_seed(2))[index]
    if objective.needs_views > 1:
        noise = torch.randn(24, objective.bits, generator=torch.Generator().manual_seed(3))[index]
        extra["views"] = (logits + noise)[None]
    return extra


def run_epochs(objective, epochs, n=24, seed=9):
    """Losses on logits that are a function of the epoch and the item."""
    losses = []
    for epoch in epochs:
        every = torch.randn(n, objective.bits, generator=torch.Generator().manual_seed(seed + epoch))
        visited = objective.select(epoch)
        for index in (torch.arange(n) if visited is None else visited).split(5):
            z = every[index]
            value = objective.loss(z, objective.labels[index], index, epoch / 10, **more(objective, z, index))
            losses.append(float(value.detach()))
        objective.end_epoch(epoch)
    return losses


def test_registry_lists_all_and_names_the_nearest():
    assert sorted(OBJECTIVES) == METHODS and {"adsh", "csq", "dph", "dpsh", "dsdh", "dsh", "hashnet"} <= set(METHODS)
    with pytest.raises(RequestError, match="did you mean hashnet"):
        OBJECTIVES["hashnett"]
    with pytest.raises(RequestError, match="registered twice"):
        register("dpsh")(OBJECTIVES["csq"])


@pytest.mark.parametrize("method", METHODS)
def test_facts_of_a_method(method):
    kind = OBJECTIVES[method]
    assert kind.name == method and "20" in kind.title, "a title says where the method is from, and when"
    known = {"epochs", "batch_size", "lr", "head_lr_factor", "optimizer", "momentum", "weight_decay", "schedule"}
    known |= {"augment"} if kind.needs_views > 1 else set()
    alone = kind.frozen.get("training", {})
    assert (
        set(kind.training) <= known
        and set(alone) <= {*known, "augment"}
        and set(kind.frozen) <= {"settings", "training"}
    )
    Recipe(**kind.training)  # raises where a value is not allowed
    Recipe(**{**kind.training, **alone})
    kind.settings_type(**kind.frozen.get("settings", {}))
    for name, field in kind.settings_type.model_fields.items():
        assert field.description, name
    for preset in kind.presets.values():
        kind.settings_type(**preset)
    assert set(kind.preset_training) <= set(kind.presets)
    for training in kind.preset_training.values():
        Recipe(**training)
    with pytest.raises(ValidationError, match="unknown"):
        kind.settings_type(unknown=1)


@pytest.mark.parametrize("bits", [1, 2, 21])
@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize(("method", "settings"), VARIANTS)
def test_any_length_batch_and_labels(method, settings, bits, batch):
    for labels in (torch.eye(4).repeat(6, 1), (torch.rand(24, 5) < 0.3).float(), torch.zeros(24, 3)):
        objective = make(method, settings, bits=bits, labels=labels)
        logits = torch.randn(batch, bits, requires_grad=True)
        index = torch.randperm(24)[:batch]
        value = objective.loss(logits, labels[index], index, 0.5, **more(objective, logits, index))
        value.backward()
        objective.end_epoch(2)
        assert value.ndim == 0 and bool(torch.isfinite(value)) and bool(torch.isfinite(logits.grad).all())


@pytest.mark.parametrize(("method", "settings"), VARIANTS)
def test_order_of_a_batch_does_not_matter(method, settings):
    logits, index = torch.randn(12, 6), torch.arange(12)
    order = torch.randperm(12)
    values = []
    for z, i in ((logits, index), (logits[order], index[order])):
        objective = make(method, settings)
        values.append(float(objective.loss(z, objective.labels[i], i, 0.3, **more(objective, z, i)).detach()))
    assert values[0] == pytest.approx(values[1], rel=1e-5)


@pytest.mark.parametrize("scale", [0.0, 30.0, 1e4])
@pytest.mark.parametrize(("method", "settings"), VARIANTS)
def test_gradient_is_finite_at_large_logits(method, settings, scale):
    objective = make(method, settings)
    logits = (scale * torch.randn(12, 6)).requires_grad_()
    index = torch.arange(12)
    value = objective.loss(logits, objective.labels[:12], index, 0.9, **more(objective, logits, index))
    value.backward()
    assert bool(torch.isfinite(value)) and bool(torch.isfinite(logits.grad).all())


@pytest.mark.parametrize("cut", [1, 3])
@pytest.mark.parametrize(("method", "settings"), VARIANTS)
def test_state_round_trip_repeats_the_next_losses_exactly(method, settings, cut):
    first = make(method, settings)
    run_epochs(first, range(cut))
    stored = {name: value.clone() for name, value in first.state.items()}
    kind = OBJECTIVES[method]
    second = kind(first.settings, bits=6, labels=first.labels, seed=0)
    second.load_state(stored)
    assert run_epochs(first, range(cut, 6)) == run_epochs(second, range(cut, 6))
    for name, value in first.state.items():
        assert torch.equal(value, second.state[name])


@pytest.mark.parametrize("method", METHODS)
def test_foreign_state_is_refused(method):
    with pytest.raises(RequestError, match="checkpoint state has"):
        make(method).load_state({"other": torch.zeros(1)})


@pytest.mark.parametrize("method", METHODS)
def test_equal_seeds_make_equal_losses(method):
    assert run_epochs(make(method, seed=4), range(3)) == run_epochs(make(method, seed=4), range(3))


class Weighted(Objective):
    """A method with weights of its own, one number a bit, and with a counter."""

    name = "weighted"

    def __init__(self):
        super().__init__(Settings(), bits=3, labels=torch.eye(2), seed=0)
        self.state = {"weights": nn.Parameter(torch.ones(3)), "seen": torch.zeros(())}

    def loss(self, logits, labels, index, progress):
        self.state["seen"] = self.state["seen"] + 1
        return (logits * self.state["weights"]).sum()


def test_parameters_of_the_state_stay_the_tensors_that_the_optimizer_holds():
    first, second = Weighted(), Weighted()
    (weights,) = second.parameters()
    optimizer = torch.optim.SGD([*first.parameters()], lr=0.5)
    first.loss(torch.ones(1, 3), torch.eye(2)[:1], torch.arange(1), 0.0).backward()
    optimizer.step()
    second.load_state({name: value.detach() for name, value in first.state.items()})
    assert second.parameters()[0] is weights and weights.requires_grad and weights.is_leaf
    assert torch.equal(weights, torch.full((3,), 0.5)) and float(second.state["seen"]) == 1
    assert make("hashnet").parameters() == []


def test_similarity_and_weights():
    labels = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0, 0]])
    similar = similarity(labels, labels)
    assert torch.equal(similar, torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 0]]))
    weights = pair_weights(similar)
    assert float(weights.mean()) == pytest.approx(1)
    assert float((weights * similar).sum()) == pytest.approx(4.5)


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    data = load_digits()
    x = torch.from_numpy(data.data).float() / 8 - 1
    return x, torch.eye(10)[torch.from_numpy(data.target)]


@pytest.mark.parametrize("method", METHODS)
def test_a_small_net_learns_codes_that_are_not_constant(method, digits):
    x, y = digits[0][:1000], digits[1][:1000]
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
    kind = OBJECTIVES[method]
    objective = kind(kind.settings_type(), bits=16, labels=y, seed=0)
    if objective.needs_start:
        objective.start(net(x).detach())
    optimizer = torch.optim.Adam([*net.parameters(), *objective.parameters()], lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    epochs = 12
    for epoch in range(epochs):
        visited = objective.select(epoch)
        order = torch.arange(len(x)) if visited is None else visited
        for index in order[torch.randperm(len(order), generator=generator)].split(64):
            optimizer.zero_grad()
            extra = {"features": x[index]} if objective.needs_features else {}
            if objective.needs_views > 1:
                extra["views"] = net(x[index] + 0.3 * torch.randn(x[index].shape, generator=generator))[None]
            objective.loss(net(x[index]), y[index], index, epoch / epochs, **extra).backward()
            optimizer.step()
        objective.end_epoch(epoch)
    with torch.no_grad():
        codes = torch.where(net(digits[0][1000:1500]) < 0, -1.0, 1.0)  # unseen images
    same = similarity(digits[1][1000:1500], digits[1][1000:1500])
    dist = (16 - codes @ codes.T) / 2
    inside, outside = float((dist * same).sum() / same.sum()), float((dist * (1 - same)).sum() / (1 - same).sum())
    assert int((codes.mean(0).abs() < 1).sum()) >= 8  # bits that are not constant
    if objective.settings.needs_labels:
        assert outside > 2 * inside and outside > 3
    else:
        assert outside > 1.3 * inside and outside > 3
    learned = objective.learned_codes()
    if learned is not None:
        assert int((learned.mean(0).abs() < 1).sum()) >= 8


@pytest.mark.parametrize("method", METHODS)
def test_every_kind_of_labels_that_means_the_same_gives_the_same_loss(method):
    rows = torch.eye(4).repeat(6, 1)
    numbers = rows.argmax(1)
    z = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    index, losses = torch.arange(5), []
    for labels in (rows, rows.numpy(), rows.long(), rows.bool().numpy(), numbers, numbers.numpy(), numbers.float()):
        objective = make(method, labels=labels)
        assert torch.equal(objective.labels, rows) and objective.labels.dtype == torch.float32
        losses.append(float(objective.loss(z, labels[:5], index, 0.0, **more(objective, z, index)).detach()))
    assert losses == [losses[0]] * len(losses)
    column = make(method, labels=numbers)
    assert float(column.loss(z, numbers[:5, None], index, 0.0, **more(column, z, index)).detach()) == losses[0]


@pytest.mark.parametrize("method", METHODS)
def test_labels_that_are_neither_rows_nor_class_numbers_are_refused(method):
    for labels, expected in (
        (torch.full((24, 4), 0.4), "must be multi-hot, 0 or 1; got 0.4"),
        (torch.eye(4).repeat(6, 1).numpy() * 2 - 1, "must be multi-hot, 0 or 1; got -1"),
        (torch.arange(24) - 1, "class numbers must be whole numbers from 0, got -1"),
    ):
        with pytest.raises(RequestError, match=expected):
            make(method, labels=labels)
    objective, z, index = make(method), torch.zeros(5, 6), torch.arange(5)
    for labels, expected in (
        (torch.full((5, 4), 0.4), "must be multi-hot, 0 or 1; got 0.4"),
        (torch.ones(5, 3), "labels have 3 columns, there are 4 classes"),
        (torch.full((5,), 4), "class numbers go up to 4, but there are 4 classes"),
    ):
        with pytest.raises(RequestError, match=expected):
            objective.loss(z, labels, index, 0.0)
