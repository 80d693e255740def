"""`hamguard harden`: adversarial training of a model, and what it did."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hamguard.api.names import names
from hamguard.cli import options as opt
from hamguard.cli.common import context_of, name_unread, print_json, print_json_rows, say, tell
from hamguard.core.errors import RequestError
from hamguard.report.printers import to_terminal

if TYPE_CHECKING:
    from hamguard.api.harden import Compared
    from hamguard.api.train import Trained

ModelArgument = Annotated[Path | None, typer.Argument(help="Model folder to begin from; it is not changed.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Model folder to write; the same command goes on where it was stopped.")
]
MethodOption = Annotated[
    str, typer.Option("--method", help=f"{names('defense')}; cross-modal models: static, control, minmax.")
]
EpochsOption = Annotated[
    int | None,
    typer.Option("--epochs", min=1, help="Passes over the training set; 10, of photos over 250 pictures of it each."),
]
FreezeOption = Annotated[
    bool, typer.Option("--freeze", help="Only the hash head learns; attacks go through the whole network.")
]
CostOption = Annotated[
    float | None, typer.Option("--budget", help="Instead of epochs: cost in multiples of the training of the model.")
]
PresetOption = Annotated[str, typer.Option("--preset", help="default, or paper for the recipe of the authors' code.")]
StepsOption = Annotated[
    int | None, typer.Option("--steps", min=1, help="Gradients of the attacks that measure; 100, of photos 20.")
]
AuditOption = Annotated[
    int | None,
    typer.Option(
        "--audit", min=0, help="Queries for the worst case over the audit's gradients; 64, of photos 16; 0: none."
    ),
]
SanityOption = Annotated[
    int | None,
    typer.Option(
        "--sanity", min=0, help="Queries for the seven checks of the hardened model; 32, of photos 16; 0: no checks."
    ),
]
MeasureOption = Annotated[
    bool, typer.Option("--measure/--no-measure", help="Measure both models; without: train only.")
]
RowsOption = Annotated[Path | None, typer.Option("--out-rows", help="Write the rows to this rows.jsonl.")]
ListOption = Annotated[bool, typer.Option("--list", help="List the methods and their settings.")]


def harden(
    model: ModelArgument = None,
    out: OutOption = None,
    method: MethodOption = "saat",
    eps: opt.Eps = "8/255",
    threat: opt.Threat = "linf",
    freeze: FreezeOption = False,
    epochs: EpochsOption = None,
    budget: CostOption = None,
    preset: PresetOption = "default",
    batch_size: opt.StepSize = None,
    sets: opt.Sets = None,
    data: opt.Data = None,
    data_root: opt.Root = None,
    protocol: opt.OwnProtocol = None,
    queries: opt.Queries = None,
    steps: StepsOption = None,
    audit: AuditOption = None,
    sanity: SanityOption = None,
    measure: MeasureOption = True,
    out_rows: RowsOption = None,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    restart: opt.RestartTraining = False,
    listed: ListOption = False,
    as_json: opt.Json = False,
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
    from hamguard.api.harden import check_pair_options, compare, hardening

    others = {"--threat": threat != "linf", "--budget": budget is not None, "--preset": preset != "default"}
    check_pair_options(model, method, [name for name, given in others.items() if given])
    flags = {
        "method": method,
        "seed": seed,
        "eps": eps,
        "norm": threat,
        "preset": preset,
        "data.protocol": protocol,
        "training.freeze": freeze or None,
        "training.epochs": epochs,
        "training.batch_size": batch_size,
    }
    context = context_of(device, seed, restart=restart)
    done = hardening(model, data, out, flags=flags, sets=sets or [], cost=budget, root=data_root, context=context)
    if not done.leads:
        return
    how = {"steps": steps, "queries": queries, "audit": audit, "sanity": sanity}
    compared = compare(model, done, **how, context=context) if measure else None
    if out_rows and compared:
        from hamguard.core.rows import write_rows

        write_rows(out_rows, compared.rows)
    _report(done, compared, str(model), out, as_json=as_json)
    name_unread(done)


def _report(done: Trained, compared: Compared | None, model: str, out: Path, *, as_json: bool) -> None:
    """Say what came of it."""
    from hamguard.cli.sanity import print_sanity
    from hamguard.core.rows import eps_text
    from hamguard.report.hardening_table import cross_hardening_table, hardening_table
    from hamguard.report.trained_lines import hardened_lines

    if as_json:
        print_json_rows(compared.rows if compared else [])
        return
    if not done.fresh:
        say(f"{out} holds the finished model of this very run; nothing was trained (--restart trains again).")
    card = done.card.model_dump(mode="json")
    defense, pair = card["defense"], done.text_card is not None
    size = eps_text({"norm": defense["norm"], "eps": defense["eps"]})
    norm, _, eps = size.partition(" ")
    budget = f"--eps {eps}" if norm == "linf" else f"--threat {norm} --eps {eps}"  # as a command line takes it
    epochs = card["recipe"]["epochs"]
    for line in hardened_lines(str(out), card, size=size, epochs=epochs, train=done.items, seconds=done.seconds):
        tell(line)
    if compared and pair:
        to_terminal(cross_hardening_table(compared.rows, model, str(out), compared.steps))
    elif compared and (table := hardening_table(compared.before, compared.after, size)) is not None:
        to_terminal(table)
    if compared and compared.sane is not None:
        print_sanity(compared.sane.rows)
    if done.overfitted:
        tell(
            f"Note: catastrophic overfitting in {done.overfitted} of {len(done.history)} epochs: a longer attack turned far more "
            "bits than the one-step attack of the training; leave out fast, or lower inner_eps"
        )
    for note in card["data"]["notes"]:
        tell(f"Note: {note}")
    name = shlex.quote(str(out))
    tell(f"Next: hamguard evaluate {name}" if pair else f"Next: hamguard audit {name} {budget}")


def _print_methods(*, as_json: bool) -> None:
    from hamguard.api.names import defenses_listed
    from hamguard.report.table import Table

    known = defenses_listed()
    if as_json:
        print_json(known)
        return
    lines = [
        (one["method"], "yes" if one["needs_labels"] else "no", ", ".join(one["settings"]), one["title"])
        for one in known
    ]
    to_terminal(Table.of("", ("method", "labels", "settings", "what it is"), lines))
