"""`hamguard train --method prosgan`: train a generator of attacked pictures against a model."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hamguard.cli.common import Bar, choose_device, print_json, say, say_notes, tell
from hamguard.core.errors import RequestError
from hamguard.core.rows import levels_text

if TYPE_CHECKING:
    from hamguard.trainers.kind import Trained


def train_generator(
    victim: str | None,
    out: Path,
    *,
    data: str | None,
    data_root: Path | None,
    protocol: str | None,
    preset: str | None,
    epochs: int | None,
    batch_size: int | None,
    sets: Sequence[str],
    seed: int | None,
    restart: bool,
    device: str,
    as_json: bool,
    refused: Sequence[str],
) -> None:
    """Train, and say what came of it; arguments are those of `hamguard train`.

    Raises:
        RequestError: no victim, options that belong to hash models, or a wrong setting.
    """
    if victim is None:
        raise RequestError("prosgan is trained against a model; give --victim MODEL")
    if refused:
        raise RequestError(f"{', '.join(refused)}: belongs to hash models; prosgan takes --set KEY=VALUE")
    from hamguard.core.context import Context
    from hamguard.evaluation.model_data import open_for_model, require_source
    from hamguard.trainers.generator import GeneratorKind
    from hamguard.trainers.run import run_job
    from hamguard.trainers.words import read_job
    from hamguard.training.distributed import join_processes

    flags = {"preset": preset, "seed": seed, "training.epochs": epochs, "training.batch_size": batch_size}
    read_job({}, {**flags, "data.source": data or ""}, sets, kind="generator")  # a wrong word costs no work
    if join_processes().size > 1:
        raise RequestError("a generator is trained by one process; leave out torchrun")
    context = Context(device=choose_device(device), restart=restart, stage=Bar)
    start = GeneratorKind().open_start(victim, context)
    card = start.card
    require_source(data, card)
    own = card.data if card and data is None else {}
    flags |= {
        "data.source": data or str(own["source"]),
        "data.protocol": protocol or own.get("protocol"),
        "data.split_seed": own.get("split_seed"),
        "data.size": own.get("size"),
        "data.drop_duplicates": own.get("drop_duplicates"),
    }
    request = read_job({}, flags, sets, kind="generator")
    opened = open_for_model(card, start.model, data, root=data_root, protocol=protocol, context=context)
    result = run_job(request, opened, out, start=[start], context=context)
    say_notes(start.model)
    _report(result, out, victim, as_json=as_json)


def _report(result: Trained, out: Path, victim: str, *, as_json: bool) -> None:
    card = result.card
    if as_json:
        print_json([{"out": str(out), "fresh": result.fresh, **card.model_dump(mode="json")}])
        return
    if not result.fresh:
        say(f"{out} holds the finished generator of this very run; nothing was trained (--restart trains again).")
    size = f"{card.norm} {levels_text(card.eps)}" if card.eps and card.norm == "linf" else f"{card.norm} {card.eps}"
    budget = "soft budget" if card.budget == "soft" else f"hard budget {size}"
    tell(f"{out}: ProS-GAN, width {card.width}, {budget}, {card.bits} bits, {card.data['train']:,} training pictures")
    last = card.history[-1]
    tell(
        f"last epoch: {last['right_bits']:.1%} of the prototype's bits are right on training pictures, "
        f"RMSE {100 * last['rmse']:.2f} (x 100), {sum(one['seconds'] for one in card.history[-1:]):,.0f} s in all"
    )
    for note in card.data["notes"]:
        tell(f"Note: {note}")
    tell(f"Next: hamguard attack {shlex.quote(victim)} --method prosgan --generator {shlex.quote(str(out))}")
