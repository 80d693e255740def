"""`hamguard train`: learn hash codes."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from hamguard.api.names import names
from hamguard.cli.common import (
    Bar,
    DataOption,
    DeviceOption,
    DropOption,
    JsonOption,
    ProtocolOption,
    RootOption,
    choose_device,
    print_json,
    say,
    tell,
)
from hamguard.cli.train_cross import CROSS, train_cross
from hamguard.core.errors import RequestError

HASHING, CROSS_MODAL = names("hash method"), names("cross-modal method")


def train(
    out: Annotated[
        Path, typer.Option("--out", help="Model folder to write; the same command goes on where it was stopped.")
    ],
    recipe: Annotated[Path | None, typer.Argument(help="TOML recipe; flags win over it.")] = None,
    data: DataOption = None,
    data_root: RootOption = None,
    protocol: ProtocolOption = None,
    drop_duplicates: DropOption = False,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help=f"{HASHING}, lsh, itq, pca; {CROSS_MODAL} (with texts); prosgan, comdefend, ppl. Default: csq.",
        ),
    ] = None,
    victim: Annotated[
        str | None, typer.Option("--victim", help="prosgan only: the model that the generator is trained to attack.")
    ] = None,
    surrogate: Annotated[
        list[str] | None,
        typer.Option(
            "--surrogate", help="ppl only: a model folder to learn against; may be repeated. Without it one is made."
        ),
    ] = None,
    eps: Annotated[
        str | None, typer.Option("--eps", help="ppl only: bound of the protection in pixel units, e.g. 8/255.")
    ] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="Settings as printed: paper or code.")] = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", help="Network; chosen by picture size where not given.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", help="Initial weights: a .safetensors file or torchvision.")
    ] = None,
    bits: Annotated[int | None, typer.Option("--bits", help="Code length K.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the training set.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Pictures a step, over all processes.")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting or recipe field.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of weights, order and draws.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Throw away what --out holds and begin again.")] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Learn a hash model and write it as a folder (safetensors and a card).

    [bold]Example[/bold]: hamguard train --data digits --method csq --bits 32 --out models/digits

    Pictures and texts in one Hamming space: hamguard train --data scenes --method dcmh --out models/scenes

    A generator of attacked pictures instead: hamguard train --method prosgan --victim models/digits --out generators/digits

    A purifier of pictures: hamguard train --method comdefend --data digits --out purifiers/digits

    A protector of pictures: hamguard train --method ppl --data fashion-mnist --eps 0.3 --out protectors/fashion

    Several processes: torchrun --nproc-per-node 2 -m hamguard train ... (the batch is divided among them).
    """
    if method == "prosgan":
        from hamguard.cli.train_generator import train_generator

        others = {
            "RECIPE": recipe,
            "--backbone": backbone,
            "--weights": weights,
            "--bits": bits,
            "--drop-duplicates": drop_duplicates or None,
        }
        train_generator(
            victim,
            out,
            data=data,
            data_root=data_root,
            protocol=protocol,
            preset=preset,
            epochs=epochs,
            batch_size=batch_size,
            sets=sets or [],
            seed=seed,
            restart=restart,
            device=device,
            as_json=as_json,
            refused=[name for name, value in others.items() if value is not None],
        )
        return
    if victim is not None:
        raise RequestError("--victim belongs to --method prosgan")
    if method == "ppl":
        from hamguard.cli.train_protector import train_protector

        others = {"RECIPE": recipe, "--backbone": backbone, "--weights": weights, "--bits": bits}
        train_protector(
            surrogate or [],
            eps,
            out,
            data=data,
            data_root=data_root,
            protocol=protocol,
            drop_duplicates=drop_duplicates,
            preset=preset,
            epochs=epochs,
            batch_size=batch_size,
            sets=sets or [],
            seed=seed,
            restart=restart,
            device=device,
            as_json=as_json,
            refused=[name for name, value in others.items() if value is not None],
        )
        return
    if surrogate or eps is not None:
        raise RequestError(f"{'--surrogate' if surrogate else '--eps'} belongs to --method ppl")
    if method == "comdefend":
        from hamguard.cli.train_comdefend import train_comdefend

        others = {"RECIPE": recipe, "--backbone": backbone, "--weights": weights, "--bits": bits}
        train_comdefend(
            out,
            data=data,
            data_root=data_root,
            protocol=protocol,
            drop_duplicates=drop_duplicates,
            preset=preset,
            epochs=epochs,
            batch_size=batch_size,
            sets=sets or [],
            seed=seed,
            restart=restart,
            device=device,
            as_json=as_json,
            refused=[name for name, value in others.items() if value is not None],
        )
        return
    from hamguard.trainers.words import read_job, read_recipe

    named = method or (str(read_recipe(recipe).get("method")) if recipe else None)
    if named in CROSS:
        train_cross(
            str(named),
            out,
            recipe=recipe,
            data=data,
            data_root=data_root,
            protocol=protocol,
            drop_duplicates=drop_duplicates,
            preset=preset,
            backbone=backbone,
            weights=weights,
            bits=bits,
            epochs=epochs,
            batch_size=batch_size,
            sets=sets or [],
            seed=seed,
            restart=restart,
            device=device,
            as_json=as_json,
        )
        return
    from hamguard.core.context import Context
    from hamguard.trainers.run import run_job
    from hamguard.training.distributed import join_processes, leave_processes

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
    request = read_job(read_recipe(recipe) if recipe else {}, flags, sets or [], kind="model")
    chosen = choose_device(device)
    process_group = join_processes()
    if process_group.size > 1 and chosen.type == "cuda":
        chosen = choose_device(f"cuda:{process_group.rank}")
    with Bar("reading pictures") as bar:
        opened = request.data.open(data_root, bar.count)
    dataset, split = opened.dataset, opened.split
    context = Context(device=chosen, restart=restart, process_group=process_group, stage=Bar)
    try:
        result = run_job(request, opened, out, context=context)
    except RequestError as error:
        lost = "; ".join(note for note in dataset.notes if "cannot be read" in note)  # often the cause
        if lost:
            raise RequestError(f"{error} ({lost})") from error
        raise
    finally:
        leave_processes()
    if not process_group.leads:
        return
    if as_json:
        print_json([{"out": str(out), "fresh": result.fresh, **result.card.model_dump(mode="json")}])
        return
    card = result.card
    if not result.fresh:
        say(f"{out} holds the finished model of this very run; nothing was trained (--restart trains again).")
    statistics = card.statistics
    tell(f"{out}: {card.title}, {card.backbone}, {card.bits} bits, {len(split.train):,} training pictures")
    tell(
        f"codes: {statistics['distinct_codes']:,.0f} distinct, collision rate {statistics['collision_rate']:.3f}, "
        f"bit balance {statistics['bit_balance']:.3f}, bit correlation {statistics['bit_correlation']:.3f}, "
        f"quantization error {statistics['quantization_error']:.4f}"
    )
    for note in (*dataset.notes, *split.notes):
        tell(f"Note: {note}")
    name = shlex.quote(str(out))
    labeled = bool(dataset.labels.any())
    tell(f"Next: hamguard evaluate {name}" if labeled else f"Next: hamguard index build {name} --out index")
