"""The demo's sixth and seventh stage: a protector of digits, four searches on it, and protected files with their effect cards."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hamguard.api.running import Bar
from hamguard.cli.common import say

if TYPE_CHECKING:
    from hamguard.core.rows import Row
    from hamguard.evaluation.ground import Ground

EPS = 0.3  # published for Fashion-MNIST, pictures of the same kind; plain to see
GAME = ("warmup=100", "batch_size=32", "epochs=6")
FILES = 40  # pictures that are written, protected and verified as files
OTHER = "learned from protected pictures"  # what the rows call the model of the other party


def protect_digits(out: Path, ground: Ground) -> list[Row]:
    """Train a protector that never sees the demo's model, search with models of both kinds, and protect files.

    Args:
        out: folder of the demo; gets `protector`, `photos` and `protected`.
        ground: the demo's model on its data.

    Returns:
        Rows of the four searches: under noise of the same size, of the demo's model, and of one that learned from protected
        pictures.

    Raises:
        RunError: something could not be written.
    """
    from hamguard.core.context import Context
    from hamguard.data.opened import Data
    from hamguard.evaluation.protection.four_searches import Party, Sides, four_rows, needed, run_cell
    from hamguard.evaluation.protection.protections import by_noise, by_protector, protected_pictures
    from hamguard.models.protector_store import load_protector
    from hamguard.trainers.run import run_job
    from hamguard.trainers.words import read_job

    dataset, split, seed = ground.dataset, ground.split, ground.seed
    flags = {"data.source": "digits", "seed": seed, "settings.eps": EPS}
    job = read_job({}, flags, GAME, kind="protector")
    context = Context(device=ground.device, seed=seed, restart=True, stage=Bar)
    run_job(job, Data(dataset, split), out / "protector", context=context)
    net = load_protector(out / "protector")[0]
    ask = read_job({}, {"data.source": "digits", "method": "csq", "model.bits": ground.model.bits, "seed": seed})
    place, rows = Path(ground.name), []
    for protection in (by_noise(EPS, seed), by_protector(net.to(ground.device))):
        pictures = protected_pictures(dataset.images, needed(split, None), protection, context=ground.context)
        sides = Sides(dataset, pictures, split, protection)
        rows += four_rows(sides, Party(ask, 0.0), ground.model, ground.card, place, context=ground.context)
    rows = [replace(row, model=ground.name) for row in rows]
    shutil.rmtree(out / "searches", ignore_errors=True)  # the demo shows its work anew
    other = run_cell(sides, Party(ask, 1.0), out / "searches", context=context.but(restart=False))
    shutil.rmtree(out / "searches", ignore_errors=True)
    rows += [replace(row, model=OTHER) for row in other]
    _write_photos(out / "photos", ground)
    _protect(out, seed)
    say(f"6. protect: PPL within {EPS:g} a pixel, {FILES} files -> {out / 'protected'}")
    return rows


def verify_digits(out: Path, ground: Ground) -> list[Row]:
    """What `hamguard verify photos protected --matcher model` does, and a picture of it.

    Raises:
        RunError: something could not be written.
    """
    from hamguard.api.verify import verify
    from hamguard.cli.demo_page import TOP, draw_effect
    from hamguard.core.context import Context

    done = verify(
        out / "photos",
        out / "protected",
        matchers=[ground.name],
        views=["jpeg:85"],
        top=TOP,
        cards=12,
        out=out / "effect",
        name="digits as files",
        context=Context(device=ground.device, seed=ground.seed, stage=Bar),
    )
    draw_effect(out / "effect.png", done.measured, ground.seed)
    say(f"7. verify: {len(done.measured.pairs)} pairs of files -> {done.page}, {out / 'effect.png'}")
    return done.rows


def _write_photos(folder: Path, ground: Ground) -> None:
    """The first queries as picture files."""
    from hamguard.images.io import encode

    shutil.rmtree(folder, ignore_errors=True)
    numbers = ground.split.query[:FILES]
    for number, picture in zip(numbers, ground.dataset.images.pixels(numbers), strict=True):
        encode(picture, folder / f"digit-{int(number):04d}.png")


def _protect(out: Path, seed: int) -> None:
    """What `hamguard protect photos protected --protector protector` does."""
    from hamguard.api.protect import protect
    from hamguard.core.context import Context

    shutil.rmtree(out / "protected", ignore_errors=True)
    protect(out / "photos", out / "protected", protector=out / "protector", eps=EPS, context=Context(seed=seed))
