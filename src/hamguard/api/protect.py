"""Photos that other people's picture search does not match with their originals."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamguard.api.arguments import checked
from hamguard.api.running import running
from hamguard.attacks.threat import Linf
from hamguard.core.checks import check_choice, check_range, parse_eps
from hamguard.core.context import counted
from hamguard.core.errors import RequestError
from hamguard.core.html import lines_html
from hamguard.core.rows import levels_text

if TYPE_CHECKING:
    from hamguard.core.context import Context
    from hamguard.images.folder import LeftOut
    from hamguard.models.protector import Protector
    from hamguard.models.protector_store import ProtectorCard
    from hamguard.models.store import AnyModel
    from hamguard.privacy.manifest import Entry, Manifest, Settings
    from hamguard.privacy.matchers import Matcher
    from hamguard.privacy.panel_check import Checked
    from hamguard.privacy.twice import Before

__all__ = ["Protected", "protect"]

QUALITY = 95  # of lossy formats
SHIPPED = "photos"
CHECK = 24
"""Photos of the sample that is tried before a run says that it is done."""

UNTRIED = (
    "A search of today may still find these photos: how many are still found was not measured (--check 24 measures it).",
)


@dataclass(frozen=True)
class Protected:
    """What a run of `protect` left.

    Attributes:
        source: picture or folder of originals.
        out: where the copies are.
        entries: what became of each picture.
        facts: figures over all of them: `done`, `skipped`, `fresh`, `change` (largest, of 255 levels), `rmse`, `psnr`, `ssim`, ...
        settings: how they were protected.
        left: what is no picture, hidden, or of a kind that is not read.
        resumed: whether an earlier run had done some of them.
        checked: how many of a sample are still found by searches that the protector never saw; None where none was tried.
        before: which pictures were protected copies already.
    """

    source: Path
    out: Path
    entries: tuple[Entry, ...]
    facts: dict[str, Any]
    settings: Settings
    left: tuple[LeftOut, ...]
    resumed: bool
    checked: Checked | None
    before: Before

    @property
    def skipped(self) -> list[str]:
        """Why pictures have no copy."""
        from hamguard.images.folder import UNREADABLE

        lost = [f"{one.file} cannot be read, nor can what lies in it" for one in self.left if one.kind == UNREADABLE]
        return [*(entry.reason for entry in self.entries if entry.status == "skipped"), *lost]

    @property
    def lines(self) -> list[str]:
        """Figures, notes, and what a person may expect, as lines."""
        from hamguard.privacy.panel_check import check_words

        said = [*self._figures(), *(f"Note: {note}" for note in self._notes())]
        if self.facts["done"]:
            words = " ".join(shlex.quote(str(path)) for path in (self.source, self.out))
            said += UNTRIED if self.checked is None else check_words(self.checked)
            said.append(f"Next: hamguard verify {words} (all photos, all searches of the panel)")
        return said

    def __repr__(self) -> str:
        return f"Protected({self.out}: {self.facts['done']:,} of {self.facts['pictures']:,} pictures)"

    def _repr_html_(self) -> str:
        return lines_html([*self.lines, *(f"skipped: {reason}" for reason in self.skipped)])

    def _figures(self) -> list[str]:
        facts, settings = self.facts, self.settings
        levels = levels_text(settings.eps)
        form = settings.format if settings.format == "png" else f"{settings.format} of quality {settings.quality}"
        names = ", ".join(one.name for one in settings.matchers)
        steps = f", {settings.refine} gradient steps against {names}" if settings.refine else ""
        done = f"{facts['done']:,} of {facts['pictures']:,} {_pictures(facts['pictures'])} protected"
        lines = [f"{self._copy}: {done} ({levels}, {form}{steps})"]
        if earlier := facts["done"] - facts["fresh"] if self.resumed else 0:
            lines.append(f"{earlier:,} of them {'was' if earlier == 1 else 'were'} done before.")
        if facts["done"]:
            psnr = "" if facts["psnr"] is None else f", PSNR {facts['psnr']:.1f} dB"
            seen = facts["ssim_pictures"]
            alike = "" if facts["ssim"] is None else f", SSIM {facts['ssim']:.3f} ({seen:,} {_pictures(seen)})"
            change = f"largest change {facts['change']} of 255 levels"
            lines.append(f"after decoding: {change}, mean RMSE {facts['rmse']:.4f}{psnr}{alike}")
        if settings.format == "jpeg" or (settings.format == "webp" and settings.quality < 100):
            lines.append(
                f"Note: {form} adds errors of its own; the bound of {levels} holds before encoding, and for the files themselves "
                "with png or webp of quality 100 only."
            )
        if facts["fresh"] and facts["per_second"]:
            peak = f", peak memory {facts['peak_bytes'] / 2**20:,.0f} MiB" if facts["peak_bytes"] else ""
            lines.append(f"{facts['per_second']:,.1f} pictures a second ({facts['seconds']:,.1f} s){peak}")
        return lines

    @property
    def _copy(self) -> Path:
        """The copy of a single picture, else the folder."""
        single = self.source.is_file() and self.out.is_dir() and len(self.entries) == 1
        return self.out / self.entries[0].out if single and self.entries[0].out else self.out

    def _notes(self) -> list[str]:
        """What else a person must know: pictures that lost frames, copies that were made again, files that were left out."""
        from hamguard.images.folder import FIRST, first_names, left_out_note

        said = self.before.notes(self.settings.eps)
        if moving := [entry for entry in self.entries if entry.status == "done" and entry.frames > 1]:
            names = [f"{entry.file} ({entry.frames} frames)" for entry in moving]
            one, many = "moving picture or file with several pictures", "moving pictures or files with several pictures"
            what = one if len(moving) == 1 else many
            said.append(f"{len(moving):,} {what}: only the first frame was kept of {first_names(names)}")
        if again := self.facts["made_again"]:
            one = "copy was not as protect wrote it, and was"
            what = one if len(again) == 1 else "copies were not as protect wrote them, and were"
            said.append(f"{len(again):,} {what} made again: {first_names(again)}")
        if count := self.facts["untrusted"]:
            said.append(f"an older hamguard kept no hashes of its {count:,} copies; they were made again")
        if absent := self.facts.get("absent"):
            said.append(f"--strong worked without some of its networks; {'; '.join(absent)} brings them")
        if told := left_out_note(list(self.left)):
            said.append(told + ("; protect.jsonl names all" if len(self.left) > FIRST else ""))
        return said


@checked
def protect(
    source: Path | str,
    out: Path | str,
    *,
    protector: str | Path = SHIPPED,
    eps: float | str | None = None,
    format: str | None = None,
    quality: int | None = None,
    metadata: str = "strip",
    scale: str = "auto",
    strong: bool = False,
    refine: int = 0,
    matchers: Sequence[str | Path | AnyModel] = (),
    check: int = CHECK,
    batch_size: int = 8,
    context: Context | None = None,
) -> Protected:
    """Write protected copies of pictures: they look much the same, and some hash-based searches miss the originals with them.

    Originals are never touched. Broken files are skipped and named in the result; a run that was stopped goes on when it is asked
    for again.

    Args:
        source: picture, or folder of pictures.
        out: where copies go: a folder, or a file for one picture.
        protector: protector folder, or the name of one that ships with hamguard.
        eps: how far pixels may move, in [0, 1] or as text such as "8/255"; by default the protector's own, or that of `strong`.
        format: of the copies, `png`, `jpeg` or `webp`; by default what the suffix of `out` says, else png, which is exact.
        quality: of jpeg and webp, 1 to 100; 95 by default, and webp of 100 is exact.
        metadata: `strip` (color profile only), `no-location` (EXIF without places) or `keep`.
        scale: noise of large pictures: `full` (own size), `fit` (enlarged) or `auto`.
        strong: refine against the ensemble that ships (`privacy.strong`), too: seconds a picture, and far more effect.
        refine: gradient steps a picture against the matchers; with `strong` a number is there.
        matchers: models that `refine` works against.
        check: photos of a sample that searches of the panel, which the protector never saw, are tried on afterwards; 0 for none.
        batch_size: pictures of one size at once.
        context: device, seed, and whether to throw away what an earlier run left.

    Raises:
        RequestError: no such picture, protector or matcher, options that do not go together, or a place where originals, or files
            that protect did not write, would be overwritten.
        RunError: the copies cannot be written.
    """
    from hamguard.core.files import sweep
    from hamguard.privacy.folder_run import FolderRun
    from hamguard.privacy.manifest import Manifest, Named, Settings
    from hamguard.privacy.names import check_free
    from hamguard.privacy.refine import Refine
    from hamguard.privacy.strong import STEPS, strong_eps
    from hamguard.privacy.twice import protected_before

    source, out, refine = Path(source), Path(out), refine or (STEPS if strong else 0)
    bound = checked_words(eps, metadata, scale, refine, matchers, strong=strong)
    check_range("check", check, 0)
    form, folder, home, names, left = _checked_places(source, out, format, quality)
    context, (net, card) = running(context), opened_protector(protector)
    net.to(context.device)
    bound = strong_eps(net) if strong and bound is None else bound
    models, absent = _ensemble(matchers, strong, context)
    settings = Settings(
        **settings_facts(protector, card, bound, (form, quality), metadata, scale),
        refine=refine,
        matchers=[Named(name=one.name, hash=one.hash, network=one.network) for one in models],
        seed=context.seed,
    )
    manifest = Manifest(home if source.is_dir() else None, settings, restart=context.restart and source.is_dir())
    check_free(home, names.values(), manifest.owns)
    for place in {(home / name).parent for name in names.values()}:
        sweep(place)
    steps = Refine(models, refine, settings.eps, context.seed, even=net.even, fresh=strong) if refine else None
    run = FolderRun(folder, home, names, net, card.side, manifest, steps, batch_size)
    before, started = dict(manifest.entries), time.monotonic()
    with context.stage("protecting") as progress:
        run(progress)
    facts = _facts(manifest, list(names), left, before, time.monotonic() - started)
    entries = tuple(manifest.summary(list(names)))
    already = protected_before(source, entries)
    tried = _tried(entries, folder, home, check, manifest, context)
    facts |= {"protected_before": list(already.files), "check": manifest.settings.check, **absent}
    return Protected(source, out, entries, facts, manifest.settings, tuple(left), bool(before), tried, already)


def _ensemble(
    matchers: Sequence[str | Path | AnyModel], strong: bool, context: Context
) -> tuple[tuple[Matcher, ...], dict[str, list[str]]]:
    """What refining works against, and what to install for networks of the strong ensemble that are not here, if any."""
    from hamguard.privacy.matchers import matcher_of
    from hamguard.privacy.strong import strong_ensemble

    shipped, absent = strong_ensemble(context.device) if strong else ([], [])
    models = (*shipped, *(matcher_of(one, context.device) for one in matchers))
    return models, {"absent": absent} if absent else {}


def _tried(
    entries: Sequence[Entry], folder: Path, home: Path, count: int, manifest: Manifest, context: Context
) -> Checked | None:
    """How many of a sample of the copies searches of the panel still find, which is noted; None where none are to be tried."""
    from hamguard.privacy.pairs import Pair, protection_of
    from hamguard.privacy.panel_check import check_copies, spread

    done = [Pair(one.file, folder / one.file, home / one.out, one.copy_hash) for one in entries if one.status == "done"]
    tried = None
    if count and done:
        sample = [done[place] for place in spread(count, len(done))]
        saw = protection_of(manifest.settings.model_dump()).saw
        with context.stage("checking") as progress:
            tried = check_copies(sample, saw, device=context.device, progress=counted(progress))
    manifest.note(tried.to_json() if tried else None)
    return tried


def settings_facts(
    protector: Path | str,
    card: ProtectorCard,
    bound: float | None,
    form: tuple[Any, int | None],
    metadata: Any,
    scale: Any,
) -> dict[str, Any]:
    """What settings say of one pass: `form` is format and quality, which is 95 where None; the bound is the protector's own."""
    from hamguard.privacy.manifest import Named

    kind, quality = form
    name = Path(protector).resolve().name if Path(protector).exists() else str(protector)
    return {
        "protector": Named(name=name, hash=card.digest),  # compared when they were loaded
        "surrogate": card.surrogates,
        "networks": card.learned_networks,
        "eps": Linf(card.eps).eps if bound is None else bound,
        "format": kind,
        "quality": 100 if kind == "png" else quality or QUALITY,
        "metadata": metadata,
        "scale": scale,
    }


