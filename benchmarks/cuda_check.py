"""Learning, attack, audit and protection on the device that is asked for, each compared with the CPU, and how fast they are.

    uv run python benchmarks/cuda_check.py [--device auto|cpu|cuda|cuda:N] [--out FILE.md] [--quick]

Scanned digits, which need no download, and files made of them; every call is one of `import hamguard as hg`. The model that is
attacked and audited is the one that the CPU learned, so that both sides ask about the same weights; the one that the device learned
is scored beside it. A figure is compared with the CPU's within a tolerance that is printed: devices add in another order, a bit
whose output is near 0 may turn, and a search that follows gradients may end at another picture.

Where no GPU is found, or `--device cpu` is asked for, the second side is the CPU again: learning is repeated, all else
goes in batches of another size, which may change no figure beyond rounding. Then the run says nothing about a GPU, and says so.
It ends with exit code 1 where a figure is off.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import hamguard as hg

BITS, EPOCHS, EPS, STEPS = 32, 6, 0.2, 20
ATTACKS = ("noise", "hag", "mainstay", "dhta")
TOLERANCE = {
    "learn": {"MAP": 0.03},  # rounding grows from step to step
    "encode": {"MAP": 0.002, "share of equal bits": 0.001},
    "attack": {"MAP": 0.02, "t-MAP": 0.02, "bits moved": 0.5},
    "audit": {"worst MAP": 0.03, "clean MAP": 0.002},
    "protect": {"mean level": 0.05},  # of 255, over all pixels of all files
}
BATCHES = (64, 48)  # images at once, on the CPU and on the other side


@dataclass(frozen=True)
class Side:
    """Where one side works.

    Attributes:
        context: device, seed, images at once, and a folder of its own for unfinished work.
        folder: what it writes.
        queries: images that are attacked, audited, protected.
        epochs: of learning.
    """

    context: hg.Context
    folder: Path
    queries: int
    epochs: int


@dataclass(frozen=True)
class Done:
    """A stage on one side.

    Attributes:
        figures: by kind (a word of `TOLERANCE`) and what they are of.
        images: how many images went through.
        seconds: time that it took.
        codes: what it encoded, to be compared bit by bit.
    """

    figures: dict[tuple[str, str], float]
    images: int
    seconds: float
    codes: np.ndarray | None = field(default=None, repr=False)


def learn(side: Side, model: Path) -> Done:
    data = hg.data("digits")
    begun = time.perf_counter()
    learned = hg.train(data, "csq", bits=BITS, epochs=side.epochs, out=side.folder / "model", context=side.context)
    seconds = time.perf_counter() - begun
    score = hg.evaluate(learned, data, context=side.context).where(attack=None).first("map")
    assert score is not None and score.value is not None
    return Done({("MAP", "clean"): score.value}, side.epochs * len(data.train), seconds)


def encode(side: Side, model: Path) -> Done:
    data = hg.data("digits")
    begun = time.perf_counter()
    bank = hg.encode(model, data.database, batch_size=4 * side.context.batch_size, context=side.context)
    seconds = time.perf_counter() - begun
    asked = hg.encode(model, data.query, context=side.context)
    found = float(hg.metrics.mean_average_precision(asked, bank).value)
    return Done({("MAP", "clean"): found}, len(data.database), seconds, np.unpackbits(bank.packed))


def attack(side: Side, model: Path) -> Done:
    made = [getattr(hg.attacks, name) for name in ATTACKS]
    ball = hg.Linf(EPS)
    asked = [
        one(threat=ball) if name == "noise" else one(steps=STEPS, threat=ball)
        for name, one in zip(ATTACKS, made, strict=True)
    ]
    begun = time.perf_counter()
    rows = hg.attack(model, "digits", asked, queries=side.queries, context=side.context)
    seconds = time.perf_counter() - begun
    figures: dict[tuple[str, str], float] = {}
    names = {"map": "MAP", "t-map": "t-MAP", "bits-moved": "bits moved"}
    for row in rows:
        if row.attack and row.metric in names and row.value is not None and row.attack["method"] in ATTACKS:
            figures[names[row.metric], row.attack["method"]] = row.value
    return Done(figures, len(ATTACKS) * side.queries, seconds)


def audit(side: Side, model: Path) -> Done:
    budget = hg.Budget(hg.Linf(EPS / 2), steps=STEPS, queries=20)
    few = max(8, side.queries // 4)
    begun = time.perf_counter()
    found = hg.audit(model, "digits", budget, queries=few, sample=few, substitute=False, context=side.context)
    seconds = time.perf_counter() - begun
    worst = found.rows.where(attack="audit", metric="map", labels="aware").one().value
    clean = found.rows.where(attack=None, metric="map").first()
    assert worst is not None and clean is not None and clean.value is not None
    return Done({("worst MAP", "with labels"): worst, ("clean MAP", "of those"): clean.value}, few, seconds)


def protect(side: Side, model: Path) -> Done:
    pictures = (hg.data("digits").query.first(side.queries).images * 255).round().byte().numpy()[:, 0]
    photos, copies = side.folder / "photos", side.folder / "protected"
    photos.mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).resize((96, 96)).convert("RGB").save(photos / f"{number:04d}.png")
    begun = time.perf_counter()
    hg.protect(photos, copies, format="png", context=side.context)
    seconds = time.perf_counter() - begun
    levels = [np.asarray(Image.open(file).convert("RGB"), float) for file in sorted(copies.glob("*.png"))]
    assert len(levels) == side.queries
    return Done({("mean level", "files"): float(np.mean(levels))}, side.queries, seconds)


STAGES: dict[str, Callable[[Side, Path], Done]] = {
    "learn": learn, "encode": encode, "attack": attack, "audit": audit, "protect": protect,
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One figure on both sides."""

    stage: str
    kind: str
    what: str
    cpu: float
    other: float

    @property
    def tolerance(self) -> float:
        """How far they may be apart."""
        return TOLERANCE[self.stage][self.kind]

    @property
    def holds(self) -> bool:
        """Whether they are no farther."""
        return abs(self.cpu - self.other) <= self.tolerance


