"""Whether what is scored is what a file holds."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from hamguard.core.types import Bytes
from hamguard.evaluation.attack.files import write_pictures
from hamguard.evaluation.audit.bench import Bench
from hamguard.evaluation.audit.checks.check import Case, Check, judged, register


@register("saved-file")
def saved_file(case: Case) -> Check:
    """Largest difference of an average precision between the worst pictures in memory and the same pictures as PNG files.

    Fails above 0: what is scored must be what a file holds.
    """
    bench, worst = case.bench, case.worst
    numbers = bench.sample()
    with TemporaryDirectory() as folder:
        back = write_pictures(Path(folder) / "worst", worst.pixels[numbers], bench.ground.query.ids[numbers])
    again = bench.ap(back, numbers)
    value = float(np.abs(again - worst.ap[numbers]).max())
    inside = _inside(bench, back, numbers.tolist())
    what = "average precisions" if bench.ground.labeled else "scores"
    said = f"saved as PNG and read back, {what} differ by {value:.2g}"
    if not inside:
        value = max(value, 1.0)
    return judged("saved-file", value, 0.0, said, "files do not hold what was scored, or leave the budget", masks=False)


def _inside(bench: Bench, pixels: Bytes, numbers: list[int]) -> bool:
    delta = pixels.astype(np.float64) / 255 - bench.clean_pixels[numbers] / 255.0
    flat = delta.reshape(len(delta), -1)
    order = np.inf if bench.threat.norm == "linf" else 2
    return bool((np.linalg.norm(flat, order, axis=1) <= bench.threat.eps + 1e-6).all())