def opened_protector(protector: Path | str) -> tuple[Protector, ProtectorCard]:
    """A protector that bounds every value, as pictures of any size need."""
    from hamguard.models.protector_store import load_protector

    net, card = load_protector(protector)
    if net.norm != "linf":
        raise RequestError(
            f"protect bounds every value of a picture; {protector} is bounded in {net.norm}, which `privacy` measures"
        )
    return net, card


def checked_words(
    eps: float | str | None,
    metadata: str,
    scale: str,
    refine: int,
    matchers: Sequence[object],
    *,
    strong: bool = False,
) -> float | None:
    """The bound that was asked for, after a check of words that cost nothing."""
    from hamguard.images.originals import METADATA
    from hamguard.privacy.protect import SCALES

    check_choice("metadata", metadata, METADATA)
    check_choice("scale", scale, SCALES)
    if refine and not matchers and not strong:
        raise RequestError(f"refine {refine} needs models to work against; give a matcher, once or more, or strong")
    if matchers and not refine:
        raise RequestError("a matcher belongs to refine; give the number of steps, e.g. refine 10")
    return None if eps is None else Linf(parse_eps(eps) if isinstance(eps, str) else eps).eps


def _checked_places(
    source: Path, out: Path, kind: str | None, quality: int | None
) -> tuple[Any, Path, Path, dict[str, str], list[LeftOut]]:
    """Format, folder of the originals, folder of the copies, names of the copies, and what is left out."""
    from hamguard.privacy.names import check_apart, chosen_format, places

    if not source.is_file() and not source.is_dir():
        why = "is not an ordinary file" if source.exists() else "does not exist"
        raise RequestError(f"{source} {why}; give a picture or a folder of pictures")
    form = chosen_format(source, out, kind)
    if quality is not None and form == "png":
        raise RequestError(f"quality {quality} belongs to jpeg and webp; png is exact")
    check_apart(source, out)
    folder, home, names, left = places(source, out, form)
    if source.is_file():
        check_apart(source, home / names[source.name])
    return form, folder, home, names, left


