"""`hamguard train --method dcmh` or `ssah`: pictures and texts in one Hamming space."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from hamguard.cli.common import Bar, choose_device, print_json, say, tell
from hamguard.core.errors import RequestError

CROSS = ("dcmh", "ssah")


def train_cross(
    method: str,
    out: Path,
    *,
    recipe: Path | None,
    data: str | None,
    data_root: Path | None,
    protocol: str | None,
    drop_duplicates: bool,
    preset: str | None,
    backbone: str | None,
    weights: str | None,
    bits: int | None,
    epochs: int | None,
    batch_size: int | None,
    sets: Sequence[str],
    seed: int | None,
    restart: bool,
    device: str,
    as_json: bool,
) -> None:
    """Train, and say what came of it; arguments are those of `hamguard train`.

    Raises:
        RequestError: several processes, a wrong setting, or data without texts or labels.
    """
    from hamguard.core.context import Context
    from hamguard.trainers.run import run_job
    from hamguard.trainers.words import read_job, read_recipe
    from hamguard.training.distributed import join_processes

    flags = {
        "method": method,
        "preset": preset,
        "seed": seed,
        "data.source": data,
        "data.protocol": protocol,
        "data.drop_duplicates": drop_duplicates or None,
        "model.backbone": backbone,
        "model.weights": weights,
        "model.bits": bits,
        "training.epochs": epochs,
        "training.batch_size": batch_size,
    }
    request = read_job(read_recipe(recipe) if recipe else {}, flags, sets, kind="pair")
    if join_processes().size > 1:
        raise RequestError(f"{method} is trained by one process; start it without torchrun")
    with Bar("reading pictures") as bar:
        opened = request.data.open(data_root, bar.count)
    dataset, split = opened.dataset, opened.split
    done = run_job(request, opened, out, context=Context(device=choose_device(device), restart=restart, stage=Bar))
    if as_json:
        text = done.text_card.model_dump(mode="json", exclude={"words"})
        print_json([{"out": str(out), "fresh": done.fresh, **done.card.model_dump(mode="json"), "text": text}])
        return
    if not done.fresh:
        say(f"{out} holds the finished model of this very run; nothing was trained (--restart trains again).")
    facts, texts = done.card.statistics, done.text_card.texts
    tell(
        f"{out}: {done.card.title}, {done.card.backbone}, {done.card.bits} bits, {texts.get('training', 0):,} training pairs"
    )
    tell(
        f"vocabulary: {len(done.text_card.words):,} terms of up to {done.text_card.ngrams} words, "
        f"such as {', '.join(done.text_card.words[:5])}"
    )
    tell(
        f"codes: {facts['distinct_codes']:,.0f} distinct of pictures, {facts['text_distinct_codes']:,.0f} of texts; "
        f"a picture and its text agree in {facts['pairs_agreeing_bits']:.1%} of the bits"
    )
    for key, what in (
        ("without_text", "have no text"),
        ("unknown_words_only", "have only words outside the vocabulary"),
    ):
        if texts.get(key):
            tell(f"Note: {texts[key]:,} training pictures {what} and were left out")
    for note in (*dataset.notes, *split.notes):
        tell(f"Note: {note}")
    tell(f"Next: hamguard evaluate {shlex.quote(str(out))}")
