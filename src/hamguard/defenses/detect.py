"""A detector of attacked queries: five figures of a query picture, ranked among those of clean validation pictures.

Source: Y. Xiao, C. Wang, X. Gao, "Unsupervised Multi-criteria Adversarial Detection in Deep Image Retrieval", SecureComm 2023
(DOI 10.1007/978-3-031-64948-6_8, arXiv 2304.04228), of which only the abstract was at hand: Hamming distance
to the nearest database codes, quantization loss, change of the code after denoising.

Ours, because the abstract does not say: the mean over the eighth of the bits nearest to flipping beside the mean over all, the
disagreement of the neighbors' labels, the 3x3 blur as denoiser, the change in relaxed codes, the ranks and their largest as
score, and the threshold. Neighbors are codes of the training part, not of the database, because validation pictures belong to
the database: a picture must not be its own neighbor.

No criterion looks at a label of the query. The score is the largest rank, so the alarm rings exactly where some criterion is
above its own bound (`Detector.bounds`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import relax, sign
from hamguard.core.checks import check_range
from hamguard.core.digests import digest_array
from hamguard.core.errors import RequestError, RunError, StaleError
from hamguard.core.files import read_sealed, write_sealed
from hamguard.core.types import Array, Bytes, Floats, Ints
from hamguard.data.dataset import ImageStore
from hamguard.models.store import AnyModel

CRITERIA = ("quantization", "margin", "distance", "disagreement", "change")
"""In the order of all arrays; `disagreement` is left out where the training part has no labels."""

NEAR = 8  # one bit of so many is near to flipping


def denoise(x: Tensor) -> Tensor:
    """3x3 binomial blur of each channel, weights (1, 2, 1) / 4 both ways, the border repeated; `(B, C, H, W)` to the same."""
    C = x.shape[1]
    line = x.new_tensor((0.25, 0.5, 0.25))
    kernel = (line[:, None] * line).expand(C, 1, 3, 3)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, groups=C)


def softness(u: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of `1 - |u|` over all bits, and over the eighth of them nearest to flipping, `(B, K)` to `(B,)` twice."""
    soft = 1 - u.abs()  # (B, K)
    return soft.mean(1), soft.topk(max(1, u.shape[1] // NEAR), dim=1).values.mean(1)


def neighbor_distance(u: Tensor, codes: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Distances in bits to reference codes.

    Args:
        u: signed or relaxed codes, `(B, K)`.
        codes: reference codes, `(N, K)` in {-1, +1}.
        k: how many are near, 1 to N.

    Returns:
        All distances `(B, N)`, and the mean of the k smallest `(B,)`.
    """
    dist = (u.shape[1] - u @ codes.T) / 2  # (B, N)
    return dist, dist.topk(k, dim=1, largest=False).values.mean(1)


def disagreement(dist: Tensor, marks: Tensor, k: int) -> Tensor:
    """How little the labels of the nearest codes agree: 1 - mean cosine of two neighbors' label vectors.

    Neighbors are the k nearest codes and all that are as near as the k-th, so that the order of the codes does not matter. Where
    each code has one label, the cosine is 1 for the same and 0 for another one.

    Args:
        dist: distances `(B, N)`.
        marks: label vectors of length 1, or 0 where there is no label, `(N, C)`.
        k: how many are near, at least 2.

    Returns:
        `(B,)` in [0, 1].
    """
    near = (dist <= dist.topk(k, dim=1, largest=False).values[:, -1:]).to(marks)  # (B, N)
    count = near.sum(1)
    pairs = (near @ marks).square().sum(1) - near @ marks.square().sum(1)  # (B,), each pair twice
    return 1 - pairs / (count * (count - 1))


def label_marks(labels: Array) -> Tensor:
    """Label vectors brought to length 1, `(N, C)` float32; an empty one stays 0."""
    marks = torch.from_numpy(np.asarray(labels)).float()
    lengths: Tensor = torch.linalg.vector_norm(marks, dim=1, keepdim=True)
    return marks / lengths.clamp(min=1)


def ranks(values: Floats, clean: Floats) -> Floats:
    """Share of clean values below each value.

    Args:
        values: `(B, M)`.
        clean: sorted clean values of each criterion, `(M, n)`.

    Returns:
        `(B, M)` in [0, 1]; a value that ties with clean ones is above none of them.
    """
    columns = [np.searchsorted(row, values[:, m], side="left") for m, row in enumerate(clean)]
    found: Floats = np.stack(columns, axis=1) / clean.shape[1]
    return found


def check_rate(rate: float) -> None:
    """Check a share of false alarms.

    Raises:
        RequestError: it is not between 0 and 1.
    """
    if not 0 < rate < 1:
        hint = f"; did you mean {rate / 100:g}?" if 1 <= rate < 100 else ""
        raise RequestError(f"rate of false alarms must be between 0 and 1, both excluded, got {rate:g}{hint}")


def threshold_of(scores: Floats, rate: float) -> float:
    """The least score that at most `rate` of the scores exceed, counted as if one more picture were to come.

    Where the scores are ranks among the same n pictures, fresh pictures exceed it a little more often: a fresh value can lie above
    all n, one of them above n - 1 only. On average that adds at most 1 / n for each criterion.

    Args:
        scores: of n clean pictures, `(n,)`.
        rate: share of false alarms, in (0, 1).

    Raises:
        RequestError: the rate is outside, or n is too small for it.
    """
    check_rate(rate)
    place, n = math.ceil((1 - rate) * (len(scores) + 1) - 1e-9), len(scores)
    if place > n:
        least = math.ceil((1 - rate) / rate - 1e-9)
        raise RequestError(
            f"a rate of {rate:g} needs at least {least:,} validation pictures, got {n:,}; ask for a larger rate, or take data or a "
            "`protocol` whose split holds more of them out"
        )
    return float(np.sort(scores)[place - 1])


@dataclass(frozen=True, eq=False)
class Detector:
    """A calibrated detector.

    Attributes:
        bank: codes of training pictures, the neighbors.
        k: how many neighbors are looked at.
        rate: share of false alarms that was asked for.
        clean: sorted values of the validation pictures for each criterion, `(M, n)`.
        threshold: a score above it is an alarm.
        level: median size of the model's outputs on validation pictures.
        seed: seed of the run that made it; nothing in it is drawn.
    """

    bank: CodeBank = field(repr=False)
    k: int
    rate: float
    clean: Floats = field(repr=False)
    threshold: float
    level: float
    seed: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its criteria, M of them."""
        return criteria_of(self.bank)

    @cached_property
    def bounds(self) -> Floats:
        """Largest value of each criterion that raises no alarm, `(M,)`."""
        n = self.clean.shape[1]
        found: Floats = self.clean[:, min(round(self.threshold * n), n - 1)]
        return found

    @property
    def digest(self) -> str:
        """Content hash of all that decides its answers."""
        return digest_array(self.clean, np.array([self.threshold, self.k]), self.bank.packed, self.bank.labels)

    @cached_property
    def neighbors(self) -> Neighbors:
        """The bank as tensors."""
        return Neighbors.of(self.bank, self.k)

    def scores(self, values: Floats) -> Floats:
        """Largest rank of each picture, `(B, M)` to `(B,)` in [0, 1]."""
        found: Floats = ranks(values, self.clean).max(1)
        return found

    def alarms(self, values: Floats) -> Array:
        """Whether the alarm rings, `(B, M)` to `(B,)` bool."""
        found: Array = self.scores(values) > self.threshold
        return found

    def measure(
        self, model: AnyModel, pixels: Bytes, *, batch_size: int = 256, device: torch.device | str = "cpu"
    ) -> Floats:
        """Criteria of pictures.

        Args:
            model: the model that the detector was made for.
            pixels: `(B, H, W)` or `(B, H, W, 3)` uint8.
            batch_size: pictures at once.
            device: where to compute.

        Returns:
            `(B, M)`.

        Raises:
            StaleError: another model.
            RunError: the model returns NaN.
        """
        if model.digest != self.bank.model_hash:
            raise StaleError(
                f"the detector was made for model {self.bank.model_hash}, got model {model.digest}; calibrate again"
            )
        images = ImageStore(pixels)
        return measure_criteria(model, images, np.arange(len(images)), self.neighbors, batch_size, device)[0]

    def save(self, path: Path | str) -> None:
        """Write as `detector.json`; the codes of the neighbors are named by their hash.

        Raises:
            RunError: the file cannot be written.
        """
        facts: dict[str, Any] = {
            "format": 2,
            "model": self.bank.model_hash,
            "neighbors_hash": self.bank.digest,
            "neighbors": self.k,
            "rate": self.rate,
            "threshold": self.threshold,
            "level": self.level,
            "seed": self.seed,
            "criteria": {name: row.tolist() for name, row in zip(self.names, self.clean, strict=True)},
            "bounds": dict(zip(self.names, self.bounds.tolist(), strict=True)),
        }
        write_sealed(path, facts)

    @classmethod
    def load(cls, path: Path | str, bank: CodeBank) -> Detector:
        """Read a detector.

        Args:
            path: file that `save` wrote.
            bank: codes of the training part by the model at hand.

        Raises:
            RequestError: the file is missing or damaged.
            StaleError: it was made for another model, or with other neighbors.
        """
        facts = read_sealed(path, "detector")
        try:
            made_for, made_with = str(facts["model"]), str(facts["neighbors_hash"])
            names, rows = tuple(facts["criteria"]), list(facts["criteria"].values())
            clean = np.array(rows, dtype=np.float64)
            made = cls(
                bank,
                int(facts["neighbors"]),
                float(facts["rate"]),
                clean,
                float(facts["threshold"]),
                float(facts["level"]),
                int(facts["seed"]),
            )
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise RequestError(f"{path} is damaged, it is no detector: {error}") from error
        if made_for != bank.model_hash:
            raise StaleError(f"{path} belongs to model {made_for}, the model is now {bank.model_hash}; calibrate again")
        if made_with != bank.digest:
            raise StaleError(f"{path} was made with other training codes ({made_with}, now {bank.digest})")
        sound = names == made.names and clean.ndim == 2 and clean.shape[1] > 0 and bool(np.isfinite(clean).all())
        if not (
            sound and (np.diff(clean, axis=1) >= 0).all() and 0 <= made.threshold <= 1 and 2 <= made.k <= len(bank)
        ):
            raise RequestError(f"{path} is damaged: its values are not those of a detector")
        return made


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Reference codes as tensors.

    Attributes:
        codes: `(N, K)` in {-1, +1}.
        marks: label vectors of length 1, `(N, C)`; None where nothing is labeled.
        k: how many are near.
    """

    codes: Tensor
    marks: Tensor | None
    k: int

    @classmethod
    def of(cls, bank: CodeBank, k: int) -> Neighbors:
        """The codes of a bank."""
        return cls(bank.codes, label_marks(bank.labels) if bank.labels.any() else None, k)

    def to(self, like: Tensor) -> Neighbors:
        """The same on the device of a tensor."""
        if self.codes.device == like.device:
            return self
        return Neighbors(self.codes.to(like.device), None if self.marks is None else self.marks.to(like.device), self.k)

    def criteria(self, z: Tensor, z_denoised: Tensor) -> Tensor:
        """The criteria of pictures from their outputs and those of their denoised copies, `(B, K)` twice to `(B, M)`."""
        here = self.to(z)
        u, u_denoised = relax(z), relax(z_denoised)
        dist, distance = neighbor_distance(sign(z), here.codes, self.k)
        found = [*softness(u), distance]
        if here.marks is not None:
            found.append(disagreement(dist, here.marks, self.k))
        return torch.stack([*found, (u - u_denoised).abs().mean(1) / 2], dim=1)


def criteria_of(bank: CodeBank) -> tuple[str, ...]:
    """Names of the criteria that a bank allows."""
    return tuple(name for name in CRITERIA if name != "disagreement" or bank.labels.any())


@torch.no_grad()
def measure_criteria(
    model: AnyModel,
    images: ImageStore,
    index: Ints,
    neighbors: Neighbors,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> tuple[Floats, Floats]:
    """Criteria `(n, M)` of some pictures of a store, and the median size of each one's outputs `(n,)`.

    Raises:
        RunError: the model returns NaN or infinite numbers.
    """
    parts, sizes = [], []
    for start in range(0, len(index), batch_size):
        x = images.batch(index[start : start + batch_size]).to(device)  # (b, C, H, W)
        z, z_denoised = model.logits(x), model.logits(denoise(x))  # (b, K)
        if not bool((z.isfinite() & z_denoised.isfinite()).all()):
            raise RunError("the model returns NaN or infinite numbers; its weights or its input are broken")
        parts.append(neighbors.criteria(z, z_denoised).double().cpu())
        sizes.append(z.abs().median(1).values.double().cpu())
    return torch.cat(parts).numpy(), torch.cat(sizes).numpy()


def calibrate(
    model: AnyModel,
    images: ImageStore,
    validation: Ints,
    bank: CodeBank,
    *,
    rate: float = 0.05,
    k: int = 10,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> Detector:
    """Calibrate a detector on clean validation pictures.

    Args:
        model: the model.
        images: the pictures.
        validation: rows of validation pictures, `(n,)`; none of them may be in the bank.
        bank: codes of training pictures by this model.
        rate: share of false alarms, in (0, 1).
        k: how many neighbors are looked at, 2 to N.
        seed: kept in the result.
        batch_size: pictures at once.
        device: where to compute.

    Raises:
        RequestError: a rate or k out of range, or no or too few validation pictures.
        StaleError: the bank is another model's.
        RunError: the model returns NaN.
    """
    if len(validation) == 0:
        raise RequestError(
            "the split has no validation pictures to calibrate on; take data whose split holds some out, or a `protocol` that does"
        )
    threshold_of(np.zeros(len(validation)), rate)  # a wrong rate costs no work
    check_range("number of neighbors", k, 2, len(bank))
    if model.digest != bank.model_hash:
        raise StaleError(
            f"the training codes are of model {bank.model_hash}, the model is {model.digest}; encode again"
        )
    values, sizes = measure_criteria(model, images, validation, Neighbors.of(bank, k), batch_size, device)
    clean = np.ascontiguousarray(np.sort(values, axis=0).T)  # (M, n)
    threshold = threshold_of(ranks(values, clean).max(1), rate)
    return Detector(bank, k, rate, clean, threshold, float(np.median(sizes)), seed)
