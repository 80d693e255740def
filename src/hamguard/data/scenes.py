"""`scenes`: pictures drawn from a seed, 1 to 4 colored shapes on textured ground, with labels and a tag sentence.

A label is a color with a shape ("red circle"), 16 of them; two random pictures share one with probability of about
0.3, as in the real multi-label sets. Picture i is a function of the seed and of i alone. The set is synthetic and
says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hamguard.core.checks import check_range
from hamguard.core.seeds import numpy_generator
from hamguard.core.types import Bytes, Ints
from hamguard.data.cache import Progress
from hamguard.data.dataset import Dataset, ImageStore
from hamguard.data.registry import source

COUNT = 4000
SIZE = 32
SHAPES = ("circle", "square", "triangle", "cross")
COLORS = ("red", "green", "blue", "yellow")
GROUNDS = ("plain", "striped", "checked", "shaded")
NUMBER_ODDS = (0.25, 0.35, 0.25, 0.15)  # of 1, 2, 3, 4 shapes
_RGB = np.array([(0.85, 0.15, 0.15), (0.15, 0.7, 0.2), (0.15, 0.25, 0.85), (0.9, 0.8, 0.1)], np.float32)
_BLOCK = 512

Grid = npt.NDArray[np.float32]


class _Plan(NamedTuple):
    """What stands in n pictures; the four slots of a picture are the cells of a 2 x 2 grid."""

    present: npt.NDArray[np.bool_]  # (n, 4)
    shape: Ints  # (n, 4)
    color: Ints  # (n, 4)
    center: Grid  # (n, 4, 2), row and column in units of the side
    radius: Grid  # (n, 4), in units of the side
    tint: Grid  # (n, 4, 3), small change of the color
    ground: Ints  # (n,)
    base: Grid  # (n, 3)
    wave: Grid  # (n, 3), frequency, angle, phase


def _plan(seed: int, indices: range) -> _Plan:
    rows: list[tuple[Any, ...]] = []
    for i in indices:
        rng = numpy_generator(seed, "scene", i)
        cells = rng.permutation(4)
        number = 1 + int(rng.choice(4, p=NUMBER_ODDS))
        present = np.isin(np.arange(4), cells[:number])
        middle = np.array([(0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)])
        base = 0.5 + rng.uniform(-0.15, 0.15) + rng.uniform(-0.04, 0.04, 3)  # muted: no shape has such a color
        rows.append(
            (
                present,
                rng.integers(0, 4, 4),
                rng.integers(0, 4, 4),
                middle + rng.uniform(-0.05, 0.05, (4, 2)),
                rng.uniform(0.14, 0.2, 4),
                rng.uniform(-0.08, 0.08, (4, 3)),
                rng.integers(0, 4),
                base,
                (rng.uniform(3, 8), rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)),
            )
        )
    present, shape, color, center, radius, tint, ground, base, wave = (np.array(c) for c in zip(*rows, strict=True))
    return _Plan(
        present.astype(np.bool_),
        shape.astype(np.int64),
        color.astype(np.int64),
        center.astype(np.float32),
        radius.astype(np.float32),
        tint.astype(np.float32),
        ground.astype(np.int64),
        base.astype(np.float32),
        wave.astype(np.float32),
    )


def _distances(dy: Grid, dx: Grid, r: Grid) -> Grid:
    """Distance to the outline of each shape, negative inside, `(4, n, S, S)`; `r` is `(n, 1, 1)`."""
    bar = np.float32(0.32) * r
    circle = np.sqrt(dy**2 + dx**2) - r
    square = np.maximum(np.abs(dy), np.abs(dx)) - np.float32(0.85) * r
    slope = (2 * np.abs(dx) - dy - np.float32(0.95) * r) / np.float32(5**0.5)  # sides of slope 2, base below
    triangle = np.maximum(dy - np.float32(0.85) * r, slope)
    upright = np.maximum(np.abs(dx) - bar, np.abs(dy) - r)
    lying = np.maximum(np.abs(dy) - bar, np.abs(dx) - r)
    return np.stack([circle, square, triangle, np.minimum(upright, lying)]).astype(np.float32, copy=False)


def _ground(plan: _Plan, y: Grid, x: Grid) -> Grid:
    """Texture around the base color, `(n, S, S, 3)`."""
    freq, angle, phase = (plan.wave[:, k, None, None] for k in range(3))
    along = y * np.sin(angle) + x * np.cos(angle)  # (n, S, S)
    across = x * np.sin(angle) - y * np.cos(angle)
    turn = 2 * np.float32(np.pi) * freq
    stripes = np.sign(np.sin(turn * along + phase))
    checks = stripes * np.sign(np.sin(turn * across))
    kinds = np.stack([np.zeros_like(along), stripes, checks, 2 * along - 1])  # (4, n, S, S)
    texture = kinds[plan.ground, np.arange(len(plan.ground))]  # (n, S, S)
    ground = plan.base[:, None, None] + np.float32(0.08) * texture[..., None]
    return ground.astype(np.float32, copy=False)


def _draw(plan: _Plan, noise: Grid, size: int) -> Bytes:
    """Draw n pictures, `(n, size, size, 3)` uint8."""
    line = ((np.arange(size) + 0.5) / size).astype(np.float32)
    y, x = line[None, :, None], line[None, None, :]
    canvas = _ground(plan, y, x)  # (n, S, S, 3)
    for slot in range(4):
        dy, dx = y - plan.center[:, slot, 0, None, None], x - plan.center[:, slot, 1, None, None]
        radius = plan.radius[:, slot, None, None]
        far = _distances(dy, dx, radius)  # (4, n, S, S)
        chosen = far[plan.shape[:, slot], np.arange(far.shape[1])]  # (n, S, S)
        inside = np.clip(0.5 - chosen * size, 0, 1)  # soft edge of one pixel
        cover = (inside * plan.present[:, slot, None, None]).astype(np.float32, copy=False)  # (n, S, S)
        paint = _RGB[plan.color[:, slot]] + plan.tint[:, slot]  # (n, 3)
        canvas = canvas + cover[..., None] * (paint[:, None, None] - canvas)
    grainy = canvas + np.float32(0.03) * noise
    return np.round(grainy.clip(0, 1) * 255).astype(np.uint8)


def _sentence(plan: _Plan, row: int) -> str:
    """Tags in reading order of the picture, as a person would list them."""
    tags = [
        f"a {COLORS[plan.color[row, slot]]} {SHAPES[plan.shape[row, slot]]}"
        for slot in range(4)
        if plan.present[row, slot]
    ]
    listed = tags[0] if len(tags) == 1 else f"{', '.join(tags[:-1])} and {tags[-1]}"
    return f"{listed} on {GROUNDS[plan.ground[row]]} ground"


def draw_scenes(n: int = COUNT, *, seed: int = 0, size: int = SIZE) -> Dataset:
    """Draw a set of scenes.

    Args:
        n: how many pictures.
        seed: picture i is a function of `seed` and i alone.
        size: height and width, at least 16.

    Raises:
        RequestError: `n` below 1, or `size` below 16.
    """
    check_range("number of scenes", n, 1)
    check_range("size", size, 16)
    images = np.empty((n, size, size, 3), np.uint8)
    labels = np.zeros((n, len(COLORS) * len(SHAPES)), np.uint8)
    texts: list[str] = []
    for start in range(0, n, _BLOCK):
        rows = range(start, min(n, start + _BLOCK))
        plan = _plan(seed, rows)
        noise = np.stack(
            [numpy_generator(seed, "grain", i).standard_normal((size, size, 1), dtype=np.float32) for i in rows]
        )
        images[rows.start : rows.stop] = _draw(plan, noise, size)
        picture, slot = np.nonzero(plan.present)
        labels[start + picture, plan.color[picture, slot] * len(SHAPES) + plan.shape[picture, slot]] = 1
        texts += [_sentence(plan, row) for row in range(len(rows))]
    return Dataset(
        name="scenes",
        images=ImageStore(images),
        labels=labels,
        class_names=tuple(f"{color} {shape}" for color in COLORS for shape in SHAPES),
        ids=np.array([f"scene/{seed}/{i}" for i in range(n)]),
        texts=tuple(texts),
        notes=("synthetic: drawn from a seed, not photographed",),
        synthetic=True,
    )


@source("scenes", "4,000 synthetic pictures of colored shapes, 16 labels, a sentence each; drawn from a seed")
def read_scenes(folder: Path = Path(), *, size: int | None = None, progress: Progress | None = None) -> Dataset:
    """Draw the standard set: 4,000 pictures of seed 0, 32 pixels by default."""
    del folder, progress
    return draw_scenes(COUNT, seed=0, size=SIZE if size is None else size)
