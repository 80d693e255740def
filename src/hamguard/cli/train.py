"""`hamguard train`: learn hash codes, and whatever else is trained into a folder."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hamguard.api.names import names
from hamguard.cli import options as opt
from hamguard.cli.common import context_of, name_unread, print_json, say, say_notes, tell
from hamguard.core.errors import RequestError

if TYPE_CHECKING:
    from hamguard.api.train import Trained

METHODS = (
    f"{names('hash method')}, {names('fitted method')}; {names('cross-modal method')} (with texts); "
    "prosgan, comdefend, ppl, features"
)
PROTECTORS = ("ppl", "features")
FINISHED = {"generator": "generator", "protector": "protector", "purifier": "networks"}
"""What a finished folder holds, other than a model."""

OutOption = Annotated[
    Path, typer.Option("--out", help="Model folder to write; the same command goes on where it was stopped.")
]
RecipeArgument = Annotated[Path | None, typer.Argument(help="TOML recipe; flags win over it.")]
MethodOption = Annotated[
    str | None, typer.Option("--method", help=f"{METHODS}. Default: csq; without labels itq, 128 bits.")
]
VictimOption = Annotated[
    str | None, typer.Option("--victim", help="prosgan only: the model that the generator is trained to attack.")
]
SurrogateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--surrogate", help="ppl, features: a model to learn against; may be repeated. Without it ppl makes one."
    ),
]
BoundOption = Annotated[
    str | None, typer.Option("--eps", help="ppl, features: bound of the protection in pixel units, e.g. 8/255.")
]
PresetOption = Annotated[str | None, typer.Option("--preset", help="Settings as printed: paper or code.")]
BackboneOption = Annotated[
    str | None, typer.Option("--backbone", help="Network; chosen by picture size where not given.")
]
WeightsOption = Annotated[
    str | None,
    typer.Option("--weights", help="Initial weights: pretrained, none, torchvision, or a .safetensors file."),
]
BitsOption = Annotated[int | None, typer.Option("--bits", help="Code length K.")]
EpochsOption = Annotated[int | None, typer.Option("--epochs", help="Passes over the training set.")]
FreezeOption = Annotated[
    bool, typer.Option("--freeze", help="Only the hash head learns, on features of the network that are kept.")
]
FinetuneOption = Annotated[
    int | None, typer.Option("--finetune", help="With --freeze: epochs of all weights after those of the head.")
]
TextEncoderOption = Annotated[
    str | None,
    typer.Option(
        "--text-encoder",
        help="Texts of a cross-modal method: words (bags of words), minilm (a sentence encoder), features (of a features: file).",
    ),
]
OwnSeedOption = Annotated[int | None, typer.Option("--seed", help="Seed of weights, order and draws.")]


def train(
    out: OutOption,
    recipe: RecipeArgument = None,
    data: opt.Data = None,
    data_root: opt.Root = None,
    protocol: opt.Protocol = None,
    drop_duplicates: opt.DropDuplicates = False,
    method: MethodOption = None,
    victim: VictimOption = None,
    surrogate: SurrogateOption = None,
    eps: BoundOption = None,
    preset: PresetOption = None,
    backbone: BackboneOption = None,
    weights: WeightsOption = None,
    bits: BitsOption = None,
    text_encoder: TextEncoderOption = None,
    freeze: FreezeOption = False,
    epochs: EpochsOption = None,
    finetune: FinetuneOption = None,
    batch_size: opt.StepSize = None,
    sets: opt.Sets = None,
    seed: OwnSeedOption = None,
    restart: opt.RestartTraining = False,
    device: opt.Device = "auto",
    as_json: opt.Json = False,
) -> None:
    """Learn a hash model and write it as a folder (safetensors and a card).

    [bold]Example[/bold]: hamguard train --data digits --method csq --bits 32 --out models/digits

    A hash head on a network that stays as it is: hamguard train --data coco18 --method dpsh --freeze --out models/coco18

    Pictures and texts in one Hamming space: hamguard train --data scenes --method dcmh --out models/scenes

    On frozen networks: hamguard train --data coco18 --method dsph --freeze --text-encoder minilm --out models/coco-words

    A generator of attacked pictures instead: hamguard train --method prosgan --victim models/digits --out generators/digits

    A purifier of pictures: hamguard train --method comdefend --data digits --out purifiers/digits

    A protector of pictures: hamguard train --method ppl --data fashion-mnist --eps 0.3 --out protectors/fashion

    Against features: hamguard train --method features --data coco18 --surrogate models/a --surrogate models/b --out protectors/b

    Several processes: torchrun --nproc-per-node 2 -m hamguard train ... (the batch is divided among them).
    """
    flags = {
        "method": method,
        "preset": preset,
        "seed": seed,
        "settings.eps": eps,
        "settings.text_encoder": text_encoder,
        "data.protocol": protocol,
        "data.drop_duplicates": drop_duplicates or None,
        "model.backbone": backbone,
        "model.weights": weights,
        "model.bits": bits,
        "training.freeze": freeze or None,
        "training.epochs": epochs,
        "training.finetune": finetune,
        "training.batch_size": batch_size,
    }
    _check_options(flags, victim, surrogate or [], recipe)
    from hamguard.api.train import training

    starts = [victim] if victim else surrogate or []
    context = context_of(device, restart=restart)
    done = training(
        data, out, flags=flags, sets=sets or [], recipe=recipe, starts=starts, root=data_root, context=context
    )
    if done.leads:
        _report(done, out, victim, as_json=as_json)
        name_unread(done)


def _check_options(flags: dict[str, Any], victim: str | None, surrogates: list[str], recipe: Path | None) -> None:
    """Refuse options that belong to another kind of training.

    Raises:
        RequestError: there are some, or the victim is missing.
    """
    method = flags["method"]
    if method == "prosgan" and victim is None:
        raise RequestError("prosgan is trained against a model; give --victim MODEL")
    if method != "prosgan" and victim is not None:
        raise RequestError("--victim belongs to --method prosgan")
    if method not in PROTECTORS and (surrogates or flags["settings.eps"] is not None):
        raise RequestError(f"{'--surrogate' if surrogates else '--eps'} belongs to --method {' or '.join(PROTECTORS)}")
    crossing = names("cross-modal method").split(", ")
    if flags["settings.text_encoder"] is not None and method not in crossing and (method or recipe is None):
        raise RequestError(f"--text-encoder belongs to cross-modal methods: {names('cross-modal method')}")
    if method in ("prosgan", "comdefend", *PROTECTORS):
        given = {
            "RECIPE": recipe,
            "--backbone": flags["model.backbone"],
            "--weights": flags["model.weights"],
            "--bits": flags["model.bits"],
            "--drop-duplicates": flags["data.drop_duplicates"] if method == "prosgan" else None,
        }
        if refused := [name for name, value in given.items() if value is not None]:
            raise RequestError(f"{', '.join(refused)}: belongs to hash models; {method} takes --set KEY=VALUE")


def _report(done: Trained, out: Path, victim: str | None, *, as_json: bool) -> None:
    """Say what came of it."""
    from hamguard.report.trained_lines import trained_lines

    say_notes(*(one.model for one in done.starts))
    card, text = done.card.model_dump(mode="json"), None
    if done.text_card is not None:
        text = done.text_card.model_dump(mode="json", exclude={"words"} if as_json else None)
    if as_json:
        print_json([{"out": str(out), "fresh": done.fresh, **card, **({"text": text} if text else {})}])
        return
    if not done.fresh:
        what = FINISHED.get(done.kind, "model")
        say(f"{out} holds the finished {what} of this very run; nothing was trained (--restart trains again).")
    for line in trained_lines(done.kind, str(out), card, text=text, train=done.items):
        tell(line)
    for note in card["data"]["notes"]:
        tell(f"Note: {note}")
    tell(f"Next: hamguard {_next(done, shlex.quote(str(out)), out, shlex.quote(victim or ''))}")


def _next(done: Trained, name: str, out: Path, victim: str) -> str:
    """The command that people give next."""
    if done.kind == "generator":
        return f"attack {victim} --method prosgan --generator {name}"
    if done.kind == "protector":
        return f"protect PHOTOS PROTECTED --protector {name}"
    if done.kind == "purifier":
        return f"purify MODEL --with {shlex.quote(f'comdefend:{out}')}"
    return f"evaluate {name}" if done.labeled else f"index build {name} --out index"
