"""Cost of an attack step against the field's loop and, where they are installed, foolbox's and torchattacks' PGD.

    uv run python benchmarks/attacks.py [MODEL ...] [--json] [--out FILE.md]
    uv run --with foolbox python benchmarks/attacks.py --json

One thread, CPU seconds of this process; every side runs in turn, and the best of several turns counts. `rate` is
image-iterations per core-second. `ratio` is our rate over the other's, so more than 1 is faster. The field's loop keeps the
weights trainable and calls `loss.backward()`, which computes every weight's gradient and never reads it; it runs on the network
as torch lays it out, and `same_layout` is the ratio with the field's loop in our memory layout. Ours takes gradients from the
copy with folded batch norms, as `hamguard attack` does; `not_folded` is our rate without it, and `gradient` the rate of nothing but
the gradient on the folded copy. foolbox and torchattacks get the network in our layout, with frozen weights, as a classifier of
K classes. `floor_share` is the part of our time that the same FLOPs (counted by torch) would take at the speed of a large
matrix product on this core, and `core_seconds` what one gradient of one picture costs. Without MODEL, untrained networks of the
papers' sizes are used, and EfficientNet-Lite0 on photos of 224 pixels: the cost does not depend on the weights. Early stop is off:
every picture takes every step.
"""
# ruff: noqa: E402

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before torch is loaded: one core for all sides

import argparse
import copy
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from floor import flop_rate, gradient_flops, least_seconds
from processor import processor
from torch import Tensor, nn

from hamguard.attacks.attack import Attack
from hamguard.attacks.losses.inner import inner_product
from hamguard.attacks.search.signs import SignSteps
from hamguard.attacks.threat import Linf
from hamguard.core.seeds import torch_generator
from hamguard.models.folding import folded
from hamguard.models.hash_model import HashModel
from hamguard.models.store import load_any

STEPS, EPS, STEP = 50, 8 / 255, 1 / 255
PHOTO_STEPS, PHOTO_SIDE = 3, 96  # fewer for large pictures, where a step is long enough to be timed
PAPERS = (
    ("conv2", 1, 28, 16, 32), ("resnet20", 3, 32, 32, 8), ("resnet20", 3, 32, 32, 32), ("efficientnet_lite0", 3, 224, 32, 16),
)  # fmt: skip
"""Backbone, channels, side, bits, batch: PPL's two-convolution net, the ResNet-20 of CIFAR-10, and the default for photos."""


def field_loop(model: Any, x: Tensor, code: Tensor, steps: int) -> None:
    """Sign steps as the published scripts write them."""
    delta = torch.zeros_like(x).uniform_(-EPS, EPS)
    delta.requires_grad_()
    for _ in range(steps):
        out = torch.tanh(model.logits(x + delta))
        loss = (out * code).mean()
        loss.backward()
        delta.data = delta - STEP * delta.grad.sign()
        delta.data = delta.data.clamp(-EPS, EPS)
        delta.data = (x + delta.data).clamp(0, 1) - x
        delta.grad.zero_()


class Classifier(nn.Module):
    """The logits as class scores, for libraries that attack classifiers."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of pixels."""
        return self.model.logits(x)


def libraries(model: Any, x: Tensor, steps: int) -> dict[str, Callable[[], object]]:
    """PGD of the libraries that are installed."""
    found: dict[str, Callable[[], object]] = {}
    net = Classifier(model).eval()
    labels = model.logits(x).argmax(1)
    if importlib.util.find_spec("foolbox"):
        import foolbox

        wrapped = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
        pgd = foolbox.attacks.LinfPGD(abs_stepsize=STEP, steps=steps, random_start=True)
        found["foolbox"] = lambda: pgd.run(wrapped, x, foolbox.criteria.Misclassification(labels), epsilon=EPS)
    if importlib.util.find_spec("torchattacks"):
        import torchattacks

        other = torchattacks.PGD(net, eps=EPS, alpha=STEP, steps=steps, random_start=True)
        found["torchattacks"] = lambda: other(x, labels)
    return found


def measure(name: str, model: Any, batch: int, turns: int, peak: float) -> list[dict[str, object]]:
    """Rows of one network at one batch size."""
    channels, (height, width) = model.channels, model.size
    steps = STEPS if height < PHOTO_SIDE else PHOTO_STEPS
    x = torch.rand(batch, channels, height, width, generator=torch_generator(0, "benchmark"))
    code = model.code(x)
    attack = Attack(
        loss=inner_product, search=SignSteps(steps, STEP, random_start=True, early_stop=False), threat=Linf(EPS)
    )  # type: ignore[arg-type]

    def gradient() -> None:
        for _ in range(steps):
            at = x.clone().requires_grad_()
            torch.autograd.grad((torch.tanh(quick.logits(at)) * code).sum(), at)

    def field(net: Any) -> None:
        net.requires_grad_(True)
        field_loop(net, x, code, steps)
        net.requires_grad_(False)
        net.zero_grad(set_to_none=True)

    model.requires_grad_(False)
    plain = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    quick = folded(model)
    works: dict[str, Callable[[], object]] = {
        "hamguard": lambda: attack(quick, x),
        "field": lambda: field(plain),
        "same layout": lambda: field(model),
        "not folded": lambda: attack(model, x),
        "gradient": gradient,
    }
    others = libraries(model, x, steps)
    took = least_seconds(works | others, turns)
    floor = gradient_flops(model) * batch * steps / peak
    ours = took["hamguard"]
    return [
        {
            "model": name, "batch": batch, "against": other, "ratio": round(took[other] / ours, 3),
            "same_layout": round(took["same layout"] / ours, 3) if other == "field" else None,
            "rate": round(batch * steps / ours, 1), "other_rate": round(batch * steps / took[other], 1),
            "not_folded": round(batch * steps / took["not folded"], 1), "gradient": round(batch * steps / took["gradient"], 1),
            "core_seconds": f"{ours / batch / steps:.2g}", "floor_share": round(floor / ours, 3), "steps": steps,
        }
        for other in ("field", *others)
    ]  # fmt: skip


def table(rows: list[dict[str, object]]) -> str:
    """Rows as a Markdown table."""
    keys = list(rows[0])
    lines = [" | ".join(keys), " | ".join("---" for _ in keys)]
    lines += [" | ".join(str(row[key]) for key in keys) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of an attack step.")
    parser.add_argument(
        "models", nargs="*", help="model folders; untrained networks of the papers' sizes where none is given"
    )
    parser.add_argument("--model", action="append", default=[], help="the same; may be repeated")
    parser.add_argument("--batch", type=int, help="pictures at once; 32 for models, the papers' own otherwise")
    parser.add_argument("--turns", type=int, default=5, help="how often each side runs")
    parser.add_argument("--json", action="store_true", help="one JSON row a line, nothing else")
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    peak = flop_rate()
    rows = []
    if options.models + options.model:
        for folder in options.models + options.model:
            model, _ = load_any(folder)
            rows += measure(folder, model, options.batch or 32, options.turns, peak)
    else:
        for name, channels, side, bits, batch in PAPERS:
            net = HashModel(name, bits, channels=channels, size=(side, side), generator=torch_generator(0))
            net.eval().to(memory_format=torch.channels_last)
            rows += measure(name, net, options.batch or batch, options.turns, peak)
    if options.json:
        for row in rows:
            print(json.dumps(row))
    else:
        print(table(rows))
    if options.out:
        options.out.write_text(
            f"# Attack steps\n\n{(__doc__ or '').strip()}\n\nMeasured on {processor()}.\n\n{table(rows)}\n",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