def compared(stage: str, cpu: Done, other: Done) -> list[Line]:
    """Figures of a stage beside each other; one that a side lacks is no number and holds nowhere."""
    names = dict.fromkeys([*cpu.figures, *other.figures])
    lines = [Line(stage, *name, cpu.figures.get(name, np.nan), other.figures.get(name, np.nan)) for name in names]
    if cpu.codes is not None and other.codes is not None:
        lines.append(Line(stage, "share of equal bits", "database", 1.0, float((cpu.codes == other.codes).mean())))
    return lines


def device_of(asked: str) -> str:
    """The device of a word, `auto` for a GPU where there is one."""
    return asked if asked != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def said(device: str) -> str:
    """Which device it was, and what the run says."""
    if device == "cpu":
        return (
            "No GPU was asked for or found: both sides are the CPU, the second in batches of another size. "
            "This says nothing about a GPU."
        )
    return f"{device} ({torch.cuda.get_device_name(device)}) beside the CPU."


def markdown(device: str, lines: Iterable[Line], speeds: Iterable[tuple[str, Done, Done]], seconds: float) -> str:
    """Both tables."""
    other = "CPU again" if device == "cpu" else device
    text = [
        "# Devices",
        "",
        f"{said(device)} torch {torch.__version__}, {torch.get_num_threads()} threads; {seconds:.0f} seconds in all.",
        "",
    ]
    text += [f"| stage | figure | CPU | {other} | difference | tolerance | |", "|---|---|---|---|---|---|---|"]
    for one in lines:
        text.append(
            f"| {one.stage} | {one.kind}, {one.what} | {one.cpu:.4f} | {one.other:.4f} | {one.other - one.cpu:+.4f} | "
            f"{one.tolerance:g} | {'holds' if one.holds else '**off**'} |"
        )
    text += ["", f"| stage | images | CPU, images a second | {other}, images a second |", "|---|---|---|---|"]
    for stage, cpu, done in speeds:
        text.append(
            f"| {stage} | {done.images:,} | {cpu.images / cpu.seconds:,.1f} | {done.images / done.seconds:,.1f} |"
        )
    return "\n".join(text) + "\n"


def run(
    device: str, *, quick: bool = False, stages: Iterable[str] = tuple(STAGES)
) -> tuple[list[Line], list[tuple[str, Done, Done]]]:
    """Every stage on the CPU and on the device."""
    queries, epochs = (24, 2) if quick else (100, EPOCHS)
    lines: list[Line] = []
    speeds: list[tuple[str, Done, Done]] = []
    with tempfile.TemporaryDirectory() as folder:
        sides = []
        for number, (name, place) in enumerate((("cpu", "cpu"), (device, "other"))):
            own = Path(folder) / place
            own.mkdir()
            context = hg.Context(device=name, batch_size=BATCHES[number if device == "cpu" else 0], work=own / "work")
            sides.append(Side(context, own, queries, epochs))
        for stage in stages:
            cpu, other = (STAGES[stage](side, Path(folder) / "cpu" / "model") for side in sides)
            lines += compared(stage, cpu, other)
            speeds.append((stage, cpu, other))
            print(
                f"{stage}: {cpu.seconds:.1f} s on the CPU, {other.seconds:.1f} s on the other side",
                file=sys.stderr,
                flush=True,
            )
    return lines, speeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    parser.add_argument("--quick", action="store_true", help="a few images, two epochs")
    wanted = parser.parse_args()
    device, begun = device_of(wanted.device), time.perf_counter()
    try:
        lines, speeds = run(device, quick=wanted.quick)
    except hg.HamguardError as error:
        sys.exit(f"error: {error}")
    text = markdown(device, lines, speeds, time.perf_counter() - begun)
    print(text)
    if wanted.out:
        wanted.out.write_text(text, encoding="utf-8")
    off = [f"{one.stage}: {one.kind}, {one.what}" for one in lines if not one.holds]
    if off:
        sys.exit(f"off: {'; '.join(off)}")


if __name__ == "__main__":
    main()
