"""`hamguard protect`: copies of pictures that other people's picture search does not match with the originals."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hamguard.cli.common import Bar, DeviceOption, JsonOption, SeedOption, choose_device, print_json, say
from hamguard.core.errors import RequestError

if TYPE_CHECKING:
    from hamguard.privacy.manifest import Entry, Settings

QUALITY = 95  # of lossy formats


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
    """Write protected copies of pictures: they look the same, and hash-based search does not find the originals with them.

    Originals are never touched. Broken files are skipped and named at the end, with exit code 1. A run that was stopped goes on
    when the same command is given again.

    [bold]Examples[/bold]:

    hamguard protect photos protected

    hamguard protect photos protected --refine 10 --matcher models/a --matcher models/b

    hamguard protect photo.jpg protected.jpg --quality 90 --metadata no-location
    """
    from hamguard.attacks.threat import Linf, parse_eps
    from hamguard.core.checks import check_choice
    from hamguard.images.folder import unread_pictures
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
    single, form = source.is_file(), chosen_format(source, out, kind)
    if quality is not None and form == "png":
        raise RequestError(f"--quality {quality} belongs to jpeg and webp; png is exact")
    check_apart(source, out)
    folder, home, names = places(source, out, form)
    if single:
        check_apart(source, home / names[source.name])

    from hamguard.models.protector_store import load_protector
    from hamguard.privacy.folder_run import FolderRun, peak_memory
    from hamguard.privacy.manifest import Manifest, Named, Settings
    from hamguard.privacy.matchers import load_matcher
    from hamguard.privacy.names import check_free, remove_leftovers
    from hamguard.privacy.refine import Refine

    chosen = choose_device(device)
    net, card = load_protector(protector)
    net.to(chosen)
    ball = ball or Linf(card.eps)
    models = tuple(load_matcher(text, chosen) for text in matchers or ())
    place = Path(protector)
    settings = Settings(
        protector=Named(name=place.resolve().name if place.exists() else protector, hash=net.digest),
        surrogate=card.surrogates, eps=ball.eps, format=form, quality=100 if form == "png" else quality or QUALITY,
        metadata=metadata, scale=scale, refine=refine,
        matchers=[Named(name=one.name, hash=one.hash) for one in models], seed=seed,
    )  # fmt: skip
    manifest = Manifest(None if single else home, settings, restart=restart and not single)
    check_free(home, names.values(), manifest.owns)
    remove_leftovers(home, names.values())
    steps = Refine(models, refine, ball.eps, seed) if refine else None
    run = FolderRun(folder, home, names, net, card.side, manifest, steps, batch_size)
    old, started = len(manifest.entries), time.monotonic()
    with Bar("protecting") as bar:
        run(bar)
    seconds = time.monotonic() - started
    entries = manifest.summary(list(names))
    facts = {
        **summary(entries, run.fresh, seconds), "peak_bytes": peak_memory(),
        "unread": {} if single else unread_pictures(source),
    }  # fmt: skip
    if as_json:
        print_json([entry.model_dump() for entry in entries])
        print_json([{"summary": facts, "settings": manifest.settings.model_dump()}])
    else:
        report(facts, settings, source, home / names[source.name] if single else out, resumed=old > 0)
    skipped = [entry for entry in entries if entry.status == "skipped"]
    for entry in skipped:
        say(f"skipped: {entry.reason}")
    if skipped:
        sys.exit(1)


def chosen_format(source: Path, out: Path, kind: str | None) -> Any:
    """The format that --format or the suffix of OUT names; png where neither does.

    Raises:
        RequestError: they name different ones, or one that cannot be written.
    """
    from hamguard.core.checks import check_choice
    from hamguard.images.io import SUFFIXES
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


def places(source: Path, out: Path, form: str) -> tuple[Path, Path, dict[str, str]]:
    """Folder of the originals, folder of the copies, and the path of each copy by that of its original.

    Raises:
        RequestError: there is no picture.
    """
    from hamguard.images.folder import list_pictures
    from hamguard.images.io import SUFFIXES
    from hamguard.privacy.names import copy_names

    if source.is_dir():
        files = [path.relative_to(source).as_posix() for path in list_pictures(source)]
        return source, out, copy_names(files, form)
    if source.suffix.lower() not in SUFFIXES:
        raise RequestError(f"{source} is no picture that can be read; allowed: {', '.join(SUFFIXES)}")
    if out.is_dir() or not out.suffix:
        return source.parent, out, copy_names([source.name], form)
    return source.parent, out.parent, {source.name: out.name}


def summary(entries: list[Entry], fresh: int, seconds: float) -> dict[str, Any]:
    """Figures over all files that have a copy."""

    def mean(values: list[float]) -> float | None:
        return sum(values) / len(values) if values else None

    done = [entry for entry in entries if entry.status == "done"]
    alike = [entry.ssim for entry in done if entry.ssim is not None]
    return {
        "pictures": len(entries), "done": len(done), "skipped": len(entries) - len(done), "fresh": fresh,
        "change": max((entry.change for entry in done), default=None), "rmse": mean([entry.rmse for entry in done]),
        "psnr": mean([entry.psnr for entry in done if entry.psnr is not None]), "ssim": mean(alike),
        "ssim_pictures": len(alike), "seconds": round(seconds, 3), "per_second": fresh / seconds if seconds else None,
    }  # fmt: skip


def report(facts: dict[str, Any], settings: Settings, source: Path, out: Path, *, resumed: bool) -> None:
    """The figures as lines."""
    levels = f"{settings.eps * 255:g}/255"
    form = settings.format if settings.format == "png" else f"{settings.format} of quality {settings.quality}"
    steps = f", {settings.refine} gradient steps against {', '.join(m.name for m in settings.matchers)}" * bool(
        settings.refine
    )
    typer.echo(f"{out}: {facts['done']:,} of {facts['pictures']:,} pictures protected ({levels}, {form}{steps})")
    if resumed:
        typer.echo(f"{facts['pictures'] - facts['fresh']:,} of them were done before.")
    if facts["done"]:
        psnr = "" if facts["psnr"] is None else f", PSNR {facts['psnr']:.1f} dB"
        line = f"after decoding: largest change {facts['change']} of 255 levels, mean RMSE {facts['rmse']:.4f}{psnr}"
        if facts["ssim"] is not None:
            line += f", SSIM {facts['ssim']:.3f} ({facts['ssim_pictures']:,} pictures)"
        typer.echo(line)
    if settings.format == "jpeg" or (settings.format == "webp" and settings.quality < 100):
        typer.echo(
            f"Note: {form} adds errors of its own; the bound of {levels} holds before encoding, and for the files themselves "
            "with png or webp of quality 100 only."
        )
    if facts["fresh"] and facts["per_second"]:
        peak = f", peak memory {facts['peak_bytes'] / 2**20:,.0f} MiB" if facts["peak_bytes"] else ""
        typer.echo(f"{facts['per_second']:,.1f} pictures a second ({facts['seconds']:,.1f} s){peak}")
    if facts["unread"]:
        found = ", ".join(f"{count:,} {suffix}" for suffix, count in facts["unread"].items())
        typer.echo(f"Note: pictures in formats that are not read were left alone: {found}")
    if facts["done"]:
        words = " ".join(shlex.quote(str(path)) for path in (source, out))
        typer.echo(f"Next: hamguard verify {words} --matcher MODEL (one that was not used here)")