def _facts(
    manifest: Manifest, names: list[str], left: list[LeftOut], before: dict[str, Entry], seconds: float
) -> dict[str, Any]:
    """Figures over all files that have a copy; what was left out is written down, once."""
    from hamguard.privacy.folder_run import peak_memory
    from hamguard.privacy.manifest import Entry

    for one in left:
        entry = Entry(file=one.file, status="left out", reason=one.kind)
        if manifest.entries.get(one.file) != entry:
            manifest.add(entry)
    entries = manifest.summary(names)
    done = [entry for entry in entries if entry.status == "done"]
    fresh = sum(before.get(entry.file) is not entry for entry in done)
    alike = [entry.ssim for entry in done if entry.ssim is not None]
    return {
        "pictures": len(entries),
        "done": len(done),
        "skipped": len(entries) - len(done),
        "fresh": fresh,
        "change": max((entry.change for entry in done), default=None),
        "rmse": _mean([entry.rmse for entry in done]),
        "psnr": _mean([entry.psnr for entry in done if entry.psnr is not None]),
        "ssim": _mean(alike),
        "ssim_pictures": len(alike),
        "seconds": round(seconds, 3),
        "per_second": fresh / seconds if seconds else None,
        "peak_bytes": peak_memory(),
        "left_out": dict(sorted(Counter(one.kind for one in left).items())),
        "made_again": sorted(manifest.changed),
        "untrusted": manifest.untrusted,
    }


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _pictures(count: int) -> str:
    return "picture" if count == 1 else "pictures"
