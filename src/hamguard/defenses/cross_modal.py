"""DCMH+ and SSAH+: adversarial training of cross-modal models, the control that the papers lack, and the min-max form.

Source: C. Li et al., "Cross-Modal Learning with Adversarial Samples", NeurIPS 2019. All three go on from a trained model with the
model's own loss, its label net and discriminators included.

* `static`, as published: adversaries of the first half of the training pairs are made once, on the start model, and stand with
  their true labels in front of the clean pairs; 5 epochs. Published 500 steps, 100 here; pictures are 8-bit and stand beside their
  own texts, every clean pair is visited (the code keeps JPEG files in directory order and visits two thirds).
* `control`: the same pairs in front, but clean. What it gains is owed to training on.
* `minmax`: adversaries are made in every step for the model as it is, and a batch is learned together with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.pairs import PairCodes, pair_codes
from hamguard.attacks.losses.cmla import CmlaLoss, distortion
from hamguard.attacks.methods.cmla import TEXT_EPS, cmla, cmla_text
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import Linf, parse_eps
from hamguard.codes.bank import CodeBank, PairBank
from hamguard.codes.binary import sign
from hamguard.core.archives import read_npz
from hamguard.core.asked import Asked
from hamguard.core.digests import digest_json
from hamguard.core.errors import RequestError
from hamguard.core.files import write_npz, write_sealed
from hamguard.core.types import Array
from hamguard.data.dataset import Dataset, ImageStore
from hamguard.data.opened import data_facts
from hamguard.data.split import Split
from hamguard.defenses.inner import adversaries, at_rest
from hamguard.hashing.registry import CROSS_METHODS
from hamguard.images.quantize import as_pixels
from hamguard.models.cross_modal import CrossModel, load_cross, load_parts
from hamguard.models.folders import from_card
from hamguard.models.folding import folded
from hamguard.models.store import CARD, Card
from hamguard.training.cross_request import with_batch
from hamguard.training.cross_task import TASKS, CrossTask, Pairs
from hamguard.training.cross_train import TrainedCross, check_labels, finish_cross, kept_pairs, pairs_of
from hamguard.training.loop import Batch, Progress, fit
from hamguard.training.recipe import Recipe
from hamguard.training.request import DataSection, over_defaults
from hamguard.training.run_folder import is_finished

RUN, MADE = "harden-run.json", "adversaries.npz"
GROUP = 128  # pairs attacked at once
CrossDefense = Literal["static", "control", "minmax"]
CROSS_DEFENSES: dict[str, str] = {
    "static": "CMLA's adversarial training: static adversaries of half of the pairs (NeurIPS 2019)",
    "control": "the same pairs in front, clean",
    "minmax": "new adversaries in every step (after Madry et al., ICLR 2018)",
}


class CrossDefenseSettings(Asked):
    """Hyper-parameters of all three; frozen, unknown keys are errors."""

    share: float = Field(
        0.5, gt=0, le=1, description="static, control: share of the pairs that stand in front, the first ones"
    )
    attack_steps: int = Field(100, ge=1, description="static: steps of CMLA (published 500)")
    text_eps: float = Field(TEXT_EPS, gt=0, le=1, description="radius of text adversaries, on the scale of the bag")
    steps: int = Field(5, ge=1, description="minmax: gradients of the inner attack")
    intra: float | None = Field(
        None, ge=0, description="weight of the intra term; static 1 as published, minmax 0, the stronger attack"
    )

    @field_validator("text_eps", mode="before")
    @classmethod
    def _parts(cls, value: Any) -> Any:
        return parse_eps(value) if isinstance(value, str) else value


CROSS_TRAINING: dict[str, Any] = {"epochs": 5, "lr": 5e-4, "schedule": "cosine", "augment": "flip"}
"""Fields of the recipe where nothing was asked for."""


class CrossHardenRequest(Asked):
    """Everything that defines a run, but for the start model, which is known by its weights."""

    method: CrossDefense = "static"
    seed: int = 0
    eps: float = Field(10 / 255, gt=0, le=1)
    data: DataSection = DataSection()
    settings: CrossDefenseSettings = CrossDefenseSettings()
    training: Recipe = Recipe(**CROSS_TRAINING)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        return over_defaults(given, training=CROSS_TRAINING) if isinstance(given, Mapping) else given

    @property
    def digest(self) -> str:
        """Hash of the request; a checkpoint carries it."""
        return digest_json(self.model_dump(mode="json"))


@dataclass
class InnerCross:
    """Adversaries of a batch for the model as it is, which leave the batch's codes of the other modality."""

    task: CrossTask
    image: Attack
    text: Attack
    seed: int

    def pictures(self, x: Tensor, labels: Tensor, batch: Batch) -> Tensor:
        """Attacked pictures, `(B, C, H, W)`."""
        with at_rest(self.task.model.image) as seen:
            with torch.no_grad():
                own = sign(seen.logits(x))
            return adversaries(
                self.image, seen, x, self._codes(own, labels, batch, "text"), batch.index.tolist(), _draw(batch)
            )

    def bags(self, bags: Tensor, labels: Tensor, batch: Batch) -> Tensor:
        """Attacked bags, `(B, D)`."""
        text = self.task.model.text
        with torch.no_grad():
            own = sign(text.logits(bags))
        target = self._codes(own, labels, batch, "image")
        return adversaries(self.text, text, bags, target, batch.index.tolist(), _draw(batch))

    def _codes(self, own: Tensor, labels: Tensor, batch: Batch, other: str) -> PairCodes:
        with torch.no_grad():
            if other == "text":
                found = sign(self.task.model.text.logits(self.task.bags[batch.index.to(self.task.device)]))
            else:
                with at_rest(self.task.model.image) as seen:
                    found = sign(seen.logits(self.task.pairs.pictures(batch.index).to(self.task.device)))
        return pair_codes(own, found, labels, labels)


