"""`hamguard train --method ppl`: train a protector of pictures."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hamguard.cli.common import Bar, choose_device, print_json, say, tell
from hamguard.core.errors import RequestError

if TYPE_CHECKING:
    from hamguard.trainers.kind import Trained


def train_protector(
    surrogates: Sequence[str],
    eps: str | None,
    out: Path,
    *,
    data: str | None,
    data_root: Path | None,
    protocol: str | None,
    drop_duplicates: bool,
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
        RequestError: options that belong to hash models, a foreign surrogate, several processes, or a wrong setting.
    """
    if refused:
        raise RequestError(f"{', '.join(refused)}: belongs to hash models; ppl takes --set KEY=VALUE")
    from hamguard.core.context import Context
    from hamguard.trainers.protector import ProtectorKind
    from hamguard.trainers.run import run_job
    from hamguard.trainers.words import read_job
    from hamguard.training.distributed import join_processes

    flags = {
        "preset": preset,
        "seed": seed,
        "settings.eps": eps,
        "data.source": data,
        "data.protocol": protocol,
        "data.drop_duplicates": drop_duplicates or None,
        "training.epochs": epochs,
        "training.batch_size": batch_size,
    }
    request = read_job({}, flags, sets, kind="protector")
    if join_processes().size > 1:
        raise RequestError("a protector is trained by one process; leave out torchrun")
    context = Context(device=choose_device(device), restart=restart, stage=Bar)
    start = [ProtectorKind().open_start(name, context) for name in surrogates]
    whole = bool(start) and not request.parsed.part  # then pictures have to be as large as the surrogate takes them
    with Bar("reading pictures") as bar:
        opened = request.data.open(data_root, bar.count, start[0].model.size[0] if whole else None)
    result = run_job(request, opened, out, start=start, context=context)
    _report(result, out, as_json=as_json)


def _report(result: Trained, out: Path, *, as_json: bool) -> None:
    card = result.card
    if as_json:
        print_json([{"out": str(out), "fresh": result.fresh, **card.model_dump(mode="json")}])
        return
    if not result.fresh:
        say(f"{out} holds the finished protector of this very run; nothing was trained (--restart trains again).")
    last = card.history[-1]
    game = {"one-step": "one-step game", "two-step": "two-step game", "frozen": "frozen surrogate"}
    tell(
        f"{out}: PPL (Zhang, Huang, Xu, AAAI 2021), {game[str(card.settings['game'])]}, width {card.width}, "
        f"eps {card.eps:.4g} ({card.eps * 255:.1f} of 255 levels), {card.data['train']:,} training pictures"
    )
    tell(
        f"last epoch: {100 * last['moved_bits']:.0f}% of the surrogate's bits move, {last['seconds']:,.0f} s in all; "
        f"surrogate: {', '.join(card.surrogate_names)}"
    )
    for note in (*card.notes, *card.data["notes"]):
        tell(f"Note: {note}")
    tell(f"Next: hamguard protect PHOTOS PROTECTED --protector {shlex.quote(str(out))}")
