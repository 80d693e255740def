"""A defense in the common loop: resume, folders, requests, averaged weights, batch norm, the alarm."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hamguard.attacks.threat import Linf
from hamguard.core.errors import RequestError, RunError, StaleError
from hamguard.core.seeds import torch_generator
from hamguard.data.opened import Data
from hamguard.defenses.average import Average
from hamguard.defenses.inner import adversaries, at_rest, inner_attack
from hamguard.defenses.keep import Keep
from hamguard.defenses.registry import DEFENSES, register
from hamguard.defenses.task import overfitted
from hamguard.hashing.objective import Settings
from hamguard.hashing.registry import OBJECTIVES
from hamguard.models.store import CARD, load_folder
from hamguard.trainers.hardened import HardenedKind, epoch_cost, epochs_of_budget, new_defense, new_objective
from hamguard.trainers.job import Job
from hamguard.trainers.words import read_job
from tests.defenses.conftest import Place, ask, batch_of, begun, make_dataset, make_model, save
from tests.trainers.runs import train

RUN = HardenedKind.run_file


class Killed(Exception):
    """Stands for SIGKILL inside one process."""


def _words(flags: dict[str, Any], sets: Sequence[str] = ()) -> Job:
    return read_job({}, flags, sets, kind="hardened")


def run(place: Place, request: Job, folder: Path, **more: Any) -> Any:
    return train(request, place.dataset, place.split, folder, start=[place.start], **more)


@pytest.mark.parametrize("method", DEFENSES)
def test_resume_is_exact_wherever_it_stopped(place: Place, method: str, tmp_path: Path) -> None:
    sets = ["checkpoint_seconds=0.000001", "augment=flip", "average=0.9"]
    if method not in ("control", "static"):
        sets.append("steps=2")
    if method == "cgat":
        sets.append("fast=true")
    request = ask(method, *sets)
    whole = run(place, request, tmp_path / "whole")
    for after in (2, 5):
        seen: list[float] = []

        def kill(share: float, text: str, seen: list[float] = seen, after: int = after) -> None:
            seen.append(share)
            if len(seen) == after:
                raise Killed

        folder = tmp_path / f"cut{after}"
        with pytest.raises(Killed):
            run(place, request, folder, progress=kill)
        assert not (folder / CARD).exists()
        again = run(place, request, folder)
        assert again.fresh and again.model.digest == whole.model.digest
        kept = [{k: v for k, v in row.items() if k != "seconds"} for row in again.history]
        assert kept == [{k: v for k, v in row.items() if k != "seconds"} for row in whole.history]
        assert not (folder / "checkpoint.pt").exists()


def test_the_card_and_the_folder(place: Place, tmp_path: Path) -> None:
    request = ask("saat", "mu=0.01", seed=5)
    done = run(place, request, tmp_path / "a")
    parent, start = load_folder(place.start)
    model, card = load_folder(tmp_path / "a")
    assert card == done.card and card.parent == parent.digest != model.digest == card.weights_hash
    assert (card.method, card.settings, card.seed) == ("csq", start.settings, start.seed)
    facts = card.defense
    assert (facts["method"], facts["eps"], facts["norm"], facts["seed"]) == ("saat", 0.2, "linf", 5)
    assert facts["settings"]["mu"] == 0.01 and facts["settings"]["steps"] == 7 and facts["objective"] == "csq"
    assert (
        card.recipe["epochs"] == 2
        and card.recipe["batch_size"] == 16
        and (card.data["source"], card.data["name"]) == (None, "blobs")
    )
    again = run(place, request, tmp_path / "a")
    assert not again.fresh and again.card == card and again.history == done.history and len(again.history) == 2
    with pytest.raises(StaleError, match="holds another run, or one from another model.*`restart`"):
        run(place, ask("saat", "mu=0.02", seed=5), tmp_path / "a")
    other = save(make_model(place.dataset, "resnet20"), tmp_path / "other")
    with pytest.raises(StaleError, match="or one from another model"):
        train(request, place.dataset, place.split, tmp_path / "a", start=[other])
    assert run(place, ask("control"), tmp_path / "a", restart=True).card.defense["method"] == "control"
    with pytest.raises(RequestError, match="is the model to harden; `out` must be another folder"):
        run(place, request, place.start)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    for restart in (False, True):
        with pytest.raises(RequestError, match="holds other files"):
            run(place, request, tmp_path / "full", restart=restart)
    with pytest.raises(RequestError, match="is a file; `out` must be a folder"):
        run(place, request, tmp_path / "full" / "letter.txt")
    (tmp_path / "a" / RUN).write_text("[")
    with pytest.raises(RequestError, match="is damaged.*`restart`"):
        run(place, request, tmp_path / "a")


def test_a_defense_turns_bits_back(place: Place, tmp_path: Path) -> None:
    """On training pictures: the hardened model keeps more bits under the same attack than the start model and the control."""
    turned = {}
    for name in ("start", "saat", "control"):
        folder = place.start
        if name != "start":
            folder = tmp_path / name
            run(place, ask(name, "lr=0.005", **{"training.epochs": 20}), folder)
        task = begun(Place(place.dataset, place.split, folder), "saat")
        index = torch.arange(48)
        target = task._guide_of(index, task.bank.labels)
        x = place.dataset.images.batch(place.split.train)
        attack = inner_attack("mainstay", "inner", Linf(0.2), steps=20)
        with at_rest(task.model):
            x_adv = adversaries(attack, task.model, x, target, range(48), 7)
            turned[name] = float((task.model.logits(x_adv) * target < 0).float().mean())
    assert turned["saat"] < turned["control"] - 0.05 and turned["saat"] < turned["start"] - 0.05


def test_batch_norm_rests_while_the_attack_runs(place: Place, tmp_path: Path) -> None:
    start = save(make_model(place.dataset, "resnet20"), tmp_path / "bn")
    task = begun(Place(place.dataset, place.split, start), "saat", "steps=2")
    norms = [part for part in task.model.modules() if isinstance(part, nn.BatchNorm2d)]
    seen, means = [], [norm.running_mean.clone() for norm in norms if norm.running_mean is not None]
    real = task.model.logits

    def logits(x: Tensor) -> Tensor:
        seen.append((norms[0].training, next(task.model.parameters()).requires_grad, len(x)))
        if len(seen) == 2:
            assert all(torch.equal(a, b.running_mean) for a, b in zip(means, norms, strict=True))
        return real(x)

    task.model.logits = logits  # type: ignore[method-assign]
    task.step(batch_of(0, 1, 2, 3))
    asked = [one for one in seen if one[2] != 2]  # folding tries two pictures, at rest, too
    assert asked == [(False, False, 4), (False, False, 4), (True, True, 8)]
    assert set(seen) - set(asked) == {(False, False, 2)}
    assert not torch.equal(means[0], norms[0].running_mean)


def test_averaged_weights(place: Place, tmp_path: Path) -> None:
    net = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(1.0)
    mean = Average(net, 0.5)
    want = 1.0
    for step, value in enumerate((3.0, 5.0, 9.0), 1):
        with torch.no_grad():
            net.weight.fill_(value)
        mean.update()
        decay = min(0.5, (1 + step) / (10 + step))
        want = decay * want + (1 - decay) * value
    twin = Average(nn.Linear(1, 1, bias=False), 0.5)
    twin.load_state(mean.state())
    assert twin.steps == 3
    twin.apply()
    assert float(twin.model.weight.detach()) == pytest.approx(want)  # type: ignore[arg-type]
    plain = run(place, ask("control"), tmp_path / "plain")
    averaged = run(place, ask("control", "average=0.9"), tmp_path / "averaged")
    assert plain.history[0]["loss"] == averaged.history[0]["loss"] and plain.model.digest != averaged.model.digest


class Wave(nn.Module):
    """One bit `cos(20 pi mean(x - 0.5))`: a step of 0.1 leads to the next crest, half of it into the trough."""

    bits = 1

    def logits(self, x: Tensor) -> Tensor:
        return torch.cos(20 * torch.pi * (x - 0.5).flatten(1).mean(1, keepdim=True))


def test_a_one_step_attack_that_is_fooled_sets_off_the_alarm(place: Place, tmp_path: Path) -> None:
    x = torch.full((8, 1, 4, 4), 0.5)
    shares = []
    for steps, size in ((1, None), (10, 0.025)):
        attack = inner_attack("own", "inner", Linf(0.1), steps=steps, step_size=size)
        with at_rest(Wave()):
            shares.append(
                float((Wave().logits(adversaries(attack, Wave(), x, torch.ones(8, 1), range(8), 0)) < 0).float().mean())
            )
    assert shares == [0.0, 1.0] and overfitted(*shares)
    assert not overfitted(0.4, 0.5) and not overfitted(0.5, 0.1)
    with pytest.raises(RunError, match="NaN"):
        overfitted(float("nan"), 0.5)
    done = run(place, ask("cgat", "fast=true", "alarm_pictures=5", **{"training.epochs": 1}), tmp_path / "fast")
    (facts,) = done.history
    assert 0 <= facts["one_step"] <= 1 and facts["overfitted"] == overfitted(facts["one_step"], facts["many_steps"])
    assert done.overfitted == facts["overfitted"]
    slow = run(place, ask("cgat", "steps=1", **{"training.epochs": 1}), tmp_path / "slow")
    assert "overfitted" not in slow.history[0] and slow.overfitted == 0


def test_codes_are_kept_where_the_own_objective_looks_at_features(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OBJECTIVES["csq"], "needs_features", True)
    model, card = load_folder(place.start)
    data = Data(place.dataset, place.split)
    assert isinstance(new_objective(ask("saat"), model, card, data), Keep)
    with pytest.raises(RequestError, match="objective csq looks at features, which no defense hands over; keep does"):
        new_objective(ask("saat", "objective=csq"), model, card, data)


def test_without_labels_or_objective_the_codes_are_kept(place: Place, tmp_path: Path) -> None:
    dataset, split = make_dataset(labeled=False)
    start = save(make_model(dataset), tmp_path / "start")
    for method in ("consistency", "distill", "trades", "control"):
        done = train(ask(method, "lr=1e-4"), dataset, split, tmp_path / method, start=[start])
        assert done.card.defense["objective"] == "keep" and done.card.method == "csq"
    for method in ("saat", "cgat", "atrdh", "static"):
        with pytest.raises(RequestError, match=f"{method} needs labels; without: consistency, distill, trades"):
            train(ask(method), dataset, split, tmp_path / method, start=[start])
    with pytest.raises(RequestError, match="trades needs labels"):
        train(ask("trades", "loss=inner", "guide=center"), dataset, split, tmp_path / "x", start=[start])
    with pytest.raises(RequestError, match="blobs has no labels; objective dpsh needs them, keep does not"):
        train(ask("consistency", "objective=dpsh"), dataset, split, tmp_path / "x", start=[start])
    fitted = save(make_model(place.dataset), tmp_path / "itq", "itq")
    task = begun(Place(place.dataset, place.split, fitted), "saat")
    assert isinstance(task.objective, Keep) and torch.equal(task.objective.state["codes"], task.bank.signs)
    keep = Keep(Settings(), bits=2, labels=torch.zeros(3, 0), seed=0)
    keep.start(torch.tensor([[1.0, -2.0], [0.0, 3.0], [-1.0, -1.0]]))
    z = torch.randn(2, 2, generator=torch_generator(0))
    want = (z.tanh() - torch.tensor([[-1.0, -1.0], [1.0, -1.0]])).square().mean()
    torch.testing.assert_close(keep.loss(z, torch.zeros(2, 0), torch.tensor([2, 0]), 0.0), want)


def test_the_objective_is_the_models_own(place: Place) -> None:
    model, card = load_folder(place.start)
    task = new_defense(ask("saat"), model, card, Data(place.dataset, place.split))
    from hamguard.hashing.csq import CSQ, CSQSettings

    own = CSQ(CSQSettings(lam=1e-4), bits=8, labels=torch.zeros(1, 4), seed=3)
    assert torch.equal(task.objective.state["centers"], own.state["centers"]) and task.objective.seed == 3
    assert begun(place, "saat", "objective=dpsh").objective.name == "dpsh"
    assert begun(place, "saat", "objective=keep").objective.name == "keep"


def test_pictures_and_labels_that_do_not_fit(place: Place, tmp_path: Path) -> None:
    from hamguard.data.dataset import Dataset, ImageStore

    wide = Dataset(
        "wide",
        ImageStore(np.zeros((96, 20, 20), np.uint8)),
        place.dataset.labels,
        ("a", "b", "c", "d"),
        place.dataset.ids,
    )
    with pytest.raises(RequestError, match="the model takes pictures of 16x16 pixels, the data have 20x20"):
        train(ask("saat"), wide, place.split, tmp_path / "x", start=[place.start])
    with pytest.raises(RequestError, match="is not a model folder"):
        train(ask("saat"), place.dataset, place.split, tmp_path / "x", start=[tmp_path])
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("flags", "sets", "message"),
    [
        ({"method": "sat"}, [], "unknown defense 'sat'; .*did you mean saat"),
        ({}, ["lamb=1"], "unknown key lamb of saat; did you mean lam"),
        ({"method": "control"}, ["steps=3"], "unknown key steps of control"),
        ({}, ["patience=3"], "unknown key patience of saat"),
        ({}, ["lam"], "--set lam: must be key=value"),
        ({}, ["lam=-1"], "lam: .*greater than or equal to 0, got -1"),
        ({}, ["steps=0"], "steps: .*got 0"),
        ({}, ["guide=optimal"], "unknown guide of adversarial training 'optimal'; allowed: mainstay, center"),
        ({}, ["loss=iner"], "unknown loss 'iner'; .*did you mean inner"),
        ({}, ["inner_eps=8"], r"eps must be in \(0, 1\], got 8; did you mean 8 / 255"),
        ({}, ["inner_eps=8/x"], "eps must be a number such as 0.03 or 8/255, got '8/x'"),
        ({}, ["average=1"], "average: .*less than 1, got 1"),
        ({}, ["objective=dpshh"], "unknown objective 'dpshh'; .*did you mean dpsh"),
        ({"eps": 8.0}, [], r"eps must be in \(0, 1\], got 8"),
        ({"eps": 8.0, "method": "control"}, [], r"eps must be in \(0, 1\], got 8"),
        ({"eps": -1.0}, [], "eps: .*greater than 0, got -1"),
        ({"norm": "l3"}, [], "norm: .*got 'l3'"),
        ({"training.epochs": 0}, [], "epochs: .*got 0"),
        ({"preset": "papr"}, [], "preset 'papr'.*did you mean paper"),
        ({"preset": "paper", "method": "trades"}, [], "trades has no published recipe"),
    ],
)  # fmt: skip
def test_wrong_requests_are_named(flags: dict[str, Any], sets: list[str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        _words({"data.source": "blobs", **flags}, sets)


def test_what_wins_and_what_a_budget_buys() -> None:
    request = _words({"data.source": "x", "eps": 0.1}, ["lr=0.01", "settings.inner_eps=16/255", "loss=hag"])
    assert request.training.lr == 0.01 and request.training.epochs == 10
    assert request.settings["inner_eps"] == pytest.approx(16 / 255) and request.threat == Linf(0.1)
    attack = request.parsed.attack(request.threat)  # type: ignore[attr-defined]
    assert attack.threat == Linf(16 / 255) and attack.search.step_size == pytest.approx(4 / 255)
    fast = _words({"data.source": "x", "eps": 0.1}, ["fast=true"]).parsed
    search = fast.attack(Linf(0.1)).search  # type: ignore[attr-defined]
    assert search.steps == 1 and search.step_size == pytest.approx(0.125) and search.random_start
    assert epoch_cost("cgat", fast) == 3.0 and epoch_cost("saat", request.parsed) == 9.0
    assert epochs_of_budget(9.0, request, 7) == 7 and epochs_of_budget(0.001, request, None) == 1
    static = _words({"data.source": "x", "method": "static"})
    assert epochs_of_budget(1.0, static, None) == 10
    with pytest.raises(RequestError, match="`cost` must be above 0, got 0"):
        epochs_of_budget(0.0, request, 7)
    assert len({_words({"data.source": "x"}, s).digest for s in ([], ["lam=2"], ["lr=2e-3"])}) == 3
    with pytest.raises(RequestError, match="defense 'saat' is registered twice"):
        register("saat")(DEFENSES["cgat"])


def test_the_authors_recipe_is_a_preset_that_flags_override() -> None:
    flags = {"data.source": "x", "preset": "paper"}
    request = _words(flags)
    recipe = request.training
    assert (request.settings["lam"], request.settings["mu"]) == (1.0, 1e-4), "the weights of the authors' code"
    assert (recipe.epochs, recipe.batch_size, recipe.optimizer, recipe.lr) == (20, 32, "sgd", 0.05)
    assert (recipe.momentum, recipe.weight_decay, recipe.schedule) == (0.0, 1e-5, "late-step")
    cgat = _words({**flags, "method": "cgat", "training.epochs": 2}, ["lr=0.02"]).training
    assert (cgat.epochs, cgat.lr, cgat.momentum, cgat.augment) == (2, 0.02, 0.9, "shift-flip")
    assert _words({**flags, "method": "atrdh"}).training.epochs == 100


def begun_kind() -> Any:
    from hamguard.defenses.saat import SAAT

    return SAAT


def test_any_guide_that_needs_no_search(place: Place) -> None:
    for guide in ("own", "anchor", "p2p", "center"):
        task = begun(place, "saat", f"guide={guide}", "steps=1")
        assert bool(task.step(batch_of(0, 1, 2, 3)).isfinite())
    history = json.dumps(begun(place, "saat").settings.model_dump())
    assert "mainstay" in history


def test_an_epoch_of_some_pictures_takes_others_than_the_one_before(place: Place, tmp_path: Path) -> None:
    task = begun(place, "control", "pictures=16")
    epochs = [task.select(epoch) for epoch in range(6)]
    assert all(one is not None and len(one) == 16 for one in epochs)
    first, second = torch.cat(epochs[:3]), torch.cat(epochs[3:])
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(48)), "each once, then again"
    assert first.tolist() != second.tolist()
    assert torch.equal(task.select(1), epochs[1]), "a function of the epoch, so that a stopped run goes on"
    assert begun(place, "control", "pictures=48").select(0) is None and begun(place, "control").select(0) is None
    done = run(place, ask("control", "pictures=16"), tmp_path / "m")
    assert done.card.defense["settings"]["pictures"] == 16
    with pytest.raises(RequestError, match="with pictures=... give epochs"):
        epochs_of_budget(2, ask("control", "pictures=16"), 4)
