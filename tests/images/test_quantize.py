import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hamguard.core.errors import RequestError
from hamguard.images.quantize import from_bytes, round_8bit, to_bytes

values = st.lists(st.floats(-1, 2, width=32), min_size=1, max_size=40).map(torch.tensor)


@settings(deadline=None)
@given(values)
def test_rounding_twice_changes_nothing_and_moves_at_most_half_a_level(x):
    once = round_8bit(x)
    assert torch.equal(round_8bit(once), once)
    assert float((once - x.clamp(0, 1)).abs().max()) <= 0.5 / 255 + 1e-6
    assert 0 <= float(once.min()) <= float(once.max()) <= 1


def test_every_level_survives_the_round_trip_in_every_float_type():
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_bytes(from_bytes(levels)), levels)
    assert torch.equal(to_bytes(from_bytes(levels).double()), levels)
    assert torch.equal(to_bytes(from_bytes(levels).half()), levels)


def test_shape_and_type_are_kept():
    x = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    assert round_8bit(x).shape == x.shape
    assert round_8bit(x).dtype == torch.float64


def test_wrong_input_is_explained():
    with pytest.raises(RequestError, match=r"must be floating point, got torch\.int64"):
        to_bytes(torch.tensor([1]))
    with pytest.raises(RequestError, match="got NaN"):
        round_8bit(torch.tensor([float("nan")]))
    with pytest.raises(RequestError, match=r"pixels must be uint8, got torch\.float32"):
        from_bytes(torch.zeros(1))
