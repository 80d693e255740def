"""`hamguard detect`: a detector of attacked queries, and attacks that know it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hamguard.cli.common import (
    DataOption,
    DeviceOption,
    EpsOption,
    JsonOption,
    OwnProtocolOption,
    QueriesOption,
    RootOption,
    SeedOption,
    ThreatOption,
    context_of,
    print_json_rows,
    say,
    tell,
)
from hamguard.core.errors import RequestError

if TYPE_CHECKING:
    from hamguard.evaluation.defense.detection import Detection


def detect(
    model: Annotated[str, typer.Argument(help="Model folder, package.module:factory, or torch.export file.")],
    eps: EpsOption = "8/255",
    threat: ThreatOption = "linf",
    steps: Annotated[int, typer.Option("--steps", min=1, help="Gradients of each attack.")] = 30,
    false_alarms: Annotated[
        float, typer.Option("--false-alarms", help="Share of clean validation pictures that may raise the alarm.")
    ] = 0.05,
    neighbors: Annotated[
        int, typer.Option("--neighbors", help="Nearest training codes that are looked at, at least 2.")
    ] = 10,
    data: DataOption = None,
    data_root: RootOption = None,
    protocol: OwnProtocolOption = None,
    queries: QueriesOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for detector.json, rows.jsonl and detector.png.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Pictures attacked at once.")] = 64,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Calibrate a detector of attacked queries on clean validation pictures, and attack it.

    One attack does not know the detector, the others do: they keep inside its bounds. What the last line of the table says is
    what the detector is worth.

    [bold]Examples[/bold]:

    hamguard detect models/digits --eps 0.1 --queries 100

    hamguard detect models/digits --eps 0.2 --false-alarms 0.01 --out detectors/digits
    """
    from hamguard.attacks.threat import parse_eps
    from hamguard.core.checks import check_choice
    from hamguard.defenses.detect import check_rate
    from hamguard.evaluation.defense.detection import DetectPlan

    if out is not None and out.exists() and not out.is_dir():
        raise RequestError(f"{out} is a file; --out must be a folder")
    check_rate(false_alarms)
    if neighbors < 2:
        raise RequestError(f"--neighbors must be at least 2, got {neighbors}")
    check_choice("threat", threat, ("linf", "l2"))
    plan = DetectPlan(eps=parse_eps(eps), norm=threat, steps=steps, rate=false_alarms, neighbors=neighbors)
    _ = plan.threat  # a wrong eps costs no work

    from hamguard.cli.audit import Stages
    from hamguard.core.rows import write_rows
    from hamguard.data.cache import cache_folder
    from hamguard.evaluation.defense.detection import check_validation, measure_detection
    from hamguard.evaluation.ground import Ground, Loaded
    from hamguard.evaluation.model_data import open_for_model

    context = context_of(device, seed, batch_size)
    loaded = Loaded.open(model, device=context.device)
    opened = open_for_model(loaded.card, loaded.model, data, root=data_root, protocol=protocol, context=context)
    check_validation(opened.split, plan, queries)
    ground = Ground.open(loaded, opened, queries=queries, context=context)
    with Stages() as stages:
        done = measure_detection(ground, plan, work=cache_folder() / "detection", told=stages.told, progress=stages)
    if out is not None:
        done.detector.save(out / "detector.json")
        write_rows(out / "rows.jsonl", done.rows)
        draw(done, out / "detector.png", model)
    print_detection(done, model, as_json=as_json)
    if out is not None and not as_json:
        say(f"wrote {out}")


def draw(done: Detection, path: Path, title: str) -> None:
    """The picture of a detector: clean queries, the unaware attack, the worst of all aware ones."""
    from hamguard.report.detection import draw_detection

    shown = (done.judged[0], done.judged[1], done.judged[-1])
    names = ("clean queries", f"{shown[1].name}, does not know the detector", "knows the detector, the worst of all")
    groups = [(name, one.score, float(one.alarms.mean())) for name, one in zip(names, shown, strict=True)]
    draw_detection(groups, done.detector.threshold, done.detector.clean.shape[1], path, title=title)


def print_detection(done: Detection, name: str, *, as_json: bool) -> None:
    """Rows as JSON lines, or false alarms, the table and what it means."""
    from hamguard.report.detection_table import alarm_words, detection_table
    from hamguard.report.printers import to_terminal

    if as_json:
        print_json_rows(done.rows)
        return
    tell(alarm_words(done.rows))
    to_terminal(detection_table(done.rows, name))
