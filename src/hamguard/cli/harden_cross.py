"""`hamguard harden` of a cross-modal model: static adversaries, the control, or min-max, and what it did to both searches."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hamguard.cli.common import Bar, choose_device, context_of, print_json_rows, say, tell
from hamguard.core.errors import RequestError
from hamguard.core.rows import Row, levels_text

if TYPE_CHECKING:
    import torch

    from hamguard.data.dataset import Dataset
    from hamguard.data.split import Split


def harden_cross(
    model: Path,
    out: Path,
    *,
    method: str,
    eps: str,
    epochs: int | None,
    batch_size: int | None,
    sets: Sequence[str],
    data: str | None,
    data_root: Path | None,
    protocol: str | None,
    queries: int | None,
    steps: int,
    measure: bool,
    out_rows: Path | None,
    seed: int,
    device: str,
    restart: bool,
    as_json: bool,
    refused: Sequence[str],
) -> None:
    """Harden and measure; arguments are those of `hamguard harden`.

    Raises:
        RequestError: another method, options that do not belong, or something that does not fit together.
    """
    from hamguard.attacks.threat import parse_eps
    from hamguard.core.checks import check_choice
    from hamguard.core.context import Context
    from hamguard.core.rows import write_rows
    from hamguard.defenses.cross_modal import CROSS_DEFENSES
    from hamguard.evaluation.model_data import absolute_source, open_for_model, require_source
    from hamguard.models.store import read_card
    from hamguard.trainers.hardened_pair import HardenedPairKind
    from hamguard.trainers.run import run_job
    from hamguard.trainers.words import read_job

    check_choice(f"defense of the cross-modal model {model}", method, CROSS_DEFENSES)
    if refused:
        raise RequestError(f"{', '.join(refused)}: does not belong to cross-modal models, which are hardened for linf")
    card = read_card(model)
    require_source(data, card)
    named = str(card.data.get("source") or "")
    own = card.data if data is None or absolute_source(data) == absolute_source(named) else {}
    flags = {
        "method": method,
        "seed": seed,
        "eps": parse_eps(eps),
        "training.epochs": epochs,
        "training.batch_size": batch_size,
        "data.source": data or named,
        "data.protocol": protocol or own.get("protocol"),
        "data.size": own.get("size"),
        "data.split_seed": own.get("split_seed"),
        "data.drop_duplicates": own.get("drop_duplicates"),
    }
    request = read_job({}, flags, sets, kind="hardened-pair")
    chosen = choose_device(device)
    context = Context(device=chosen, restart=restart, stage=Bar)
    start = HardenedPairKind().open_start(model, context)
    opened = open_for_model(card, start.model.image, data, root=data_root, protocol=protocol, context=context)
    dataset, split = opened.dataset, opened.split
    done = run_job(request, opened, out, start=[start], context=context)
    radius, text_eps = request.threat.eps, request.parsed.text_eps
    rows: list[Row] = []
    if measure:
        for name in (model, out):
            rows += _measured(str(name), dataset, split, radius, text_eps, queries, steps, seed, chosen)
    if out_rows:
        write_rows(out_rows, rows)
    if as_json:
        print_json_rows(rows)
        return
    if not done.fresh:
        say(f"{out} holds the finished model of this very run; nothing was trained (--restart trains again).")
    facts = done.card.defense
    tell(f"{out}: {done.card.title}, {facts['title']}, eps {levels_text(radius)} and {text_eps:g} of texts")
    if moved := facts.get("adversaries"):
        tell(f"adversaries: mean D {moved['image']:.4f} of pictures, {moved['text']:.4f} of bags")
    if rows:
        from hamguard.report.hardening_table import cross_hardening_table
        from hamguard.report.printers import to_terminal

        to_terminal(cross_hardening_table(rows, str(model), str(out), steps))
    for note in done.card.data["notes"]:
        tell(f"Note: {note}")
    tell(f"Next: hamguard evaluate {shlex.quote(str(out))}")


def _measured(
    name: str,
    dataset: Dataset,
    split: Split,
    eps: float,
    text_eps: float,
    queries: int | None,
    steps: int,
    seed: int,
    device: torch.device,
) -> list[Row]:
    """Clean and attacked searches across modalities; each attack knows the model that it attacks."""
    from hamguard.attacks.methods.cmla import cmla, cmla_text
    from hamguard.attacks.threat import Linf
    from hamguard.data.opened import Data
    from hamguard.evaluation.attack.cross_modal import cmla_rows
    from hamguard.evaluation.ground import Ground
    from hamguard.evaluation.search.cross_modal import cross_rows

    context = context_of("cpu", seed, 128).but(device=device)
    ground = Ground.open(name, Data(dataset, split), queries=queries, texts="needed", context=context)
    rows = cross_rows(ground)
    for intra in (1.0, 0.0):
        for side, attack in (
            ("image", cmla(steps=steps, intra=intra, threat=Linf(eps))),
            ("text", cmla_text(steps=steps, intra=intra, threat=Linf(text_eps))),
        ):
            with Bar(f"attacking {side}s of {name}") as bar:
                rows += cmla_rows(ground, attack, side, marks=(steps,), progress=bar)[1]  # type: ignore[arg-type]
    return rows
