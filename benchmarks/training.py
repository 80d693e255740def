"""Loading and training speed: hamguard's in-memory batches against per-item transforms, and images a second of training.

    uv run python benchmarks/training.py [--json] [--out FILE.md]

Pictures are random bytes of the real sizes. One thread, CPU seconds of this process, best of three. The usual form of loading
is a torchvision dataset read item by item through `ToTensor` and `Normalize` and stacked by a `DataLoader` without workers;
normalization costs nothing extra in ours because it stands inside the model, and is part of both training figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from PIL import Image
from processor import processor
from torch.utils.data import DataLoader
from torchvision import transforms

from hamguard.data.dataset import ImageStore, multi_hot
from hamguard.hashing.registry import OBJECTIVES
from hamguard.models.hash_model import HashModel
from hamguard.training.hash_task import HashTask
from hamguard.training.loop import Batch, make_optimizer
from hamguard.training.recipe import Recipe

SETS = {"fashion-mnist": (28, 1, "conv2"), "cifar10": (32, 3, "resnet20"), "fashion-products": (64, 3, "conv8")}
BATCH = 128


class PerItem(torch.utils.data.Dataset):
    """The usual data set: one picture at a time, from array to PIL to tensor."""

    def __init__(self, array: np.ndarray) -> None:
        gray = array.ndim == 3
        self.array = array
        self.view = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize([0.5] * (1 if gray else 3), [0.25] * (1 if gray else 3))]
        )

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.view(Image.fromarray(self.array[i]))


def best(work: Callable[[], int], repeat: int = 3) -> float:
    """Pictures a CPU second, best of `repeat`."""
    rates = []
    for _ in range(repeat):
        begun = time.process_time()
        count = work()
        rates.append(count / (time.process_time() - begun))
    return max(rates)


def measure(name: str) -> dict[str, float | str]:
    """One row."""
    side, channels, backbone = SETS[name]
    rng = np.random.default_rng(0)
    array = rng.integers(0, 256, (4096, side, side) if channels == 1 else (4096, side, side, 3), dtype=np.uint8)
    store = ImageStore(array)

    def ours() -> int:
        order = rng.permutation(len(store))
        for _ in range(4):
            for i in range(0, len(order), BATCH):
                store.batch(order[i : i + BATCH])
        return 4 * len(order)

    def usual() -> int:
        return sum(len(x) for x in DataLoader(PerItem(array), BATCH, shuffle=True))

    kind = OBJECTIVES["csq"]
    labels = multi_hot(rng.integers(0, 10, len(array)), 10)
    model = HashModel(backbone, 32, channels=channels, size=(side, side), mean=[0.5], std=[0.25])
    objective = kind(kind.settings_type(), bits=32, labels=torch.from_numpy(labels).float(), seed=0)
    task = HashTask(model, objective, store, np.arange(len(array)))
    optimizer = make_optimizer(task.parameter_groups(), Recipe())
    generator = torch.Generator().manual_seed(0)

    def training() -> int:
        for i in range(6):
            index = torch.arange(i * BATCH, (i + 1) * BATCH)
            loss = task.step(Batch(index, slice(0, BATCH), 0.0, generator))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        return 6 * BATCH

    training()  # warm up
    loaded, by_item = best(ours), best(usual)
    return {
        "data": name, "backbone": backbone, "loading_images_per_core_s": round(loaded), "usual_images_per_core_s": round(by_item),
        "ratio": round(loaded / by_item, 1), "training_images_per_core_s": round(best(training)),
    }  # fmt: skip


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON row a line, nothing else")
    parser.add_argument("--out", type=Path, help="write the table as Markdown")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in SETS:
        rows.append(measure(name))
        if args.json:
            print(json.dumps(rows[-1]), flush=True)
    head = list(rows[0])
    table = "\n".join(
        [
            "| " + " | ".join(head) + " |",
            "|" + "---|" * len(head),
            *("| " + " | ".join(str(r[k]) for k in head) + " |" for r in rows),
        ]
    )
    if args.out:
        args.out.write_text(
            f"# Loading and training\n\nMeasured on {processor()}.\n\n" + table + "\n", encoding="utf-8"
        )
    if not args.json:
        print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
