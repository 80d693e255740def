"""Learning, attack, audit and protection on the device that is asked for, each compared with the CPU, and how fast they are.

    uv run python benchmarks/cuda_check.py [--device auto|cpu|cuda|cuda:N] [--out FILE.md] [--quick]

Scanned digits, files made of them, and pieces of the two photos that scikit-learn holds, at 224 pixels through EfficientNet-Lite0:
nothing is downloaded. Every call is one of `import hamguard as hg`. The models that are attacked and audited are those of the CPU,
so that both sides ask about the same weights; the one that the device learned is scored beside it. A figure is compared with the
CPU's within a tolerance that is printed: devices add in another order, and convolutions on NVIDIA's of today take ten bits after
the point (TF32), so that a bit whose output is near 0 may turn, and a search that follows gradients may end at another picture.

Where no GPU is found, or `--device cpu` is asked for, the second side is the CPU again: learning is repeated, all else
goes in batches of another size, which may change no figure beyond rounding. Then the run says nothing about a GPU, and says so.
Exit code 1: a figure is off, or a call failed. Exit code 2: there is no such device.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

import hamguard as hg
from hamguard.api.running import choose_device

BITS, EPOCHS, EPS, STEPS = 32, 6, 0.2, 20
ATTACKS = ("noise", "hag", "mainstay", "dhta")
TOLERANCE = {
    "learn": {"MAP": 0.03},  # rounding grows from step to step
    "encode": {"MAP": 0.002, "share of equal bits": 0.001},
    "attack": {"MAP": 0.02, "t-MAP": 0.02, "bits moved": 0.5},
    "audit": {"worst MAP": 0.03, "clean MAP": 0.002},
    "protect": {"mean level": 0.05, "share of levels within 1": 0.001},  # of 255, over all pixels of all files
    "photos": {"MAP": 0.01, "share of equal bits": 0.01},
    "attack photos": {"MAP": 0.03, "bits moved": 1.0},
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


@dataclass
class Spent:
    """Time of a piece of work, in a `with` block: seconds on the clock, and seconds of all cores."""

    seconds: float = 0.0
    cores: float = 0.0

    def __enter__(self) -> Spent:
        self.seconds, self.cores = -time.perf_counter(), -time.process_time()
        return self

    def __exit__(self, *raised: object) -> None:
        self.seconds += time.perf_counter()
        self.cores += time.process_time()


@dataclass(frozen=True)
class Done:
    """A stage on one side.

    Attributes:
        figures: by kind (a word of `TOLERANCE`) and what they are of.
        images: how many images went through.
        time: what it took.
        values: what it made, to be compared one by one: bits of codes, or levels of files.
        slack: how far two of them may be apart to count as equal.
    """

    figures: dict[tuple[str, str], float]
    images: int
    time: Spent
    values: np.ndarray | None = field(default=None, repr=False)
    slack: int = 0


def learn(side: Side, model: Path) -> Done:
    data = hg.data("digits")
    with Spent() as spent:
        learned = hg.train(data, "csq", bits=BITS, epochs=side.epochs, out=side.folder / "model", context=side.context)
    score = hg.evaluate(learned, data, context=side.context).where(attack=None).first("map")
    assert score is not None and score.value is not None
    return Done({("MAP", "clean"): score.value}, side.epochs * len(data.train), spent)


def encode(side: Side, model: Path) -> Done:
    data = hg.data("digits")
    asked = hg.encode(model, data.query, context=side.context)  # a device wakes up before the clock runs
    with Spent() as spent:
        bank = hg.encode(model, data.database, batch_size=4 * side.context.batch_size, context=side.context)
    found = float(hg.metrics.mean_average_precision(asked, bank).value)
    return Done({("MAP", "clean"): found}, len(data.database), spent, np.unpackbits(bank.packed))


def attack(side: Side, model: Path) -> Done:
    made = [getattr(hg.attacks, name) for name in ATTACKS]
    ball = hg.Linf(EPS)
    asked = [
        one(threat=ball) if name == "noise" else one(steps=STEPS, threat=ball)
        for name, one in zip(ATTACKS, made, strict=True)
    ]
    with Spent() as spent:
        rows = hg.attack(model, "digits", asked, queries=side.queries, context=side.context)
    figures: dict[tuple[str, str], float] = {}
    names = {"map": "MAP", "t-map": "t-MAP", "bits-moved": "bits moved"}
    for row in rows:
        if row.attack and row.metric in names and row.value is not None and row.attack["method"] in ATTACKS:
            figures[names[row.metric], row.attack["method"]] = row.value
    return Done(figures, len(ATTACKS) * side.queries, spent)


def audit(side: Side, model: Path) -> Done:
    budget = hg.Budget(hg.Linf(EPS / 2), steps=STEPS, queries=20)
    few = max(8, side.queries // 4)
    with Spent() as spent:
        found = hg.audit(model, "digits", budget, queries=few, sample=few, substitute=False, context=side.context)
    worst = found.rows.where(attack="audit", metric="map", labels="aware").one().value
    clean = found.rows.where(attack=None, metric="map").first()
    assert worst is not None and clean is not None and clean.value is not None
    return Done({("worst MAP", "with labels"): worst, ("clean MAP", "of those"): clean.value}, few, spent)


def protect(side: Side, model: Path) -> Done:
    pictures = (hg.data("digits").query.first(side.queries).images * 255).round().byte().numpy()[:, 0]
    files, copies = side.folder / "files", side.folder / "protected"
    files.mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).resize((96, 96)).convert("RGB").save(files / f"{number:04d}.png")
    with Spent() as spent:
        hg.protect(files, copies, format="png", context=side.context)
    levels = np.stack([np.asarray(Image.open(file).convert("RGB"), int) for file in sorted(copies.glob("*.png"))])
    assert len(levels) == side.queries
    return Done({("mean level", "files"): float(np.mean(levels))}, side.queries, spent, levels, slack=1)


def photos(side: Side, model: Path) -> Done:
    data = pieces(2 * side.queries)
    fitted = photo_model(model, data)
    asked = hg.encode(fitted, data.query, context=side.context)
    with Spent() as spent:
        bank = hg.encode(fitted, data.database, batch_size=side.context.batch_size, context=side.context)
    found = float(hg.metrics.mean_average_precision(asked, bank).value)
    return Done({("MAP", "clean"): found}, len(data.database), spent, np.unpackbits(bank.packed))


def attack_photos(side: Side, model: Path) -> Done:
    data = pieces(2 * side.queries)
    few, mainstay = max(4, side.queries // 5), hg.attacks.mainstay(steps=STEPS // 2, threat=hg.Linf(1 / 255))
    with Spent() as spent:
        rows = hg.attack(photo_model(model, data), data, mainstay, queries=few, context=side.context)
    figures: dict[tuple[str, str], float] = {}
    for metric, name in (("map", "MAP"), ("bits-moved", "bits moved")):
        value = rows.where(attack="mainstay").one(metric).value
        assert value is not None
        figures[name, "mainstay"] = value
    return Done(figures, few, spent)


def pieces(count: int) -> hg.Data:
    """Pieces of two photos, 224 pixels at random places; a label is the photo and its left or right half."""
    rng, size = np.random.default_rng(0), 224
    images, labels = np.empty((count, size, size, 3), np.uint8), np.arange(count) % 4
    for number, label in enumerate(labels):
        photo = load_sample_images().images[label // 2]
        half = (photo.shape[1] - size) // 2
        top, left = rng.integers(photo.shape[0] - size), label % 2 * half + rng.integers(half)
        images[number] = photo[top : top + size, left : left + size]
    return hg.data(images, labels, name="pieces")


def photo_model(model: Path, data: hg.Data) -> Path:
    """A head on EfficientNet-Lite0, fitted by the CPU once and then read by both sides."""
    folder = model.parent / "photos"
    with kept_in(model.parent / "cache of photos"):  # else the CPU's side would find features there
        hg.train(
            data, "hashing-baseline", bits=BITS, backbone="efficientnet_lite0", out=folder, context=hg.Context("cpu")
        )
    return folder


@contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """What can be made again is kept in this folder, in the place of the user's cache."""
    before = os.environ.get("HAMGUARD_CACHE")
    os.environ["HAMGUARD_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["HAMGUARD_CACHE"]
        else:
            os.environ["HAMGUARD_CACHE"] = before


STAGES: dict[str, Callable[[Side, Path], Done]] = {
    "learn": learn, "encode": encode, "attack": attack, "audit": audit, "protect": protect,
    "photos": photos, "attack photos": attack_photos,
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
    if cpu.values is not None and other.values is not None:
        kind, what = ("share of levels within 1", "files") if cpu.slack else ("share of equal bits", "database")
        share = float((np.abs(cpu.values.astype(int) - other.values) <= cpu.slack).mean())
        lines.append(Line(stage, kind, what, 1.0, share))
    return lines


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
        f"{said(device)} torch {torch.__version__}, {torch.get_num_threads()} threads; {seconds:.0f} seconds in all. What else the "
        "machine does is in the seconds, and not in the core-seconds.",
        "",
    ]
    text += [f"| stage | figure | CPU | {other} | difference | tolerance | |", "|---|---|---|---|---|---|---|"]
    for one in lines:
        text.append(
            f"| {one.stage} | {one.kind}, {one.what} | {one.cpu:.4f} | {one.other:.4f} | {one.other - one.cpu:+.4f} | "
            f"{one.tolerance:g} | {'holds' if one.holds else '**off**'} |"
        )
    rates = ("CPU, images a second", "a core-second", f"{other}, images a second")
    text += ["", f"| stage | images | {' | '.join(rates)} |", "|---|---|---|---|---|"]
    for stage, cpu, done in speeds:
        times = (cpu.time.seconds, cpu.time.cores, done.time.seconds)
        text.append(f"| {stage} | {done.images:,} | {' | '.join(f'{done.images / spent:,.1f}' for spent in times)} |")
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
            done = []
            for side in sides:
                with kept_in(side.folder / "cache"):  # not what the other side, or an older run, encoded
                    done.append(STAGES[stage](side, Path(folder) / "cpu" / "model"))
            cpu, other = done
            lines += compared(stage, cpu, other)
            speeds.append((stage, cpu, other))
            print(
                f"{stage}: {cpu.time.seconds:.1f} s on the CPU, {other.time.seconds:.1f} s on the other side",
                file=sys.stderr,
                flush=True,
            )
    return lines, speeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    parser.add_argument("--quick", action="store_true", help="a few images, two epochs")
    wanted, begun = parser.parse_args(), time.perf_counter()
    try:
        device = str(choose_device(wanted.device))
        lines, speeds = run(device, quick=wanted.quick)
    except hg.HamguardError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    text = markdown(device, lines, speeds, time.perf_counter() - begun)
    print(text)
    if wanted.out:
        wanted.out.write_text(text, encoding="utf-8")
    off = [f"{one.stage}: {one.kind}, {one.what}" for one in lines if not one.holds]
    if off:
        sys.exit(f"off: {'; '.join(off)}")


if __name__ == "__main__":
    main()
