from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hamguard.core import checks, digests, files, seeds
from hamguard.core.errors import RequestError, RunError
from hamguard.core.rows import Row, read_rows, write_rows
from hamguard.core.types import is_tensor


def test_unknown_choice_lists_and_suggests() -> None:
    with pytest.raises(RequestError, match=r"unknown method 'dpsj'; allowed: csq, dpsh; did you mean dpsh\?"):
        checks.check_choice("method", "dpsj", ["csq", "dpsh"])
    assert checks.check_choice("method", "csq", ["csq"]) == "csq"


def test_range_and_shape_say_what_they_got() -> None:
    with pytest.raises(RequestError, match="bits must be at least 1, got 0"):
        checks.check_range("bits", 0, 1)
    with pytest.raises(RequestError, match="eps must be between 0.0 and 1.0, got nan"):
        checks.check_range("eps", float("nan"), 0.0, 1.0)
    with pytest.raises(RequestError, match=r"x must have shape \(B, 3\), got \(2, 4\)"):
        checks.check_shape("x", (2, 4), ("B", 3))
    checks.check_shape("x", (2, 3), ("B", 3))


def test_generators_depend_on_every_name() -> None:
    draws = {
        float(torch.rand(1, generator=seeds.torch_generator(*names))) for names in [(0,), (1,), (0, "a"), (0, "a", 1)]
    }
    assert len(draws) == 4
    assert seeds.numpy_generator(3, "x").random() == seeds.numpy_generator(3, "x").random()


def test_generators_leave_the_global_ones_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    seeds.torch_generator(0, "x")
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_tensor_is_known_without_loading_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_tensor(torch.ones(1)) and is_tensor(torch.nn.Parameter(torch.ones(1)))
    assert not is_tensor(np.ones(1)) and not is_tensor(None)
    monkeypatch.delitem(sys.modules, "torch")
    assert not is_tensor(np.ones(1))
    assert "torch" not in sys.modules


def test_digests_see_content_shape_and_type() -> None:
    a = np.arange(6, dtype=np.int64)
    assert digests.digest_array(a) == digests.digest_array(a.copy())
    assert len({digests.digest_array(x) for x in (a, a.reshape(2, 3), a.astype(np.int32), a + 1)}) == 4
    assert digests.digest_json({"a": 1, "b": 2}) == digests.digest_json({"b": 2, "a": 1})
    w = {"w": torch.ones(2), "b": torch.zeros(1)}
    assert digests.digest_state(w) == digests.digest_state(dict(reversed(list(w.items()))))
    assert digests.digest_state(w) != digests.digest_state({**w, "b": torch.ones(1)})


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(ValueError, match="stop"), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise ValueError("stop")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="cannot write .*file/a.txt"):
        files.write_text(tmp_path / "file" / "a.txt", "x")


def test_a_full_disk_is_one_line() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with (
        pytest.raises(RunError, match="No space left"),
        files.replacing(full.parent / "shm" / "hamguard-test.txt") as _,
    ):
        with full.open("wb", buffering=0) as stream:
            stream.write(b"x")


def test_rows_round_trip_and_refuse_unknown_keys(tmp_path: Path) -> None:
    row = Row(dataset="digits", metric="map", value=0.5, ci95=(0.4, 0.6), n=3, notes=("a",), hashes={"model": "x"})
    write_rows(tmp_path / "rows.jsonl", [row, row])
    assert read_rows(tmp_path / "rows.jsonl") == [row, row]
    (tmp_path / "bad.jsonl").write_text(row.json() + '\n{"metrik": "map"}\n')
    with pytest.raises(RequestError, match=r"bad.jsonl, line 2: unknown keys metrik"):
        read_rows(tmp_path / "bad.jsonl")
    (tmp_path / "bad.jsonl").write_text("{\n")
    with pytest.raises(RequestError, match="line 1: not a JSON object"):
        read_rows(tmp_path / "bad.jsonl")
    with pytest.raises(RequestError, match="no rows at"):
        read_rows(tmp_path / "none.jsonl")


def test_a_limit_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"few")
    assert files.read_bytes(tmp_path / "small", "file", limit=1 << 60) == b"few"
    with pytest.raises(RequestError, match="small has 3 bytes, too many for a file; the limit is 2"):
        files.read_bytes(tmp_path / "small", "file", limit=2)
