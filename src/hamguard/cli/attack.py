"""`hamguard attack`: move the query pictures so that the search fails, and measure how far it does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hamguard.api.names import names
from hamguard.cli import options as opt
from hamguard.cli.common import Words, check_suffix, context_of, key_values, print_json, print_measured
from hamguard.core.checks import check_choice
from hamguard.core.errors import RequestError
from hamguard.report.printers import to_terminal
from hamguard.report.table import Table

METHODS = names("attack")

ModelArgument = Annotated[
    str | None, typer.Argument(help="Model to attack: model folder, package.module:factory, or torch.export file.")
]
MethodOption = Annotated[
    list[str] | None, typer.Option("--method", help=f"{METHODS}; cmla is for cross-modal models; may be repeated.")
]
EpsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--eps",
        help="How far pixels may move, in pixel units of [0, 1]; for l0 which share of them; may be repeated. Default: 8/255.",
    ),
]
RestartsOption = Annotated[int | None, typer.Option("--restarts", min=1, help="Independent starts; the best is kept.")]
PresetOption = Annotated[str, typer.Option("--preset", help="default, paper or code: the published forms.")]
GuideOption = Annotated[
    str | None,
    typer.Option("--guide", help=f"{names('guide')}: for methods that take any guide, such as pgd and adaptive."),
]
ReferenceOption = Annotated[
    str,
    typer.Option(
        "--reference",
        help="What builds guides: codes of the part train, of database as in some published code, or the model's own codes "
        "of classes (csq, orthohash, dpn).",
    ),
]
SourceModelOption = Annotated[
    list[str] | None,
    typer.Option("--source-model", help="Make the pictures on this model, score them on MODEL; may be repeated."),
]
GeneratorOption = Annotated[
    Path | None,
    typer.Option("--generator", help="Trained generator of prosgan, see `hamguard train --method prosgan`."),
]
EncoderOption = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        help="Of a model on features: the model folder or package.module:factory that made them; --data are the pictures.",
    ),
]
CombineOption = Annotated[
    str, typer.Option("--combine", help="How several source models join: joint, sum, sum-project, mean.")
]
SideOption = Annotated[
    str, typer.Option("--side", help="cmla only: image, text (values of the bag of words), or words (whole words).")
]
WordsOption = Annotated[int, typer.Option("--words", min=1, help="With --side words: words added or dropped at most.")]
MetricOption = Annotated[
    list[str] | None, typer.Option("--metric", help="As for `evaluate`; may be repeated. Default: map.")
]
SaveImagesOption = Annotated[
    Path | None,
    typer.Option("--save-images", help="Write attacked pictures (PNG), manifest and targets to this folder."),
]
SheetOption = Annotated[
    Path | None,
    typer.Option(
        "--sheet",
        help="Draw queries, perturbations, attacked queries, answers (.png); beside --out its report opens with it.",
    ),
]
BatchSizeOption = Annotated[int, typer.Option("--batch-size", min=1, help="Pictures or texts attacked at once.")]
FoldOption = Annotated[
    bool, typer.Option("--fold/--no-fold", help="Take gradients from a copy with folded batch norms: faster.")
]
ListedOption = Annotated[bool, typer.Option("--list", help="List the methods and their options.")]


def attack(
    model: ModelArgument = None,
    method: MethodOption = None,
    eps: EpsOption = None,
    threat: opt.AttackThreat = None,
    steps: opt.OwnSteps = None,
    restarts: RestartsOption = None,
    preset: PresetOption = "default",
    guide: GuideOption = None,
    targets: opt.Targets = None,
    reference: ReferenceOption = "train",
    source_model: SourceModelOption = None,
    generator: GeneratorOption = None,
    encoder: EncoderOption = None,
    combine: CombineOption = "joint",
    side: SideOption = "image",
    words: WordsOption = 2,
    sets: opt.MethodSets = None,
    data: opt.Data = None,
    data_root: opt.Root = None,
    protocol: opt.OwnProtocol = None,
    queries: opt.AttackedQueries = None,
    index: opt.SearchedIndex = None,
    metric: MetricOption = None,
    ties: opt.Ties = "expected",
    norm: opt.Norm = "relevant",
    empty: opt.Empty = "zero",
    save_images: SaveImagesOption = None,
    sheet: SheetOption = None,
    out: opt.RowsFile = None,
    batch_size: BatchSizeOption = 64,
    seed: opt.Seed = 0,
    device: opt.Device = "auto",
    fold: FoldOption = True,
    restart: opt.Restart = False,
    listed: ListedOption = False,
    as_json: opt.Json = False,
) -> None:
    """Attack the search: change query pictures within a budget so that their codes leave, or approach, a guide code.

    Every figure is computed from pictures rounded to 8 bits and encoded again. Beside each attack stand the clean
    picture, random codes, noise of the same budget, and the guide code itself, which is what the attack aims at.
    A run that was stopped goes on when the same command is given again.

    [bold]Examples[/bold]:

    hamguard attack models/digits --method hag --method mainstay --eps 0.2

    hamguard attack models/digits --method dhta --eps 0.2 --save-images attacked --sheet attacked.png

    hamguard attack models/digits --method adaptive --guide mainstay --targets label:3 --eps 0.2 --steps 20

    hamguard attack models/digits --method hag --eps 0.2 --source-model models/other

    hamguard attack models/scenes --method cmla --side words --words 2
    """
    if listed:
        _print_methods(as_json=as_json)
        return
    from hamguard.api import attack as door

    if model is None or not method:
        raise RequestError("give a MODEL and a --method; `hamguard attack --list` lists the methods")
    check_suffix("--sheet", sheet, out)
    plan: Words = {"eps": eps or (), "steps": steps, "preset": preset, "options": key_values(sets)}
    of_images: Words = {"targets": targets, "guide": guide, "generator": generator, "restarts": restarts}
    of_images |= {"norm": threat, "reference": reference, "combine": combine, "fold": fold}
    files: Words = {"--save-images": save_images, "--sheet": sheet, "--source-model": source_model}
    sources: Words = {"source_models": source_model or (), "combine": combine, "encoder": encoder}
    scores: Words = {"metrics": metric or ("map",), "ties": ties, "norm": norm, "empty": empty}
    where: Words = {"queries": queries, "protocol": protocol, "root": data_root, "index": index}
    where |= {"modality": "image" if side == "image" else "text", "save_images": save_images}
    asked = _read(method, side, words, plan, of_images, files)
    context = context_of(device, seed, batch_size, restart=restart)
    rows = door.attack(model, data, asked, **sources, **scores, **where, context=context)
    if out:
        rows.save(out, sheet=sheet)
    elif sheet:
        rows.sheet(sheet)
    print_measured(rows, save_images, sheet, out, as_json=as_json)


def _read(methods: list[str], side: str, words: int, plan: Words, of_images: Words, files: Words) -> Any:
    """The attacks that words name, or the one on texts, which takes nothing of what belongs to images.

    Raises:
        RequestError: an unknown or wrong word.
    """
    from hamguard.api.attack import read_attacks
    from hamguard.api.text_attacks import read_text_attack

    check_choice("side", side, ("image", "text", "words"))
    if side == "image":
        asked = read_attacks(methods, **plan, **of_images)
        if len(asked) > 1 and (files["--save-images"] or files["--sheet"]):
            raise RequestError(f"--save-images and --sheet take one method and one eps, got {len(asked)} attacks")
        return asked
    given = files | {f"--{name}": of_images[name] for name in ("targets", "guide", "generator", "restarts")}
    given |= {
        f"--threat {of_images['norm']}": of_images["norm"] not in (None, "linf"),
        "--reference": of_images["reference"] != "train",
    }
    if refused := [flag for flag, value in given.items() if value]:
        raise RequestError(f"{', '.join(refused)}: belongs to pictures; leave out with --side {side}")
    return read_text_attack(methods, side, words=words, **plan)


def _print_methods(*, as_json: bool) -> None:
    """Every method: what it is, its direction, its presets and options."""
    from hamguard.api.names import attacks_listed

    listed = attacks_listed()
    if as_json:
        print_json(listed)
        return
    lines = [
        (one["method"], one["direction"], ", ".join(one["presets"]), ", ".join(one["options"]), one["title"])
        for one in listed
    ]
    to_terminal(Table.of("", ("method", "direction", "presets", "options", "what it is"), lines))
