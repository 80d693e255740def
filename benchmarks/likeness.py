"""SSIM and its gradient beside torchmetrics', which is what `protect --strong` and method `features` ask for at every step.

OMP_NUM_THREADS=1 uv run python benchmarks/likeness.py --out results/likeness.md
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from floor import least_seconds
from processor import processor
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from hamguard.core.files import write_text
from hamguard.core.seeds import torch_generator
from hamguard.images.likeness import similarity

RESULTS = Path(__file__).parent.parent / "results"
SHAPES = ((1, 3, 256, 256), (12, 3, 224, 224), (1, 3, 1024, 1024))
TURNS = 7


def printed(x: Tensor, other: Tensor) -> Tensor:
    """What torchmetrics says of each picture."""
    found = structural_similarity_index_measure(x, other, data_range=1.0, sigma=1.5, reduction="none")
    assert isinstance(found, Tensor)
    return found.reshape(len(x))


MEASURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"printed": printed, "own": similarity}


def gradient(measure: Callable[[Tensor, Tensor], Tensor], x: Tensor, other: Tensor) -> Tensor:
    """Of the sum of the pictures' values to `x`."""
    at = x.detach().requires_grad_()
    (found,) = torch.autograd.grad(measure(at, other).sum(), at)
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS / "likeness.md")
    ask = parser.parse_args()
    torch.set_num_threads(1)
    lines = ["| pictures | torchmetrics, ms | hamguard, ms | ratio | gradients differ by, of the largest |"]
    lines.append("|---|---|---|---|---|")
    for shape in SHAPES:
        draw = torch_generator(0, "likeness")
        other = torch.rand(shape, generator=draw)
        x = (other + 0.05 * torch.randn(shape, generator=draw)).clamp(0, 1)
        works = {name: partial(gradient, one, x, other) for name, one in MEASURES.items()}
        spent = least_seconds(works, TURNS)
        theirs, ours = gradient(printed, x, other), gradient(similarity, x, other)
        apart = float((theirs - ours).abs().max() / theirs.abs().max())
        size = f"{shape[0]} of {shape[3]} x {shape[2]}"
        lines.append(
            f"| {size} | {1e3 * spent['printed']:.1f} | {1e3 * spent['own']:.1f} | "
            f"{spent['printed'] / spent['own']:.1f} | {apart:.0e} |"
        )
    told = f"SSIM and its gradient to the pixels, color, least of {TURNS} turns, one thread, core-milliseconds. {processor()}.\n\n"
    write_text(ask.out, told + "\n".join(lines) + "\n")
    print(told + "\n".join(lines))


if __name__ == "__main__":
    main()
