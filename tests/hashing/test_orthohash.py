"""OrthoHash: the loss against a slow transcription with angles, both margins, shared labels, and the norm before the code."""

import math

import numpy as np
import pytest
import torch

from hamguard.codes.bank import CodeBank
from hamguard.core.context import Context, ProcessGroup
from hamguard.core.errors import RequestError
from hamguard.core.seeds import torch_generator
from hamguard.data.opened import Data
from hamguard.hashing.dpn import class_targets
from hamguard.hashing.orthohash import OrthoHash, OrthoHashSettings, code_cosine, orthohash, with_margin
from hamguard.models.head_norm import NormedHead
from hamguard.models.store import load_folder
from hamguard.trainers import hash_model
from hamguard.trainers.hash_model import CLASSES
from hamguard.trainers.words import read_job
from tests.trainers.runs import train
from tests.training.conftest import make_blobs, make_split

LABELS = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]]).double()


def slow(v, labels, centers, form, margin, scale):
    """Each image by itself: angles to all codes, the margin on its own classes, softmax, mean of its own classes' logarithms."""
    losses = []
    for i in range(len(v)):
        own = [c for c in range(labels.shape[1]) if labels[i, c] == 1]
        if not own:
            continue
        length = math.sqrt(sum(float(e) ** 2 for e in v[i]))
        scores = []
        for c in range(labels.shape[1]):
            inner = sum(float(e) * float(t) for e, t in zip(v[i], centers[c], strict=True))
            cosine = inner / (length * math.sqrt(v.shape[1]))
            if c in own:
                cosine = cosine - margin if form == "cosine" else math.cos(math.acos(cosine) + margin)
            scores.append(scale * cosine)
        total = sum(math.exp(s) for s in scores)
        losses.append(-sum(math.log(math.exp(scores[c]) / total) for c in own) / len(own))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("form", ["cosine", "arc"])
@pytest.mark.parametrize(("margin", "scale"), [(0.2, 8.0), (0.0, 1.0), (0.5, 16.0)])
def test_loss_agrees_with_the_transcription(form, margin, scale):
    g = torch.Generator().manual_seed(5)
    v = torch.randn(5, 9, generator=g, dtype=torch.double)
    centers = class_targets("random", 4, 9, g).double()
    expected = slow(v, LABELS, centers, form, margin, scale)
    assert float(orthohash(v, LABELS, centers, form=form, margin=margin, scale=scale)) == pytest.approx(expected)
    objective = OrthoHash(
        OrthoHashSettings(form=form, margin=margin, scale=scale), bits=9, labels=LABELS.float(), seed=0
    )
    objective.state["centers"] = centers.float()
    found = float(objective.loss(v.float(), LABELS.float(), torch.arange(5), 0.0))
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_longer_output_has_the_same_loss_and_a_perfect_code_the_least():
    g = torch.Generator().manual_seed(5)
    v, centers = torch.randn(5, 16, generator=g), class_targets("hadamard", 4, 16, g)
    words = {"form": "cosine", "margin": 0.2, "scale": 8.0}
    value = orthohash(v, LABELS.float(), centers, **words)
    assert float(orthohash(7 * v, LABELS.float(), centers, **words)) == pytest.approx(float(value), rel=1e-5)
    assert torch.allclose(code_cosine(centers, centers), torch.eye(4), atol=1e-6), "rows of Hadamard are orthogonal"
    single = torch.eye(4)
    perfect = orthohash(3 * centers, single, centers, **words)
    assert float(perfect) == pytest.approx(math.log(1 + 3 * math.exp(-8 * 0.8)), rel=1e-3)
    assert all(float(orthohash(torch.randn(4, 16), single, centers, **words)) > float(perfect) for _ in range(20))


