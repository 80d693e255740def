"""`hamguard train --method comdefend`: train the networks of a purifier on clean pictures."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hamguard.cli.common import Bar, choose_device, print_json, say, tell
from hamguard.core.errors import RequestError

if TYPE_CHECKING:
    from hamguard.trainers.kind import Trained


def train_comdefend(
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
        RequestError: options that belong to hash models, several processes, or a wrong setting.
    """
    if refused:
        raise RequestError(f"{', '.join(refused)}: belongs to hash models; comdefend takes --set KEY=VALUE")
    from hamguard.core.context import Context
    from hamguard.trainers.run import run_job
    from hamguard.trainers.words import read_job
    from hamguard.training.distributed import join_processes

    flags = {
        "preset": preset,
        "seed": seed,
        "data.source": data,
        "data.protocol": protocol,
        "data.drop_duplicates": drop_duplicates or None,
        "training.epochs": epochs,
        "training.batch_size": batch_size,
    }
    request = read_job({}, flags, sets, kind="purifier")
    if join_processes().size > 1:
        raise RequestError("comdefend is trained by one process; leave out torchrun")
    chosen = choose_device(device)
    with Bar("reading pictures") as bar:
        opened = request.data.open(data_root, bar.count)
    result = run_job(request, opened, out, context=Context(device=chosen, restart=restart, stage=Bar))
    _report(result, out, as_json=as_json)


def _report(result: Trained, out: Path, *, as_json: bool) -> None:
    card = result.card
    if as_json:
        print_json([{"out": str(out), "fresh": result.fresh, **card.model_dump(mode="json")}])
        return
    if not result.fresh:
        say(f"{out} holds the finished networks of this very run; nothing was trained (--restart trains again).")
    kind = "gray" if card.channels == 1 else "color"
    tell(f"{out}: ComDefend, width {card.width:g}, {kind} pictures, {card.data['train']:,} training pictures")
    last = card.history[-1]
    tell(
        f"last epoch: RMSE {100 * last['mse'] ** 0.5:.2f} (x 100) between clean and purified training pictures, "
        f"{last['seconds']:,.0f} s in all"
    )
    for note in card.data["notes"]:
        tell(f"Note: {note}")
    tell(f"Next: hamguard purify MODEL --with {shlex.quote(f'comdefend:{out}')}")
