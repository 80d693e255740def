"""A type checker accepts a guide beside a loss that can read it, and refuses one beside a loss that cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import hamguard

HEAD = """
from collections.abc import Sequence
from torch import Tensor
from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.pairs import CrossCodes
from hamguard.attacks.guides.relevant import RelevantSet
from hamguard.attacks.guides.vote import AnchorCode
from hamguard.attacks.losses.cmla import CmlaLoss
from hamguard.attacks.losses.hag import HagLoss
from hamguard.attacks.losses.inner import inner_product
from hamguard.attacks.losses.sdha import SdhaLoss
from hamguard.attacks.types import GuideMaker, Loss
from hamguard.codes.bank import CodeBank

class Mine:
    name = "mine"
    needs_labels = False
    def __call__(
        self, own: Tensor, labels: Tensor | None, bank: CodeBank | None, index: Sequence[int], seed: int
    ) -> Tensor:
        return -own

def mine(u: Tensor, target: Tensor, direction: int) -> Tensor:
    return inner_product(u, target, direction)

def factory(guide: GuideMaker, loss: Loss) -> Attack:
    return Attack(guide, loss)

plain = Attack()
fits = [Attack(RelevantSet(), SdhaLoss()), Attack(CrossCodes(), CmlaLoss()), Attack(Mine(), mine), Attack(loss=HagLoss())]
voted = [Attack(RelevantSet(), inner_product), Attack(CrossCodes(), HagLoss())]
"""
WRONG = (
    "a = Attack(AnchorCode(), SdhaLoss())",
    "b = Attack(RelevantSet(), CmlaLoss())",
    "c = Attack(Mine(), CmlaLoss())",
)


def test_a_type_checker_reads_which_losses_a_guide_goes_with(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(HEAD + "\n".join(WRONG) + "\n")
    root = Path(hamguard.__file__).parents[2]
    flags = [
        "--strict",
        "--no-pretty",
        f"--cache-dir={root / '.mypy_cache'}",
        "--config-file",
        str(root / "pyproject.toml"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *flags, str(file)],
        capture_output=True, text=True, timeout=280, env={**os.environ, "MYPYPATH": str(root / "src")},
    )  # fmt: skip
    errors = [line for line in done.stdout.splitlines() if " error: " in line]
    first = HEAD.count("\n") + 1
    assert [int(line.split(":")[1]) for line in errors] == [first, first + 1, first + 2], done.stdout
    assert all("[arg-type]" in line for line in errors)
