"""The panel of hash models that ships, and what it is measured to find: src/hamguard/shipped/panel, results/panel.jsonl.

HAMGUARD_DATA=DATA uv run python tools/build_panel.py --work WORK

Heads are fitted on the training part of coco18 (5,000 photos), with features of each network that are kept in the cache; the first
time the seven networks take about an hour of one core, later a few minutes. The reference codes are those of its 6,500 data base
photos. Its 1,500 queries are seen by no head: on them stands how well each matcher searches. The same parts come out again where
versions are the same. A trained folder in WORK is not trained again.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

import hamguard as hg
from hamguard.codes.binary import pack, sign
from hamguard.core.digests import digest_array
from hamguard.core.files import write_bytes
from hamguard.core.rows import Row, write_rows
from hamguard.core.types import Bytes
from hamguard.images.named_views import parse_view
from hamguard.images.views import fit_to
from hamguard.models.hash_model import HashModel
from hamguard.models.panel import Figure, PanelEntry, half_head, write_panel
from hamguard.models.pretrained import place_of, weights_of
from hamguard.models.shipped import PANEL
from hamguard.models.store import load_folder, make_card
from hamguard.models.weight_files import COUNTER, read_safetensors
from hamguard.privacy.effect_card import left_top, plain_noise
from hamguard.retrieval.rank import rank_items
from hamguard.training.encode import encode

ROOT = Path(__file__).parent.parent
FOLDER, ROWS = ROOT / "src" / "hamguard" / "shipped" / "panel", ROOT / "results" / "panel.jsonl"
SOURCE, BITS, SEED = "coco18", 64, 0
VIEW, ASKED, TOP, PHOTO = "jpeg:85", 200, 10, 224
NOISE, LEVELS = "noise", 8
REFERENCE = "6,500 photos of MS-COCO 2017 (the data base part of coco18)"


@dataclass(frozen=True)
class Network:
    """A network of the panel: the quickest of a family first.

    Attributes:
        short: what its matchers are called.
        backbone: its name.
        heads: hash methods.
        size: pixels of a side.
        ships: whether its weights lie in the panel, in half precision and without classifier.
    """

    short: str
    backbone: str
    heads: tuple[str, ...]
    size: int = 224
    ships: bool = False


NETWORKS = (
    Network("squeezenet", "squeezenet1_0", ("itq", "lsh"), ships=True),
    Network("resnet56", "resnet56", ("itq", "lsh"), size=64, ships=True),
    Network("lite0", "efficientnet_lite0", ("itq", "lsh", "dpsh")),
    Network("lite1", "efficientnet_lite1", ("itq",)),
    Network("lite2", "efficientnet_lite2", ("itq", "lsh", "dpsh")),
    Network("mobilenet", "mobilenet_v2_tf", ("itq", "lsh", "dpsh")),
    Network("alexnet", "alexnet_st", ("itq", "lsh")),
)
LEARNED: dict[str, dict[str, Any]] = {"dpsh": {"freeze": True, "epochs": 20}}
"""Heads that learn on features of a network that stays as it is."""


def shipped_weights(one: Network) -> Path:
    """Write the weights of a network that ships, in half precision."""
    model = HashModel(one.backbone, BITS, size=(one.size, one.size))
    own = model.backbone.state_dict()
    found = read_safetensors(place_of(weights_of(one.backbone)))
    state = {name: found[name].half().contiguous() for name in own if not name.endswith(COUNTER)}
    write_bytes(FOLDER / f"{one.backbone}.safetensors", save(state))
    return FOLDER / f"{one.backbone}.safetensors"


def trained(one: Network, head: str, data: hg.Data, weights: str, work: Path) -> tuple[PanelEntry, HashModel]:
    """A hash model whose head is as the panel keeps it, with its entry but for its codes."""
    out = work / f"{one.short}-{head}"
    words: dict[str, Any] = {"normalization": "imagenet"} if one.ships else {}
    hg.train(
        data,
        head,
        out=out,
        bits=BITS,
        backbone=one.backbone,
        weights=weights,
        seed=SEED,
        **words,
        **LEARNED.get(head, {}),
    )
    model, card = load_folder(out)
    weight, bias = half_head(model.head.weight.detach(), model.head.bias.detach())
    with torch.no_grad():
        model.head.weight.copy_(weight.float())
        model.head.bias.copy_(bias)
    ours = card.model_copy(update={"weights_hash": model.digest, "history": ""})
    entry = PanelEntry(
        name=f"{one.short}-{head}",
        weights=f"{one.backbone}.safetensors" if one.ships else "",
        codes_hash="",
        card=ours.model_dump(mode="json"),
    )
    return entry, model.eval().requires_grad_(False).to(memory_format=torch.channels_last)


@torch.no_grad()
def features_of(model: HashModel, pictures: list[Bytes]) -> Tensor:
    """Features of pictures `(H, W, 3)`, `(n, D)`."""
    small = torch.from_numpy(np.stack([fit_to(one, model.size, "crop") for one in pictures]))
    return torch.cat([model.trunk_of(part.permute(0, 3, 1, 2).float() / 255) for part in torch.split(small, 32)])


def main() -> None:
    """Build, measure and write all of it."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--work", type=Path, required=True, help="folder for trained models")
    ask.add_argument("--only", nargs="*", help="short names of networks; others are left out")
    given = ask.parse_args()
    entries: list[PanelEntry] = []
    heads: dict[str, tuple[Tensor, Tensor]] = {}
    codes: dict[str, Bytes] = {}
    rows: list[Row] = []
    FOLDER.mkdir(parents=True, exist_ok=True)
    for one in NETWORKS:
        if given.only and one.short not in given.only:
            continue
        begun = time.monotonic()
        data = hg.data(SOURCE, size=one.size)
        photos = hg.data(SOURCE, size=PHOTO)
        asked = [np.ascontiguousarray(photos.dataset.images.array[row]) for row in photos.split.query[:ASKED]]
        weights = str(shipped_weights(one)) if one.ships else "pretrained"
        seen: Tensor | None = None
        for head in one.heads:
            entry, model = trained(one, head, data, weights, given.work)
            bank = encode(model, data.dataset, data.split, data.split.part("database"))
            entry = entry.model_copy(update={"codes_hash": digest_array(bank.packed)})
            if seen is None:
                own = features_of(model, asked)
                seen = features_of(model, [parse_view(VIEW)(one) for one in asked])
                noisy = features_of(
                    model, [plain_noise(one, LEVELS, seed=SEED, name=str(row)) for row, one in enumerate(asked)]
                )
            with torch.no_grad():
                originals, *copies = (pack(sign(model.tail(part))) for part in (own, seen, noisy))
            searched = np.concatenate([originals, bank.packed])
            name = PANEL + entry.name
            model.card, model.place = make_card(model, method=head, data=entry.card["data"]), name
            (precision,) = hg.evaluate(model, data, metrics=["map"])[:1]
            facts: dict[str, Any] = {
                "model": name,
                "method": head,
                "backbone": one.backbone,
                "bits": BITS,
                "seed": SEED,
            }
            rows.append(precision)
            figures = {"precision": precision}
            for kind, task, changed in zip(("copies", "noise"), (VIEW, NOISE), copies, strict=True):
                left = left_top(rank_items(changed, searched, np.arange(len(asked))), TOP, seed=SEED)
                found = Row(
                    dataset=SOURCE, task=f"{task} copy->original", metric="found", at=TOP, ties="expected", value=1 - left.value,
                    ci95=(1 - left.high, 1 - left.low), n=left.n, hashes={"model": model.digest}, **facts,
                    notes=(f"{left.n + len(bank.packed):,} photos are searched: those of the copies, and the reference codes",),
                )  # fmt: skip
                rows.append(found)
                figures[kind] = found
            entries.append(
                entry.model_copy(update={key: Figure(value=row.value, ci95=row.ci95) for key, row in figures.items()})
            )
            heads[entry.name] = half_head(model.head.weight, model.head.bias)
            codes[entry.name] = bank.packed
            told = ", ".join(f"{kind} {row.value:.3f}" for kind, row in figures.items())
            sys.stderr.write(f"{name}: {told}\n")
        sys.stderr.write(f"{one.backbone}: {time.monotonic() - begun:.0f} s\n")
    write_panel(FOLDER, entries, heads, codes, reference=REFERENCE)
    write_rows(ROWS, rows)


if __name__ == "__main__":
    main()
