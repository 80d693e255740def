"""`hamguard protect`: copies of pictures that other people's picture search does not match with the originals."""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hamguard.cli.common import Bar, DeviceOption, JsonOption, SeedOption, choose_device, print_json, say, tell
from hamguard.core.errors import RequestError

if TYPE_CHECKING:
    from hamguard.images.folder import LeftOut
    from hamguard.privacy.manifest import Entry, Manifest, Settings

QUALITY = 95  # of lossy formats
SHIPPED = "photos"

TODAY = (
    "A search of today may still find these photos. On EfficientNet-Lite0, which the protector never saw, 6% of 150 originals left "
    "the first ten answers by 64-bit codes (1.6% after JPEG 85), 23% among 6,650 photos, and 0% by a search on the floats."
)
"""What one pass of the shipped protector was measured to do; rows in results/protect_lite0.jsonl."""

UNTRIED = (
    "A search of today may still find these photos: what this does to searches that the protector never saw is not known before "
    "it is measured."
)


def protect(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Picture, or folder of pictures.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Where copies go: a folder, or a file for one picture.")],
    protector: Annotated[
        str, typer.Option("--protector", help="Protector folder, or the name of one that ships with hamguard.")
    ] = "photos",
    eps: Annotated[
        str | None,
        typer.Option(
            "--eps",
            help="How far pixels may move, in pixel units of [0, 1].",
            show_default="the protector's own, 8/255 for photos",
        ),
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--format", help="png (holds the noise exactly), jpeg or webp.", show_default="png")
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option("--quality", min=1, max=100, help="Of jpeg and webp; webp of 100 is exact.", show_default="95"),
    ] = None,
    metadata: Annotated[
        str,
        typer.Option("--metadata", help="strip (color profile only), no-location (EXIF without places) or keep."),
    ] = "strip",
    scale: Annotated[
        str, typer.Option("--scale", help="Noise of large pictures: full (own size), fit (enlarged) or auto.")
    ] = "auto",
    refine: Annotated[int, typer.Option("--refine", min=0, help="Gradient steps a picture against --matcher.")] = 0,
    matchers: Annotated[
        list[str] | None, typer.Option("--matcher", help="Model that --refine works against; may be repeated.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Pictures of one size at once.")] = 8,
    seed: SeedOption = 0,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away the copies that protect made in OUT and begin again.")
    ] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Write protected copies of pictures: they look the same, and some hash-based searches do not find the originals with them.

    Originals are never touched. Broken files are skipped and named at the end, with exit code 1; what is no picture, hidden, or of
    a kind that is not read is left out and counted. A run that was stopped goes on when the same command is given again.

    [bold]Examples[/bold]:

    hamguard protect photos protected

    hamguard protect photos protected --refine 10 --matcher models/a --matcher models/b

    hamguard protect photo.jpg protected.jpg --quality 90 --metadata no-location
    """
    from hamguard.attacks.threat import Linf, parse_eps
    from hamguard.core.checks import check_choice
    from hamguard.images.folder import UNREADABLE
    from hamguard.images.originals import METADATA
    from hamguard.privacy.names import check_apart
    from hamguard.privacy.protect import SCALES

    ball = None if eps is None else Linf(parse_eps(eps))
    check_choice("metadata", metadata, METADATA)
    check_choice("scale", scale, SCALES)
    if refine and not matchers:
        raise RequestError(f"--refine {refine} needs models to work against; give --matcher MODEL, once or more")
    if matchers and not refine:
        raise RequestError("--matcher belongs to --refine N; give the number of steps, e.g. --refine 10")
    if not source.exists():
        raise RequestError(f"{source} does not exist; give a picture or a folder of pictures")
    if not source.is_file() and not source.is_dir():
        raise RequestError(f"{source} is not an ordinary file; give a picture or a folder of pictures")
    single, form = source.is_file(), chosen_format(source, out, kind)
    if quality is not None and form == "png":
        raise RequestError(f"--quality {quality} belongs to jpeg and webp; png is exact")
    check_apart(source, out)
    folder, home, names, left = places(source, out, form)
    if single:
        check_apart(source, home / names[source.name])

    from hamguard.core.files import sweep
    from hamguard.models.protector_store import load_protector
    from hamguard.privacy.folder_run import FolderRun, peak_memory
    from hamguard.privacy.manifest import Manifest, Named, Settings
    from hamguard.privacy.matchers import load_matcher
    from hamguard.privacy.names import check_free
    from hamguard.privacy.refine import Refine

    chosen = choose_device(device)
    net, card = load_protector(protector)
    net.to(chosen)
    ball = ball or Linf(card.eps)
    models = tuple(load_matcher(text, chosen) for text in matchers or ())
    place = Path(protector)
    settings = Settings(
        protector=Named(name=place.resolve().name if place.exists() else protector, hash=net.digest),
        surrogate=card.surrogates,
        eps=ball.eps,
        format=form,
        quality=100 if form == "png" else quality or QUALITY,
        metadata=metadata,
        scale=scale,
        refine=refine,
        matchers=[Named(name=one.name, hash=one.hash) for one in models],
        seed=seed,
    )
    manifest = Manifest(None if single else home, settings, restart=restart and not single)
    check_free(home, names.values(), manifest.owns)
    for place in sorted({(home / name).parent for name in names.values()}):
        sweep(place)
    steps = Refine(models, refine, ball.eps, seed) if refine else None
    run = FolderRun(folder, home, names, net, card.side, manifest, steps, batch_size)
    before, started = dict(manifest.entries), time.monotonic()
    with Bar("protecting") as bar:
        run(bar)
    seconds = time.monotonic() - started
    note_left_out(manifest, left)
    entries = manifest.summary(list(names))
    fresh = sum(entry.status == "done" and before.get(entry.file) is not entry for entry in entries)
    facts = {
        **summary(entries, fresh, seconds),
        "peak_bytes": peak_memory(),
        "left_out": dict(sorted(Counter(one.kind for one in left).items())),
        "made_again": sorted(manifest.changed),
        "untrusted": manifest.untrusted,
    }
    if as_json:
        print_json([entry.model_dump() for entry in entries])
        print_json([{"summary": facts, "settings": manifest.settings.model_dump()}])
    else:
        report(facts, settings, source, home / names[source.name] if single else out, resumed=bool(before))
        for note in notes(entries, facts, left):
            tell(f"Note: {note}")
        if facts["done"]:
            closing(source, out, shipped=protector == SHIPPED and not refine)
    skipped = [entry.reason for entry in entries if entry.status == "skipped"]
    skipped += [f"{one.file} cannot be read, nor can what lies in it" for one in left if one.kind == UNREADABLE]
    for reason in skipped:
        say(f"skipped: {reason}")
    if skipped:
        sys.exit(1)


def note_left_out(manifest: Manifest, left: list[LeftOut]) -> None:
    """Write down what was left out, once."""
    from hamguard.privacy.manifest import Entry

    for one in left:
        entry = Entry(file=one.file, status="left out", reason=one.kind)
        if manifest.entries.get(one.file) != entry:
            manifest.add(entry)


def chosen_format(source: Path, out: Path, kind: str | None) -> Any:
    """The format that --format or the suffix of OUT names; png where neither does.

    Raises:
        RequestError: they name different ones, or one that cannot be written.
    """
    from hamguard.core.checks import check_choice
    from hamguard.images.kinds import SUFFIXES
    from hamguard.privacy.names import SUFFIX

    if kind is not None:
        check_choice("picture format", kind, SUFFIX)
    if source.is_dir() or out.is_dir() or not out.suffix:
        return kind or "png"
    named = SUFFIXES.get(out.suffix.lower())
    if named not in SUFFIX:
        raise RequestError(f"a copy is written as .png, .jpg or .webp, got {out.name}")
    if kind not in (None, named):
        raise RequestError(f"--format {kind} does not go with {out.name}; leave one of them out")
    return named


def places(source: Path, out: Path, form: str) -> tuple[Path, Path, dict[str, str], list[LeftOut]]:
    """Folder of the originals, folder of the copies, the path of each copy by that of its original, and what is left out.

    Raises:
        RequestError: there is no picture.
    """
    from hamguard.core.files import open_ordinary
    from hamguard.images.folder import look_into, require_pictures
    from hamguard.images.io import READ
    from hamguard.images.kinds import CALLED, HEAD, read_format
    from hamguard.privacy.names import copy_names

    if source.is_dir():
        found = look_into(source)
        return source, out, copy_names(require_pictures(source, found), form), found.left
    with open_ordinary(source, "picture") as stream:
        if source.suffix.lower() not in CALLED and not read_format(stream.read(HEAD)):
            raise RequestError(f"{source} is no picture that can be read; {READ}")
    if out.is_dir() or not out.suffix:
        return source.parent, out, copy_names([source.name], form), []
    return source.parent, out.parent, {source.name: out.name}, []


def summary(entries: list[Entry], fresh: int, seconds: float) -> dict[str, Any]:
    """Figures over all files that have a copy."""

    def mean(values: list[float]) -> float | None:
        return sum(values) / len(values) if values else None

    done = [entry for entry in entries if entry.status == "done"]
    alike = [entry.ssim for entry in done if entry.ssim is not None]
    return {
        "pictures": len(entries),
        "done": len(done),
        "skipped": len(entries) - len(done),
        "fresh": fresh,
        "change": max((entry.change for entry in done), default=None),
        "rmse": mean([entry.rmse for entry in done]),
        "psnr": mean([entry.psnr for entry in done if entry.psnr is not None]),
        "ssim": mean(alike),
        "ssim_pictures": len(alike),
        "seconds": round(seconds, 3),
        "per_second": fresh / seconds if seconds else None,
    }


def report(facts: dict[str, Any], settings: Settings, source: Path, out: Path, *, resumed: bool) -> None:
    """The figures as lines."""
    levels = f"{settings.eps * 255:g}/255"
    form = settings.format if settings.format == "png" else f"{settings.format} of quality {settings.quality}"
    steps = f", {settings.refine} gradient steps against {', '.join(m.name for m in settings.matchers)}" * bool(
        settings.refine
    )
    tell(f"{out}: {facts['done']:,} of {facts['pictures']:,} pictures protected ({levels}, {form}{steps})")
    if resumed:
        tell(f"{facts['done'] - facts['fresh']:,} of them were done before.")
    if facts["done"]:
        psnr = "" if facts["psnr"] is None else f", PSNR {facts['psnr']:.1f} dB"
        line = f"after decoding: largest change {facts['change']} of 255 levels, mean RMSE {facts['rmse']:.4f}{psnr}"
        if facts["ssim"] is not None:
            line += f", SSIM {facts['ssim']:.3f} ({facts['ssim_pictures']:,} pictures)"
        tell(line)
    if settings.format == "jpeg" or (settings.format == "webp" and settings.quality < 100):
        tell(
            f"Note: {form} adds errors of its own; the bound of {levels} holds before encoding, and for the files themselves "
            "with png or webp of quality 100 only."
        )
    if facts["fresh"] and facts["per_second"]:
        peak = f", peak memory {facts['peak_bytes'] / 2**20:,.0f} MiB" if facts["peak_bytes"] else ""
        tell(f"{facts['per_second']:,.1f} pictures a second ({facts['seconds']:,.1f} s){peak}")


def notes(entries: list[Entry], facts: dict[str, Any], left: list[LeftOut]) -> list[str]:
    """What else a person must know: pictures that lost frames, copies that were made again, files that were left out."""
    from hamguard.images.folder import FIRST, first_names, left_out_note

    said = []
    moving = [entry for entry in entries if entry.status == "done" and entry.frames > 1]
    if moving:
        names = [f"{entry.file} ({entry.frames} frames)" for entry in moving]
        what = (
            "moving picture or file with several pictures"
            if len(moving) == 1
            else "moving pictures or files with several pictures"
        )
        said.append(f"{len(moving):,} {what}: only the first frame was kept of {first_names(names)}")
    if again := facts["made_again"]:
        what = (
            "copy was not as protect wrote it, and was"
            if len(again) == 1
            else "copies were not as protect wrote them, and were"
        )
        said.append(f"{len(again):,} {what} made again: {first_names(again)}")
    if facts["untrusted"]:
        said.append(f"an older hamguard kept no hashes of its {facts['untrusted']:,} copies; they were made again")
    if told := left_out_note(left):
        said.append(told + ("; protect.jsonl names all" if len(left) > FIRST else ""))
    return said


def closing(source: Path, out: Path, *, shipped: bool) -> None:
    """The last lines: what a person may expect, and how to measure it."""
    tell(TODAY if shipped else UNTRIED)
    words = " ".join(shlex.quote(str(path)) for path in (source, out))
    tell(f"Next: hamguard verify {words} --matcher MODEL (one that was not used here)")