def _draw(batch: Batch) -> int:
    return int(torch.randint(2**62, (), generator=batch.generator))


def harden_cross(
    request: CrossHardenRequest,
    start: Path,
    dataset: Dataset,
    split: Split,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    restart: bool = False,
    progress: Progress | None = None,
) -> TrainedCross:
    """Train a cross-modal model on into another folder; go on where an earlier call was stopped.

    Args:
        request: the run.
        start: model folder to begin from.
        dataset: pictures, texts and labels.
        split: its parts; only `train` is learned from.
        folder: model folder to be.
        device: where to compute.
        restart: throw away what the folder holds.
        progress: told how far the run is.

    Raises:
        RequestError: something does not fit together.
        StaleError: the folder holds another run.
        RunError: the loss became NaN, or the disk is full.
        CollapseError: the codes became constant.
        StoppedError: a person stopped the run; what was done is kept.
    """
    model, card, text_card = load_cross(start)
    if folder.resolve() == Path(start).resolve():
        raise RequestError(f"{folder} is the model to harden; --out must be another folder")
    parent = model.digest
    run = "-".join([request.digest, split.digest, parent])
    if is_finished(folder, run, run_file=RUN, card_file=CARD, or_else=", or one from another model", restart=restart):
        return TrainedCross(*load_cross(folder), fresh=False)
    if restart:
        (folder / MADE).unlink(missing_ok=True)
    kept, _ = kept_pairs(dataset, split.train, model.vocabulary, drop=True)
    check_labels(dataset, kept, card.method)
    write_sealed(folder / RUN, {"run": run, "request": request.model_dump(mode="json"), "parent": parent})
    model.to(device)
    model.image.to(memory_format=torch.channels_last)
    pairs = pairs_of(dataset, kept, model.vocabulary)
    if request.method != "minmax":
        pairs = _in_front(request, model, pairs, folder, run, device)
    ask = from_card(CROSS_METHODS[card.method], card.settings)
    recipe = with_batch(request.training, len(pairs))
    task = TASKS[card.method](
        model, pairs, ask, head_lr_factor=recipe.head_lr_factor, views=recipe.augment, seed=card.seed
    )
    if task.parts is not None:
        load_parts(task.parts, start)
    if request.method == "minmax":
        task.adversaries = inner_cross(task, request)
    fit(task, recipe, seed=request.seed, folder=folder, run=run, progress=progress)
    facts = _facts(request, card, parent, dataset, split, recipe)
    if request.method == "static":
        facts["defense"]["adversaries"] = _distances(pairs, len(kept))
    done = finish_cross(task, folder, dict(text_card.texts), facts)
    (folder / MADE).unlink(missing_ok=True)
    return done


def inner_cross(task: CrossTask, request: CrossHardenRequest) -> InnerCross:
    """The inner attacks of the min-max form: PGD from a random start, steps of a quarter of the radius, the last point kept."""
    ask = request.settings
    loss = CmlaLoss(ask.intra or 0.0)

    def pgd(eps: float) -> Attack:
        search = SignSteps(ask.steps, max(0.25, 1 / ask.steps) * eps, random_start=True, keep="last")
        return Attack(loss=loss, search=search, threat=Linf(eps), rounding=False)

    return InnerCross(task, pgd(request.eps), pgd(ask.text_eps), request.seed)


