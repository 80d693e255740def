"""Write what middle layers of the strong ensemble see of photos: means and deviations of statistics, beside the panel.

    uv run python tools/build_stages.py [--photos 500]

Photos are the first of coco18's training part; needs HAMGUARD_DATA and the extra `networks`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import torch
from safetensors.torch import save
from torch import Tensor

from hamguard.core.files import write_bytes
from hamguard.data.sources import open_source
from hamguard.models.hash_model import HashModel
from hamguard.models.panel import panel_folder
from hamguard.models.shipped import PANEL
from hamguard.models.store import load_any
from hamguard.privacy.features import clean_features
from hamguard.privacy.strong import ENSEMBLE, FILE


def main() -> None:
    """Compute and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=500)
    count = parser.parse_args().photos
    dataset, split = open_source("coco18")
    rows = split.train[:count]

    def pictures(numbers: Sequence[int]) -> Tensor:
        found: Tensor = dataset.images.batch(rows[list(numbers)])
        return found

    parts: dict[str, Tensor] = {}
    for name in ENSEMBLE:
        model, _ = load_any(PANEL + name, torch.device("cpu"))
        assert isinstance(model, HashModel)
        clean = clean_features(model, pictures, len(rows))
        for number, (mean, deviation) in enumerate(zip(clean.scale.means, clean.scale.deviations, strict=True)):
            parts |= {f"{model.name}.{number}.mean": mean, f"{model.name}.{number}.deviation": deviation}
    write_bytes(panel_folder() / FILE, save(parts))
    sys.stdout.write(f"wrote {panel_folder() / FILE}: {len(parts)} parts\n")


if __name__ == "__main__":
    main()