@pytest.mark.parametrize("form", ["cosine", "arc"])
def test_the_margin_lowers_own_classes_and_leaves_the_others(form):
    cosine = torch.tensor([[0.5, 0.5, -1.0, 1.0]])
    moved = with_margin(cosine, torch.tensor([[1.0, 0, 0, 1.0]]), form=form, margin=0.2)[0]
    assert moved[1:3].tolist() == [0.5, -1.0] and float(moved[0]) < 0.5 and float(moved[3]) < 1
    if form == "arc":
        assert float(moved[0]) == pytest.approx(math.cos(math.acos(0.5) + 0.2), rel=1e-5)
        assert float(moved[3]) == pytest.approx(math.cos(0.2), abs=1e-4)


def test_images_without_a_label_do_not_count():
    objective = OrthoHash(OrthoHashSettings(), bits=4, labels=torch.eye(3), seed=0)
    z = torch.randn(2, 4, requires_grad=True)
    value = objective.loss(z, torch.zeros(2, 3), torch.arange(2), 0.0)
    value.backward()
    assert float(value.detach()) == 0 and float(z.grad.abs().sum()) == 0


def job(*sets):
    base = ["backbone=conv2", "bits=12", "epochs=3", "batch_size=20", "lr=0.002"]
    return read_job({}, {"method": "orthohash"}, [*base, *sets])


def test_the_norm_stands_before_the_code_while_it_learns_and_nowhere_after(tmp_path, monkeypatch):
    dataset = make_blobs()
    split, seen = make_split(dataset), []
    finish = hash_model.HashTask.finish

    def looked_at(task):
        before = task.outputs()
        assert isinstance(task.model.head, NormedHead)
        finish(task)
        seen.append(float((task.outputs() - before).abs().max() / before.abs().max()))

    with monkeypatch.context() as patch:
        patch.setattr(hash_model.HashTask, "finish", looked_at)
        done = train(job(), dataset, split, tmp_path / "m")
    assert len(seen) == 1 and seen[0] < 1e-5, "the folded head is the same function"
    model = load_folder(tmp_path / "m")[0]
    assert model.digest == done.model.digest and type(model.head) is torch.nn.Linear
    x = dataset.images.batch(split.train)
    codes = model.eval().code(x)
    assert float(codes.mean(0).abs().mean()) < 0.6, "bits are balanced over the training pictures"
    plain = train(job("batch_norm=false"), dataset, split, tmp_path / "plain")
    assert plain.model.digest != model.digest and type(plain.model.head) is torch.nn.Linear


def test_a_norm_needs_two_pictures_a_process():
    dataset = make_blobs()
    data = Data(dataset, make_split(dataset))
    ask = job("batch_size=2")
    model = hash_model.build_model(ask.network, 0, data)
    context = Context(process_group=ProcessGroup(0, 2))
    with pytest.raises(RequestError, match="orthohash has a batch norm before the code, which needs two pictures"):
        hash_model.new_task(ask, model, data, context)


def test_codes_of_classes_depend_on_the_seed_only():
    a, b, c = (OrthoHash(OrthoHashSettings(), bits=12, labels=np.eye(5), seed=s).state["centers"] for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert torch.equal(a, class_targets("random", 5, 12, torch_generator(1, "orthohash", "targets")))


@pytest.mark.parametrize("method", ["orthohash", "greedyhash"])
def test_a_defense_trains_on_from_the_folded_head_and_keeps_the_codes_of_classes(method, tmp_path):
    dataset = make_blobs()
    split = make_split(dataset)
    sets = ["backbone=conv2", "bits=12", "epochs=2", "batch_size=20"]
    train(read_job({}, {"method": method}, sets), dataset, split, tmp_path / "m")
    hardened = read_job({}, {"method": "control", "eps": 0.1, "norm": "linf"}, ["epochs=1"], kind="hardened")
    done = train(hardened, dataset, split, tmp_path / "safe", start=[tmp_path / "m"])
    assert type(done.model.head) is torch.nn.Linear and done.card.method == method
    kept = tmp_path / "safe" / CLASSES
    assert kept.is_file() == (method == "orthohash")
    if kept.is_file():
        bank = CodeBank.load(kept, model_hash=done.model.digest)
        assert torch.equal(bank.codes, CodeBank.load(tmp_path / "m" / CLASSES).codes)
