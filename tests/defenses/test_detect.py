"""The detector: criteria against literal loops, ranks and threshold, and its file."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import hamming, pack
from hamguard.core.errors import RequestError, RunError, StaleError
from hamguard.core.files import read_sealed, write_sealed
from hamguard.data.dataset import ImageStore
from hamguard.defenses.detect import (
    CRITERIA,
    Detector,
    Neighbors,
    calibrate,
    check_rate,
    denoise,
    label_marks,
    measure_criteria,
    ranks,
    threshold_of,
)
from hamguard.models.hash_model import HashModel
from hamguard.models.store import load_folder
from hamguard.training.encode import encode
from tests.defenses.conftest import Place, make_model

K, N, Q, NEAREST = 12, 40, 9, 4


def draw(seed: int = 0, classes: int = 5) -> tuple[torch.Tensor, torch.Tensor, CodeBank]:
    """Outputs of pictures and of their denoised copies, and a bank with ties, two labels on some and none on others."""
    rng = np.random.default_rng(seed)
    z = torch.from_numpy(rng.normal(0, 1.5, (Q, K))).float()
    codes = np.sign(rng.normal(size=(8, K)))[rng.integers(0, 8, N)]  # few distinct codes: many ties
    labels = (rng.random((N, classes)) < 0.3).astype(np.uint8)
    return z, z + 0.4 * torch.from_numpy(rng.normal(size=(Q, K))).float(), CodeBank.of(codes, labels)


def literal(z: np.ndarray, z_denoised: np.ndarray, bank: CodeBank, k: int) -> list[float]:
    """The five criteria of one picture, as the documentation says them."""
    u = np.tanh(z)
    soft = sorted((1 - abs(value) for value in u), reverse=True)
    near_flip = soft[: max(1, len(soft) // 8)]
    dist = [sum(a != b for a, b in zip(np.where(z < 0, -1, 1), code, strict=True)) for code in bank.codes.numpy()]
    kth = sorted(dist)[k - 1]
    ball = [j for j in range(len(bank)) if dist[j] <= kth]

    def alike(a: int, b: int) -> float:
        first, second = bank.labels[a].astype(float), bank.labels[b].astype(float)
        lengths = np.sqrt(first @ first) * np.sqrt(second @ second)
        return float(first @ second / lengths) if lengths else 0.0

    agreed = [alike(a, b) for a, b in combinations(ball, 2)]
    return [
        float(np.mean(soft)), float(np.mean(near_flip)), float(np.mean(sorted(dist)[:k])), 1 - float(np.mean(agreed)),
        float(np.mean(np.abs(u - np.tanh(z_denoised))) / 2),
    ]  # fmt: skip


def test_criteria_are_those_of_literal_loops() -> None:
    z, z_denoised, bank = draw()
    found = Neighbors.of(bank, NEAREST).criteria(z, z_denoised).numpy()
    wanted = [literal(a, b, bank, NEAREST) for a, b in zip(z.numpy(), z_denoised.numpy(), strict=True)]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert len(np.unique(found[:, 3])) > 2, "the case must tell the disagreements apart"


def test_one_label_each_makes_the_disagreement_a_share_of_pairs() -> None:
    codes = np.array([[1, 1, 1, 1]] * 4 + [[-1, -1, -1, -1]])
    bank = CodeBank.of(codes, np.eye(3, dtype=np.uint8)[[0, 0, 0, 1, 2]])
    found = Neighbors.of(bank, 2).criteria(torch.ones(1, 4), torch.ones(1, 4))[0]
    assert float(found[3]) == pytest.approx(1 - 3 / 6)
    assert float(found[2]) == 0 and float(found[4]) == 0


def test_denoising_is_the_blur_pixel_by_pixel_and_has_a_gradient() -> None:
    x = torch.rand((2, 3, 5, 6), generator=torch.Generator().manual_seed(0), requires_grad=True)
    found = denoise(x)
    weights = np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25])
    y, blurred = x.detach().numpy(), found.detach().numpy()
    for b, c, i, j in np.ndindex(*y.shape):
        around = [
            weights[a + 1, d + 1] * y[b, c, min(max(i + a, 0), 4), min(max(j + d, 0), 5)]
            for a in (-1, 0, 1)
            for d in (-1, 0, 1)
        ]
        assert blurred[b, c, i, j] == pytest.approx(sum(around), abs=1e-6)
    (gradient,) = torch.autograd.grad(found[0, 0, 2, 2], x)
    np.testing.assert_allclose(gradient[0, 0, 1:4, 1:4].numpy(), weights, atol=1e-7)
    assert float(gradient.abs().sum()) == pytest.approx(1.0)


def test_the_order_of_pictures_and_codes_does_not_matter() -> None:
    z, z_denoised, bank = draw(1)
    found = Neighbors.of(bank, NEAREST).criteria(z, z_denoised)
    turned = torch.arange(Q).flip(0)
    mixed = bank.select(np.random.default_rng(5).permutation(N))
    np.testing.assert_allclose(
        Neighbors.of(mixed, NEAREST).criteria(z[turned], z_denoised[turned]).numpy(), found[turned].numpy(), atol=1e-6
    )
    alone = torch.cat([Neighbors.of(bank, NEAREST).criteria(z[i : i + 1], z_denoised[i : i + 1]) for i in range(Q)])
    np.testing.assert_allclose(alone.numpy(), found.numpy(), atol=1e-6)


def test_ranks_are_shares_of_smaller_values() -> None:
    clean = np.array([[0.0, 0.0, 1.0, 3.0], [1.0, 2.0, 3.0, 4.0]])
    values = np.array([[0.0, 5.0], [1.0, 1.0], [0.5, 2.5]])
    np.testing.assert_array_equal(ranks(values, clean), [[0, 1], [0.5, 0], [0.5, 0.5]])


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_the_threshold_keeps_the_rate_on_its_own_scores_and_on_fresh_ones(rate: float) -> None:
    rng = np.random.default_rng(3)
    fresh = []
    for _ in range(60):
        values, others = rng.normal(size=(200, 4)), rng.normal(size=(400, 4))
        clean = np.sort(values, axis=0).T
        threshold = threshold_of(ranks(values, clean).max(1), rate)
        assert (ranks(values, clean).max(1) > threshold).mean() <= rate
        fresh.append((ranks(others, clean).max(1) > threshold).mean())
    assert rate / 2 <= np.mean(fresh) <= rate + 4 / 200


def test_the_alarm_is_one_criterion_over_its_bound() -> None:
    rng = np.random.default_rng(4)
    values = rng.integers(0, 12, (60, 5)) / 4  # ties
    clean = np.ascontiguousarray(np.sort(values, axis=0).T)
    _, _, bank = draw()
    for rate in (0.05, 0.1, 0.3):
        detector = Detector(bank, 3, rate, clean, threshold_of(ranks(values, clean).max(1), rate), 1.0)
        tried = rng.integers(0, 14, (200, 5)) / 4
        np.testing.assert_array_equal(detector.alarms(tried), (tried > detector.bounds).any(1))


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (0.0, "between 0 and 1, both excluded, got 0"),
        (5.0, "got 5; did you mean 0.05?"),
        (float("nan"), "got nan"),
        (-1.0, "got -1"),
    ],
)
def test_rates_that_are_none(rate: float, message: str) -> None:
    with pytest.raises(RequestError, match=message.replace("?", r"\?")):
        check_rate(rate)


def test_too_few_validation_pictures() -> None:
    assert threshold_of(np.arange(19) / 19, 0.05) == 18 / 19
    with pytest.raises(RequestError, match="a rate of 0.05 needs at least 19 validation pictures, got 18"):
        threshold_of(np.arange(18) / 18, 0.05)


@pytest.fixture(scope="module")
def made(place: Place) -> tuple[HashModel, CodeBank, Detector]:
    model = load_folder(place.start)[0].eval()
    bank = encode(model, place.dataset, place.split, place.split.part("train"))
    return model, bank, calibrate(model, place.dataset.images, place.split.validation, bank, rate=0.1, k=5)


def test_calibration_is_that_of_the_pictures(place: Place, made: tuple[HashModel, CodeBank, Detector]) -> None:
    model, bank, detector = made
    assert detector.names == CRITERIA and detector.clean.shape == (5, 12) and (np.diff(detector.clean) >= 0).all()
    pixels = place.dataset.images.pixels(place.split.validation)
    values = detector.measure(model, pixels)
    assert detector.alarms(values).mean() <= 0.1
    np.testing.assert_allclose(np.sort(values, axis=0).T, detector.clean, atol=1e-6)
    np.testing.assert_allclose(detector.measure(model, pixels, batch_size=5), values, atol=1e-5)
    np.testing.assert_allclose(detector.measure(model, pixels[::-1])[::-1], values, atol=1e-5)
    with torch.no_grad():
        code = model.code(place.dataset.images.batch(place.split.validation))
    np.testing.assert_allclose(values[:, 2], np.sort(hamming(pack(code), bank.packed), axis=1)[:, :5].mean(1))


def test_color_pictures(made: tuple[HashModel, CodeBank, Detector]) -> None:
    model, bank, _ = made
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    values, sizes = measure_criteria(model, ImageStore(pixels), np.arange(3), Neighbors.of(bank, 3))
    assert values.shape == (3, 5) and sizes.shape == (3,)


def test_without_labels_the_neighbors_cannot_disagree(place: Place, made: tuple[HashModel, CodeBank, Detector]) -> None:
    model, bank, whole = made
    bare = CodeBank(bank.packed, bank.bits, np.zeros((len(bank), 0), np.uint8), bank.ids, bank.model_hash)
    detector = calibrate(model, place.dataset.images, place.split.validation, bare, rate=0.1, k=5)
    assert detector.names == ("quantization", "margin", "distance", "change")
    np.testing.assert_allclose(detector.clean, np.delete(whole.clean, 3, axis=0))


def test_a_detector_comes_back_from_its_file(tmp_path: Path, made: tuple[HashModel, CodeBank, Detector]) -> None:
    model, bank, detector = made
    detector.save(tmp_path / "detector.json")
    back = Detector.load(tmp_path / "detector.json", bank)
    np.testing.assert_array_equal(back.clean, detector.clean)
    assert (back.threshold, back.k, back.rate, back.level, back.seed) == (
        detector.threshold, 5, 0.1, detector.level, detector.seed,
    )  # fmt: skip
    assert back.digest == detector.digest
    assert [path.name for path in tmp_path.iterdir()] == ["detector.json"]
    pixels = np.random.default_rng(0).integers(0, 256, (6, 16, 16)).astype(np.uint8)
    np.testing.assert_array_equal(
        back.alarms(back.measure(model, pixels)), detector.alarms(detector.measure(model, pixels))
    )


def test_detectors_of_others_are_refused(
    tmp_path: Path, place: Place, made: tuple[HashModel, CodeBank, Detector]
) -> None:
    model, bank, detector = made
    detector.save(tmp_path / "detector.json")
    other = make_model(place.dataset)
    with torch.no_grad():
        other.head.bias.add_(0.5)
    with pytest.raises(StaleError, match=f"made for model {model.digest}, got model {other.digest}"):
        detector.measure(other, np.zeros((1, 16, 16), np.uint8))
    with pytest.raises(StaleError, match="belongs to model"):
        Detector.load(tmp_path / "detector.json", CodeBank(bank.packed, bank.bits, bank.labels, bank.ids, other.digest))
    with pytest.raises(StaleError, match="other training codes"):
        Detector.load(tmp_path / "detector.json", bank.select(np.arange(40)))
    with pytest.raises(StaleError, match="encode again"):
        calibrate(other, place.dataset.images, place.split.validation, bank, rate=0.1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda facts: facts.pop("threshold"),
        lambda facts: facts.update(threshold=7),
        lambda facts: facts.update(neighbors=1000),
        lambda facts: facts.update(criteria={}),
        lambda facts: facts["criteria"].pop("change"),
        lambda facts: facts["criteria"].update(change=[1.0]),
        lambda facts: facts["criteria"]["change"].reverse(),
        lambda facts: facts["criteria"].update(change=[float("nan")] * 12),
    ],
)
def test_damaged_files(damage: object, tmp_path: Path, made: tuple[HashModel, CodeBank, Detector]) -> None:
    _, bank, detector = made
    path = tmp_path / "detector.json"
    detector.save(path)
    facts = read_sealed(path, "detector")
    damage(facts)  # type: ignore[operator]
    write_sealed(path, facts)
    with pytest.raises(RequestError, match="is damaged"):
        Detector.load(path, bank)
    detector.save(path)
    path.write_text(path.read_text().replace('"seed": ', '"seed": 1'))
    with pytest.raises(RequestError, match="is damaged: its content was changed after it was written"):
        Detector.load(path, bank)


def test_files_that_are_no_detector(tmp_path: Path, made: tuple[HashModel, CodeBank, Detector]) -> None:
    _, bank, _ = made
    with pytest.raises(RequestError, match="no detector at"):
        Detector.load(tmp_path / "none.json", bank)
    for text in ("[", "[]", "\x00"):
        (tmp_path / "d.json").write_text(text)
        with pytest.raises(RequestError, match="is damaged"):
            Detector.load(tmp_path / "d.json", bank)


def test_wrong_calibrations(place: Place, made: tuple[HashModel, CodeBank, Detector]) -> None:
    model, bank, _ = made
    images, rows = place.dataset.images, place.split.validation
    with pytest.raises(RequestError, match="no validation pictures to calibrate on"):
        calibrate(model, images, rows[:0], bank)
    with pytest.raises(RequestError, match="number of neighbors must be between 2 and 48, got 49"):
        calibrate(model, images, rows, bank, rate=0.1, k=49)
    with pytest.raises(RequestError, match="number of neighbors must be between 2 and 48, got 1"):
        calibrate(model, images, rows, bank, rate=0.1, k=1)
    broken = make_model(place.dataset)
    with torch.no_grad():
        broken.head.bias[0] = float("nan")
    with pytest.raises(RunError, match="NaN"):
        measure_criteria(broken, images, rows, Neighbors.of(bank, 3))


def test_marks_have_length_one_or_zero() -> None:
    marks = label_marks(np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1]], dtype=np.uint8))
    np.testing.assert_allclose(marks.norm(dim=1).numpy(), [1, 0, 1], atol=1e-6)