def _in_front(
    request: CrossHardenRequest, model: CrossModel, pairs: Pairs, folder: Path, run: str, device: torch.device | str
) -> Pairs:
    """The pairs with the first of them once more in front, attacked (`static`) or clean (`control`)."""
    m = max(1, int(request.settings.share * len(pairs)))
    pixels, bags = pairs.images.pixels(pairs.index[:m]), pairs.bags[:m].numpy()
    if request.method == "static":
        pixels, bags = _made(request, model, pairs, m, folder / MADE, run, device)
    store = ImageStore(np.concatenate([pixels, pairs.images.pixels(pairs.index)]))
    return Pairs(
        store,
        np.arange(len(store)),
        torch.cat([torch.from_numpy(bags), pairs.bags]),
        torch.cat([pairs.labels[:m], pairs.labels]),
    )


def _distances(pairs: Pairs, clean: int) -> dict[str, float]:
    """Mean D of the adversaries in front of `clean` pairs by modality; near 0 where the norm term held them at their originals."""
    m = len(pairs) - clean
    groups = torch.split(torch.arange(m), GROUP)
    image = torch.cat([distortion(pairs.pictures(rows), pairs.pictures(rows + m)) for rows in groups])
    return {"image": float(image.mean()), "text": float(distortion(pairs.bags[:m], pairs.bags[m : 2 * m]).mean())}


def _made(
    request: CrossHardenRequest,
    model: CrossModel,
    pairs: Pairs,
    m: int,
    path: Path,
    run: str,
    device: torch.device | str,
) -> tuple[Array, Array]:
    """Static adversaries of the first m pairs, kept beside the run so that a resumed one has the same."""
    if path.is_file():
        arrays = read_npz(path, "adversaries", sealed=True)
        if str(arrays.get("run")) == run:
            return arrays["pixels"], arrays["bags"]
    ask = request.settings
    intra = 1.0 if ask.intra is None else ask.intra
    image = cmla(steps=ask.attack_steps, intra=intra, threat=Linf(request.eps))
    text = cmla_text(steps=ask.attack_steps, intra=intra, threat=Linf(ask.text_eps))
    model.eval()
    was = [p.requires_grad for p in model.parameters()]
    model.requires_grad_(False)
    bank = _bank(model, pairs, device)
    seen: Any = folded(model.image)
    pixels, bags = [], []
    for start in range(0, m, GROUP):
        rows = torch.arange(start, min(m, start + GROUP))
        labels = pairs.labels[rows].to(device)
        x = pairs.pictures(rows).to(device)
        pixels.append(as_pixels(image(seen, x, labels, bank, index=rows.tolist(), seed=request.seed).x_adv))
        made = text(
            model.text, pairs.bags[rows].to(device), labels, bank.swapped(), index=rows.tolist(), seed=request.seed
        )
        bags.append(made.x_adv.cpu().numpy())
    for p, flag in zip(model.parameters(), was, strict=True):
        p.requires_grad_(flag)
    found = np.concatenate(pixels), np.concatenate(bags)
    write_npz(path, {"pixels": found[0], "bags": found[1], "run": np.array(run)})
    return found


@torch.no_grad()
def _bank(model: CrossModel, pairs: Pairs, device: torch.device | str) -> PairBank:
    """Clean codes of all pairs."""
    groups = torch.split(torch.arange(len(pairs)), GROUP)
    image = torch.cat([model.image.code(pairs.pictures(rows).to(device)).cpu() for rows in groups])
    text = torch.cat([model.text.code(pairs.bags[rows].to(device)).cpu() for rows in groups])
    return PairBank.join(CodeBank.of(image, pairs.labels), CodeBank.of(text, pairs.labels))


def _facts(
    request: CrossHardenRequest, card: Card, parent: str, dataset: Dataset, split: Split, recipe: Recipe
) -> dict[str, Any]:
    """The card's fields: of the start model, but for what the defense changed."""
    defense = {
        "method": request.method,
        "title": CROSS_DEFENSES[request.method],
        "eps": request.eps,
        "norm": "linf",
        "settings": request.settings.model_dump(),
        "objective": card.method,
        "seed": request.seed,
    }
    return {
        "fit": card.fit,
        "method": card.method,
        "title": card.title,
        "settings": card.settings,
        "recipe": recipe.model_dump(),
        "seed": card.seed,
        "initial_weights": card.initial_weights,
        "parent": parent,
        "defense": defense,
        "data": data_facts(dataset, split),
    }


def build_cross_harden(flags: dict[str, Any], sets: list[str]) -> CrossHardenRequest:
    """Put flags and `--set` together; later ones win.

    Args:
        flags: dotted key to value, None where not given: `method`, `seed`, `eps`, `training.epochs`, `data.source`, ...
        sets: `key=value` words.

    Raises:
        RequestError: the first fault.
    """
    from hamguard.training.cross_request import IDLE
    from hamguard.training.request import put_together, sort_words

    given = sort_words(flags, sets, list(CrossDefenseSettings.model_fields), IDLE, of=" of a cross-modal defense")
    return put_together(CrossHardenRequest, given)
