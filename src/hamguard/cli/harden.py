"""`hamguard harden`: adversarial training of a hash model, and what it did."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hamguard.api.names import names
from hamguard.cli.common import (
    Bar,
    DataOption,
    DeviceOption,
    EpsOption,
    JsonOption,
    OwnProtocolOption,
    QueriesOption,
    RootOption,
    SeedOption,
    ThreatOption,
    choose_device,
    context_of,
    print_json_rows,
    say,
    tell,
)
from hamguard.core.errors import RequestError

if TYPE_CHECKING:
    from hamguard.core.rows import Row
    from hamguard.data.dataset import Dataset
    from hamguard.data.split import Split
    from hamguard.evaluation.audit.sanity import Sane
    from hamguard.models.store import Card
    from hamguard.trainers.job import Job
    from hamguard.trainers.kind import Trained


def harden(
    model: Annotated[Path | None, typer.Argument(help="Model folder to begin from; it is not changed.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Model folder to write; the same command goes on where it was stopped.")
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help=f"{names('defense')}; cross-modal models: static, control, minmax.",
        ),
    ] = "saat",
    eps: EpsOption = "8/255",
    threat: ThreatOption = "linf",
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Passes over the training set; 10.")] = None,
    budget: Annotated[
        float | None,
        typer.Option("--budget", help="Instead of epochs: cost in multiples of the training of the model."),
    ] = None,
    preset: Annotated[
        str, typer.Option("--preset", help="default, or paper for the recipe of the authors' code.")
    ] = "default",
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Pictures a step, over all processes.")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting or recipe field.")
    ] = None,
    data: DataOption = None,
    data_root: RootOption = None,
    protocol: OwnProtocolOption = None,
    queries: QueriesOption = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Gradients of the attacks that measure.")] = 100,
    audit: Annotated[
        int, typer.Option("--audit", min=0, help="Queries for the worst case over the audit's gradients; 0: none.")
    ] = 64,
    sanity: Annotated[
        int,
        typer.Option("--sanity", min=0, help="Queries for the seven checks of the hardened model; 0: no checks."),
    ] = 32,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Measure both models; without: train only.")
    ] = True,
    out_rows: Annotated[Path | None, typer.Option("--out-rows", help="Write the rows to this rows.jsonl.")] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    restart: Annotated[bool, typer.Option("--restart", help="Throw away what --out holds and begin again.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List the methods and their settings.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Harden a hash model by adversarial training, and measure it before and after.

    The database must be encoded again with the new model, as the table does. Every attack of the table knows the
    model that it attacks. A run that was stopped goes on when the same command is given again.

    [bold]Examples[/bold]:

    hamguard harden models/digits --method cgat --eps 0.2 --epochs 15 --out models/digits-cgat

    hamguard harden models/digits --method saat --eps 0.2 --budget 4 --set average=0.99 --out models/digits-saat

    hamguard harden models/scenes --method minmax --eps 10/255 --epochs 2 --out models/scenes-minmax

    Several processes: torchrun --nproc-per-node 2 -m hamguard harden ... (the batch is divided among them).
    """
    if listed:
        _print_methods(as_json=as_json)
        return
    if model is None or out is None:
        raise RequestError("give a MODEL to begin from and --out; `hamguard harden --list` lists the methods")
    if epochs is not None and budget is not None:
        raise RequestError("give --epochs or --budget, not both")
    if sanity == 1:
        raise RequestError("--sanity must be 0 or at least 2, got 1")
    if not measure and out_rows:
        raise RequestError("--no-measure leaves no rows; leave out --out-rows")
    from hamguard.attacks.budget import Budget
    from hamguard.attacks.threat import parse_eps
    from hamguard.core.context import Context
    from hamguard.core.rows import write_rows
    from hamguard.data.opened import Data
    from hamguard.evaluation.audit.plan import STEPS
    from hamguard.evaluation.audit.sanity import marked, run_sanity
    from hamguard.evaluation.defense.hardening import can_target, measure_side
    from hamguard.evaluation.ground import Ground
    from hamguard.evaluation.model_data import require_source
    from hamguard.models.cross_modal import has_texts
    from hamguard.models.store import read_card
    from hamguard.trainers.hardened import HardenedKind
    from hamguard.trainers.run import run_job
    from hamguard.trainers.words import read_job
    from hamguard.training.distributed import join_processes, leave_processes

    if has_texts(model):
        from hamguard.cli.harden_cross import harden_cross

        others = {"--threat": threat != "linf", "--budget": budget, "--preset": preset != "default"}
        harden_cross(
            model,
            out,
            method=method,
            eps=eps,
            epochs=epochs,
            batch_size=batch_size,
            sets=sets or [],
            data=data,
            data_root=data_root,
            protocol=protocol,
            queries=queries,
            steps=steps,
            measure=measure,
            out_rows=out_rows,
            seed=seed,
            device=device,
            restart=restart,
            as_json=as_json,
            refused=[name for name, value in others.items() if value],
        )
        return

    flags: dict[str, Any] = {
        "method": method,
        "seed": seed,
        "eps": parse_eps(eps),
        "norm": threat,
        "preset": preset,
        "training.epochs": epochs,
        "training.batch_size": batch_size,
    }
    read_job({}, {**flags, "data.source": data or ""}, sets or [], kind="hardened")  # a wrong word costs no work
    card = read_card(model)
    require_source(data, card)
    chosen = choose_device(device)
    process_group = join_processes()
    if process_group.size > 1 and chosen.type == "cuda":
        chosen = choose_device(f"cuda:{process_group.rank}")
    request, dataset, split = _open(flags, sets or [], model, card, data, data_root, protocol, budget, epochs)
    attacks, targeted = Budget(request.threat, steps=steps), can_target(dataset, split, queries, seed)
    try:
        context = Context(device=chosen, restart=restart, process_group=process_group, stage=Bar)
        start = HardenedKind().open_start(model, context)
        done = run_job(request, Data(dataset, split), out, start=[start], context=context)
    finally:
        leave_processes()
    if not process_group.leads:
        return
    rows: tuple[list[Row], list[Row]] = ([], [])
    sane = None
    if measure:
        context = context_of(device, seed, 128).but(device=chosen)
        grounds = [Ground.open(place, Data(dataset, split), queries=queries, context=context) for place in (model, out)]
        before, after = (measure_side(one, attacks, targeted=targeted, audit=audit) for one in grounds)
        if sanity >= 2 and dataset.labels[split.query].any():
            few = Budget(request.threat, steps=min(steps, STEPS))
            sane = run_sanity(grounds[1], few, sample=sanity, start=grounds[0].model)
            after = [*marked(after, sane), *sane.rows]
        rows = (before, after)
    if out_rows:
        write_rows(out_rows, [*rows[0], *rows[1]])
    _report(done, request, rows, sane, out, len(split.train), as_json=as_json)


