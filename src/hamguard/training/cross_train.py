"""From a request to a cross-modal model folder: data, vocabulary, both nets, loop, cards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hamguard.core.digests import digest_file
from hamguard.core.errors import CollapseError, RequestError, RunError
from hamguard.core.files import write_sealed
from hamguard.core.types import Ints
from hamguard.data.dataset import Dataset
from hamguard.data.opened import data_facts
from hamguard.data.split import Split
from hamguard.models.cross_modal import CARD as TEXT_CARD
from hamguard.models.cross_modal import CrossModel, TextCard, load_cross, save_cross
from hamguard.models.store import CARD, Card
from hamguard.models.text_model import TextModel
from hamguard.models.vocabulary import Vocabulary
from hamguard.training.cross_request import CrossRequest, with_batch
from hamguard.training.cross_task import ADVICE, TASKS, CrossTask, Pairs
from hamguard.training.loop import Progress, fit, forget
from hamguard.training.run_folder import is_finished
from hamguard.training.statistics import code_statistics
from hamguard.training.train import FITS, RUN, build_model


@dataclass(frozen=True)
class TrainedCross:
    """What training left behind.

    Attributes:
        model: both sides, in evaluation mode.
        card: of the image side.
        text_card: of the text side.
        fresh: False where the folder held the finished run already.
    """

    model: CrossModel
    card: Card
    text_card: TextCard
    fresh: bool


def train_cross(
    request: CrossRequest,
    dataset: Dataset,
    split: Split,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    restart: bool = False,
    progress: Progress | None = None,
) -> TrainedCross:
    """Train a cross-modal model into a folder; go on where an earlier call was stopped.

    Args:
        request: the run.
        dataset: pictures, texts and labels.
        split: its parts; only `train` is learned from, by nets and vocabulary.
        folder: model folder to be.
        device: where to compute.
        restart: throw away what the folder holds.
        progress: told how far the run is.

    Raises:
        RequestError: no texts or no labels, a picture without text, or something that does not fit together.
        StaleError: the folder holds another run.
        RunError: the loss became NaN, or the disk is full.
        CollapseError: the codes became constant.
        StoppedError: a person stopped the run; what was done is kept.
    """
    weights = request.model.weights
    first = digest_file(Path(weights)) if weights and Path(weights).is_file() else ""
    run = "-".join([request.digest, split.digest, first]).rstrip("-")
    if is_finished(folder, run, run_file=RUN, card_file=CARD, restart=restart):
        return TrainedCross(*load_cross(folder), fresh=False)
    if restart:
        (folder / TEXT_CARD).unlink(missing_ok=True)
    task, kept = new_task(request, dataset, split, device)
    write_sealed(folder / RUN, {"run": run, "request": request.model_dump(mode="json"), "split": split.digest})
    recipe = with_batch(request.training, task.items)
    fit(task, recipe, seed=request.seed, folder=folder, run=run, progress=progress)
    data = data_facts(dataset, split)
    facts = {
        "fit": FITS.get(data["source"], "crop"),
        "method": request.method,
        "title": request.parsed.title,
        "settings": request.settings,
        "seed": request.seed,
        "recipe": recipe.model_dump(),
        "initial_weights": Path(request.model.weights).name if request.model.weights else "",
        "data": data,
    }
    return finish_cross(task, folder, kept, facts)


def new_task(
    request: CrossRequest, dataset: Dataset, split: Split, device: torch.device | str = "cpu"
) -> tuple[CrossTask, dict[str, int]]:
    """The task of a request at its very beginning, and what is known of its texts.

    Raises:
        RequestError: no texts or no labels, pictures without text, or something that does not fit together.
    """
    ask = request.parsed
    texts = texts_of(dataset)
    learned = split.train
    if len(learned) < 2:
        raise RequestError(f"training needs at least 2 pairs, the train split has {len(learned)}")
    check_labels(dataset, learned, request.method)
    vocabulary = Vocabulary.fit([texts[i] for i in learned], size=ask.words, least=ask.least, ngrams=ask.ngrams)
    kept, told = kept_pairs(dataset, learned, vocabulary, drop=ask.without_text == "drop")
    image = build_model(request.model, request.seed, dataset, split, features=ask.features)
    text = TextModel(
        ask.text_net, len(vocabulary), image.bits, width=ask.text_width, features=ask.features, seed=request.seed
    )
    model = CrossModel(image, text, vocabulary).to(device)
    model.image.to(memory_format=torch.channels_last)
    recipe = request.training
    task = TASKS[request.method](
        model,
        pairs_of(dataset, kept, vocabulary),
        ask,
        head_lr_factor=recipe.head_lr_factor,
        views=recipe.augment,
        seed=request.seed,
    )
    return task, told


def texts_of(dataset: Dataset) -> tuple[str, ...]:
    """The texts of a data set.

    Raises:
        RequestError: it has none.
    """
    if dataset.texts is None or not any(text.strip() for text in dataset.texts):
        raise RequestError(
            f"{dataset.name} has no texts; cross-modal work needs one a picture: a text column in labels.csv or "
            "labels.jsonl, texts in an arrays file, or NAME_PART_text.txt beside lists"
        )
    return dataset.texts


def check_labels(dataset: Dataset, learned: Ints, method: str) -> None:
    """Check that labels tell the training pairs apart.

    Raises:
        RequestError: there are none, or all pairs have the same.
    """
    labels = dataset.labels[learned]
    if not labels.any():
        raise RequestError(f"{dataset.name} has no labels; {method} needs them to know which pairs are similar")
    if (labels == labels[0]).all():
        raise RequestError(
            f"all {len(learned):,} training pictures of {dataset.name} have the same labels; "
            f"{method} needs at least two kinds to tell apart"
        )


def kept_pairs(dataset: Dataset, learned: Ints, vocabulary: Vocabulary, *, drop: bool) -> tuple[Ints, dict[str, int]]:
    """Rows of the training part that have a known word, and counts; a text of unknown words only teaches nothing and is left out.

    Raises:
        RequestError: some have no text at all and are not to be dropped, or fewer than two are left.
    """
    texts = texts_of(dataset)
    silent = np.array([not texts[i].strip() for i in learned], dtype=bool)
    unknown = np.array([not vocabulary.known(texts[i]) for i in learned], dtype=bool)
    if silent.any() and not drop:
        first = dataset.ids[learned[int(np.flatnonzero(silent)[0])]]
        raise RequestError(
            f"{int(silent.sum()):,} of {len(learned):,} training pictures have no text, first {first}; "
            "give them texts, or leave them out by --set without_text=drop"
        )
    kept = learned[~unknown]
    if len(kept) < 2:
        raise RequestError(f"{len(kept)} training pictures have a text with a known word; at least 2 are needed")
    counts = {
        "training": len(kept),
        "without_text": int(silent.sum()),
        "unknown_words_only": int((unknown & ~silent).sum()),
    }
    return kept, counts


def pairs_of(dataset: Dataset, rows: Ints, vocabulary: Vocabulary) -> Pairs:
    """Pairs of some rows of a data set."""
    texts = texts_of(dataset)
    labels = torch.from_numpy(dataset.labels[rows].astype(np.float32))
    return Pairs(dataset.images, rows, vocabulary.bag([texts[i] for i in rows]), labels)


def finish_cross(task: CrossTask, folder: Path, texts: dict[str, int], facts: dict[str, Any]) -> TrainedCross:
    """Check the codes of a trained task and write its folder.

    Raises:
        RunError: the networks return NaN.
        CollapseError: all pictures, or all texts, have one code.
    """
    model = task.model
    model.eval()
    z, t = task.image_outputs().cpu(), task.text_outputs().cpu()
    if not bool(z.isfinite().all() and t.isfinite().all()):
        raise RunError("the trained networks return NaN or infinite numbers; lower the learning rate (--set lr=...)")
    statistics, words = code_statistics(z), code_statistics(t)
    for side, found in (("picture", statistics), ("text", words)):
        if found["distinct_codes"] == 1:
            raise CollapseError(f"the codes collapsed: every training {side} has the same code. {ADVICE}")
    statistics |= {f"text_{name}": value for name, value in words.items()}
    statistics["pairs_agreeing_bits"] = float(((z >= 0) == (t >= 0)).float().mean())
    card, text_card = save_cross(model, folder, parts=task.parts, texts=texts, statistics=statistics, **facts)
    forget(folder)
    return TrainedCross(model, card, text_card, fresh=True)
