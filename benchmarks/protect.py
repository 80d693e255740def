"""Protect photos of coco18 and ask the panel whether it still finds them: what docs/protect.md prints.

    uv run python benchmarks/protect.py --work DIR [--photos 500] [--protector P] [--strong] [--view jpeg:85] [--floats] [--out F]

Photos are those of coco18's query part from the 101st on: the first hundred were looked at while settings were chosen. Each is
searched among the 6,500 photos of the data base part, whose codes ship with the panel, and the other originals. `--floats`
searches by the networks' own features, too (cosine, centred on the data base): rows of method `floats`. Of the first hundred it
says how they look (ST-LPIPS; changes on even grounds and in texture; stripes and repeats), and how plain noise does. What was
protected is not protected again. Needs HAMGUARD_DATA; core-seconds a photo with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from perceptual import Perceptual

import hamguard as hg
from hamguard.core.files import updating, write_bytes
from hamguard.core.rows import Row, read_rows, write_rows
from hamguard.core.types import Array, Floats
from hamguard.data.photos import COCO
from hamguard.data.sources import open_source
from hamguard.images.io import decode
from hamguard.images.named_views import parse_view
from hamguard.images.repeats import repeats
from hamguard.images.stripes import stripes
from hamguard.models.contrast import GRAIN, contrast, room
from hamguard.models.encode import pixels_of
from hamguard.models.hash_model import HashModel
from hamguard.privacy.effect import Matcher, for_matcher
from hamguard.privacy.effect_card import plain_noise
from hamguard.privacy.pairs import read_protection
from hamguard.privacy.panel_check import choose_panel, open_panel
from hamguard.retrieval.intervals import bootstrap_interval
from hamguard.training.features import backbone_digest, frozen_features

RESULTS = Path(__file__).parent.parent / "results"
FIRST, TOP, LEVELS = 100, 10, 8
LOOKED = 100  # photos of which is taken how they look
ROUGH = 2 / 255  # contrast of texture at least; even grounds have that of grain at most
EVEN = 1.5 / 255  # bound on even grounds by which changes are weighed before their stripes are measured
EVEN_LEVELS, TEXTURE_LEVELS = "levels on even grounds", "levels in texture"
FLOATS = 200  # photos that are searched for by floats, which takes a network's pass for each view


QUERIES = 2  # number of the part


def contents_of(part: int, keep: Callable[[Array], Array]) -> dict[int, bytes]:
    """JPEG files of a part of coco18 as they came, by row; `keep` chooses among the rows."""
    with np.load(Path(os.environ["HAMGUARD_DATA"]) / COCO) as arrays:
        data, offsets = arrays["data"], arrays["offsets"]
        rows = keep(np.flatnonzero(arrays["split"] == part))
        return {int(row): data[offsets[row] : offsets[row + 1]].tobytes() for row in rows}


def measured_photos(count: int) -> dict[int, bytes]:
    """JPEG files of the photos that count, by row."""
    return contents_of(QUERIES, lambda rows: rows[FIRST : FIRST + count])


def write_photos(folder: Path, contents: Mapping[int, bytes]) -> None:
    """The files in a folder; one that is there stays."""
    for row, content in contents.items():
        if not (path := folder / f"{row:04d}.jpg").exists():
            write_bytes(path, content)


def look_rows(source: Path, copies: Path, base: Row) -> list[Row]:
    """How different copies look, and plain noise that moves every value by 8 of 255.

    By ST-LPIPS; by the root mean square of changes, in levels, on even grounds and in texture (see `models/contrast.py`); and by
    how far changes are made of stripes (`images/stripes.py`) and repeat themselves (`images/repeats.py`), those on faint texture as
    much as others.
    """
    distance, names = Perceptual(), sorted(path.stem for path in source.iterdir())[:LOOKED]
    found: dict[tuple[str, str], list[float]] = {}
    for name in names:
        clean, copy = decode(source / f"{name}.jpg"), decode(copies / f"{name}.png")
        noisy = plain_noise(clean, LEVELS, seed=0, name=name)
        x, z, n = (pixels_of(one[None]) for one in (clean, copy, noisy))
        rough, free = contrast(x).expand_as(x), room(x, LEVELS / 255, EVEN)
        places = {EVEN_LEVELS: rough <= GRAIN, TEXTURE_LEVELS: rough >= ROUGH}
        for kind, other in (("protected", z), ("noise", n)):
            found.setdefault((kind, "st-lpips"), []).append(float(distance(x, other)))
            for pattern in (stripes, repeats):
                found.setdefault((kind, pattern.__name__), []).append(pattern((other - x) / free).item())
            for metric, here in places.items():
                if bool(here.any()):  # a photo may have no even ground
                    moved = 255 * (other - x)[here].square().mean().sqrt()
                    found.setdefault((kind, metric), []).append(float(moved))
    rows = []
    for (kind, metric), values in found.items():
        attack = (
            base.attack if kind == "protected" else {"method": "noise", "protector": (base.attack or {})["protector"]}
        )
        figures = np.array(values)
        rows.append(
            replace(
                base, attack=attack, task="files", metric=metric, at=None, ties=None, model=None, method=None,
                backbone=None, bits=None, value=float(figures.mean()), ci95=bootstrap_interval(figures, seed=0), n=len(figures),
                notes=(),
            )
        )  # fmt: skip
    return rows


@torch.no_grad()
def float_rows(source: Path, copies: Path, views: list[str], base: Row) -> list[Row]:
    """Searches by features in the place of codes, a network each: the same photos among the same others."""
    dataset, split = open_source("coco18")
    choice = choose_panel(read_protection(copies).saw)
    matchers: dict[str, Matcher] = {}
    for one in open_panel([entry for entry, _ in choice.usable], read_protection(copies).saw):
        assert isinstance(one.model, HashModel)
        matchers.setdefault(backbone_digest(one.model), one)
    names, rows = sorted(path.stem for path in source.iterdir())[:FLOATS], []
    for matcher in matchers.values():
        model = matcher.model
        assert isinstance(model, HashModel)
        if tuple(model.size) != tuple(dataset.images.size):  # the ResNet of 64 pixels: photos of that size first
            continue
        others = frozen_features(model, dataset.images, split.database).double()  # (N, D)
        mean = others.mean(0)
        originals = features(matcher, [source / f"{name}.jpg" for name in names], None) - mean  # (n, D)
        for view in [None, *views]:
            asked = features(matcher, [copies / f"{name}.png" for name in names], view) - mean
            near = cosines(asked, torch.cat([others - mean, originals]))  # (n, N + n)
            own = near[np.arange(len(names)), len(others) + np.arange(len(names))]
            lost = ((near > own[:, None]).sum(1) >= TOP).astype(float)
            attack = {**(base.attack or {}), "view": view}
            found: dict[str, Any] = {"model": matcher.name, "method": "floats", "bits": None, "attack": attack}
            rows.append(
                replace(
                    base, **found, task="protected->original", metric="left top", at=TOP, value=float(lost.mean()),
                    ci95=bootstrap_interval(lost, seed=0), n=len(lost), notes=(f"matcher: {matcher.seen}",),
                )
            )  # fmt: skip
    return rows


def features(matcher: Matcher, files: list[Path], view: str | None) -> torch.Tensor:
    """What a network makes of picture files, `(n, D)`."""
    change = parse_view(view) if view else lambda image: image
    model, found = matcher.model, []
    assert isinstance(model, HashModel)
    for path in files:
        found.append(model.trunk_of(pixels_of(for_matcher(change(decode(path)), matcher)[None])))
    return torch.cat(found).double()


def cosines(asked: torch.Tensor, others: torch.Tensor) -> Floats:
    """Cosines of all with all, `(n, N)`."""
    unit = [torch.nn.functional.normalize(one) for one in (asked, others)]
    return (unit[0] @ unit[1].T).numpy()


def main() -> None:
    """Protect, verify, write rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--protector", default="photos")
    parser.add_argument("--eps", default=None)
    parser.add_argument("--strong", action="store_true")
    parser.add_argument("--refine", type=int, default=0, help="gradients a photo against the matchers")
    parser.add_argument("--matcher", action="append", default=[], help="to refine against; may be repeated")
    parser.add_argument("--view", action="append", default=[], help="after protection; may be repeated")
    parser.add_argument("--floats", action="store_true")
    parser.add_argument("--name", default="", help="what rows call this protection; default: the protector's name")
    parser.add_argument("--out", type=Path, default=RESULTS / "protect_panel.jsonl")
    ask = parser.parse_args()
    source, copies = ask.work / f"photos-{ask.photos}", ask.work / f"{ask.name or 'copies'}-{ask.photos}"
    write_photos(source, measured_photos(ask.photos))
    started = time.process_time()
    done = hg.protect(
        source,
        copies,
        protector=ask.protector,
        eps=ask.eps,
        strong=ask.strong,
        refine=ask.refine,
        matchers=ask.matcher,
        check=0,
    )
    print(*done.lines, sep="\n")
    print(f"{(time.process_time() - started) / max(1, done.facts['fresh']):.2f} core-seconds a photo")
    views = ask.view or ["jpeg:85"]
    proof = hg.verify(source, copies, views=views, cards=0, out=ask.work / "verify", name="coco18 photos")
    print(proof)
    rows = list(proof.rows)
    base = next(row for row in rows if row.attack and row.metric == "left top")
    rows += look_rows(source, copies, base)
    if ask.floats:
        rows += float_rows(source, copies, views, base)
    if ask.name:
        rows = [
            replace(r, attack={**(r.attack or {}), "protector": ask.name}) if (r.attack or {}).get("protector") else r
            for r in rows
        ]
    with updating(ask.out.parent):
        write_rows(ask.out, [*(read_rows(ask.out) if ask.out.exists() else []), *rows])


if __name__ == "__main__":
    main()