def _open(
    flags: dict[str, Any],
    sets: Sequence[str],
    model: Path,
    card: Card,
    data: str | None,
    data_root: Path | None,
    protocol: str | None,
    budget: float | None,
    epochs: int | None,
) -> tuple[Job, Dataset, Split]:
    """The request with its data, and the data."""
    from hamguard.evaluation.model_data import absolute_source, open_for_model
    from hamguard.models.store import load_folder
    from hamguard.trainers.hardened import epochs_of_budget
    from hamguard.trainers.words import read_job

    named = str(card.data.get("source") or "")
    same = data is None or absolute_source(data) == absolute_source(named)
    own = card.data if same else {}
    flags = flags | {
        "data.source": data or named,
        "data.protocol": protocol or own.get("protocol"),
        "data.split_seed": own.get("split_seed"),
        "data.size": own.get("size"),
        "data.drop_duplicates": own.get("drop_duplicates"),
    }
    if budget is not None:
        normal = card.recipe.get("epochs") if not card.defense else None
        flags["training.epochs"] = epochs_of_budget(budget, read_job({}, flags, sets, kind="hardened"), normal)
        sets = [word for word in sets if not word.startswith(("epochs", "training.epochs"))]
    opened = open_for_model(
        card, load_folder(model)[0], data, root=data_root, protocol=protocol, context=context_of("cpu")
    )
    dataset, split = opened.dataset, opened.split
    return read_job({}, flags, sets, kind="hardened"), dataset, split


def _report(
    done: Trained,
    request: Job,
    rows: tuple[list[Row], list[Row]],
    sane: Sane | None,
    out: Path,
    count: int,
    *,
    as_json: bool,
) -> None:
    from hamguard.cli.sanity import print_sanity
    from hamguard.core.rows import eps_text
    from hamguard.report.hardening_table import hardening_table
    from hamguard.report.printers import to_terminal

    if as_json:
        print_json_rows([*rows[0], *rows[1]])
        return
    if not done.fresh:
        say(f"{out} holds the finished model of this very run; nothing was trained (--restart trains again).")
    assert request.eps is not None
    size = eps_text({"norm": request.norm, "eps": request.eps})
    facts = done.card.defense
    tell(
        f"{out}: {facts['title']}, {size}, {request.training.epochs} epoch{'s' if request.training.epochs > 1 else ''} "
        f"over {count:,} training pictures, "
        f"{done.seconds:,.1f} s"
    )
    table = hardening_table(*rows, size)
    if table is not None:
        to_terminal(table)
    if sane is not None:
        print_sanity(sane.rows)
    if done.overfitted:
        tell(
            f"Note: catastrophic overfitting in {done.overfitted} of {len(done.history)} epochs: a longer attack turned far more "
            "bits than the one-step attack of the training; leave out fast, or lower inner_eps"
        )
    for note in done.card.data["notes"]:
        tell(f"Note: {note}")
    tell(f"Next: hamguard audit {shlex.quote(str(out))} --eps {request.eps:g}")


def _print_methods(*, as_json: bool) -> None:
    from hamguard.cli.common import print_json
    from hamguard.defenses.registry import DEFENSES
    from hamguard.report.printers import to_terminal
    from hamguard.report.table import Table

    kinds = list(DEFENSES.values())
    if as_json:
        print_json(
            {
                "method": kind.name,
                "title": kind.title,
                "needs_labels": kind.needs_labels,
                "settings": {
                    key: {"default": field.default, "description": field.description}
                    for key, field in kind.settings_type.model_fields.items()
                },
            }
            for kind in kinds
        )
        return
    lines = [
        (kind.name, "yes" if kind.needs_labels else "no", ", ".join(kind.settings_type.model_fields), kind.title)
        for kind in kinds
    ]
    to_terminal(Table.of("", ("method", "labels", "settings", "what it is"), lines))
