"""The demo's last stage: a protector of digits, four searches on it, and protected files with their effect cards."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from hamguard.cli.common import Bar, print_table, say

if TYPE_CHECKING:
    from hamguard.core.rows import Row
    from hamguard.evaluation.attack_measure import Ground

EPS = 0.3  # published for Fashion-MNIST, pictures of the same kind; plain to see
GAME = ("warmup=100", "batch_size=32", "epochs=6")
FILES = 40  # pictures that are written, protected and verified as files
SEARCHES = ("C->C", "C->A", "A->C", "A->A")


class Protected(NamedTuple):
    """What the stage leaves.

    Attributes:
        rows: of the four searches and of the effect on files.
        searches: value of each search, by what the model was trained on.
        words: what the effect means.
    """

    rows: list[Row]
    searches: dict[str, list[float]]
    words: list[str]


def protect_digits(out: Path, ground: Ground, seed: int) -> Protected:
    """Train a protector, search with models of both kinds, protect files, and verify them with the demo's model.

    Raises:
        RunError: something could not be written.
    """
    from hamguard.cli.verify import write_effect
    from hamguard.evaluation.four_searches import Party, Sides, find, four_rows, needed, run_cell
    from hamguard.evaluation.protections import by_protector, protected_pictures
    from hamguard.evaluation.protector_request import build_protector_request
    from hamguard.evaluation.protector_training import train_protector
    from hamguard.models.protector_store import load_protector
    from hamguard.privacy.effect import Matcher, measure_effect
    from hamguard.privacy.effect_summary import effect_rows, plain_words, summary_lines
    from hamguard.privacy.pairs import find_pairs, read_protection
    from hamguard.training.request import build_request

    dataset, split = ground.dataset, ground.split
    flags = {"data.source": "digits", "seed": seed, "settings.eps": EPS}
    with Bar("learning to protect") as bar:
        card = train_protector(
            build_protector_request(flags, GAME), [], dataset, split, out / "protector", device=ground.device,
            restart=True, progress=bar,
        ).card  # fmt: skip
    net = load_protector(out / "protector")[0]
    protection = by_protector(net.to(ground.device))
    sides = Sides(dataset, protected_pictures(dataset.images, needed(split, None), protection), split, protection)
    ask = build_request({}, {"data.source": "digits", "method": "csq", "model.bits": ground.model.bits, "seed": seed})
    place = Path(ground.name)
    rows = four_rows(sides, Party(ask, 0.0), ground.model, ground.card, place, seed=seed, device=ground.device)
    shutil.rmtree(out / "searches", ignore_errors=True)  # the demo shows its work anew
    with Bar("learning from protected pictures") as bar:
        other = run_cell(sides, Party(ask, 1.0), out / "searches", seed=seed, device=ground.device, progress=bar)
    shutil.rmtree(out / "searches", ignore_errors=True)
    searches = {name: [find(part, task) for task in SEARCHES] for name, part in (("C", rows), ("A", other))}
    rows += other

    _write_photos(out / "photos", ground)
    _protect(out, card.side, seed)
    pairing, told = find_pairs(out / "photos", out / "protected"), read_protection(out / "protected")
    matcher = Matcher(ground.name, ground.model, ground.card, told.saw(ground.model.digest))
    with Bar("verifying") as bar:
        measured = measure_effect(
            pairing, [matcher], views=["jpeg:85"], seed=seed, device=ground.device, progress=bar.count
        )  # fmt: skip
    lines = summary_lines(measured, 10, seed)
    effect = effect_rows(measured, lines, told, dataset="photos", top=10, seed=seed)
    words = plain_words(measured, lines, told, top=10, seed=seed)
    write_effect(
        out / "effect", measured, told, lines, effect, words,
        subject="photos against protected", top=10, cards=12, seed=seed,
    )  # fmt: skip
    say(
        f"8. protect: PPL within {EPS:g} a pixel, {FILES} files -> {out / 'protected'}, {out / 'effect' / 'report.html'}"
    )
    return Protected([*rows, *effect], searches, words)


def _write_photos(folder: Path, ground: Ground) -> None:
    """The first queries as picture files."""
    from hamguard.images.io import encode

    shutil.rmtree(folder, ignore_errors=True)
    numbers = ground.split.query[:FILES]
    for number, picture in zip(numbers, ground.dataset.images.pixels(numbers), strict=True):
        encode(picture, folder / f"digit-{int(number):04d}.png")


def _protect(out: Path, side: int, seed: int) -> None:
    """What `hamguard protect photos protected --protector protector` does."""
    from hamguard.models.protector_store import load_protector
    from hamguard.privacy.folder_run import FolderRun
    from hamguard.privacy.manifest import Manifest, Named, Settings
    from hamguard.privacy.names import copy_names

    shutil.rmtree(out / "protected", ignore_errors=True)
    net, card = load_protector(out / "protector")
    settings = Settings(
        protector=Named(name="protector", hash=net.digest), surrogate=card.surrogates, eps=EPS, format="png",
        quality=100, metadata="strip", scale="auto", refine=0, matchers=[], seed=seed,
    )  # fmt: skip
    names = copy_names([path.name for path in sorted((out / "photos").iterdir())], "png")
    FolderRun(
        out / "photos", out / "protected", names, net, side, Manifest(out / "protected", settings, restart=False)
    )()


def print_protected(found: Protected) -> None:
    """The four searches as a table, and what the effect on files means."""
    print_table(
        f"MAP with a protector that never saw the model, eps {EPS:g}; query->database, C clean, A protected",
        ("model trained on", *SEARCHES),
        [(name, *(f"{value:.4f}" for value in values)) for name, values in found.searches.items()],
    )  # fmt: skip
    for sentence in found.words:
        typer.echo(sentence)
