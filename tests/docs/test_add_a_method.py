"""The tutorial is true: its files, put where it says, are found by everything, and nothing else is edited."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.processes import SERVER

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "add-a-method.md"
FILES = dict(re.findall(r"`([\w/]+\.py)`:?\n\n```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL))
GUIDE, ATTACK = "src/hamguard/attacks/guides/medoid.py", "src/hamguard/attacks/methods/medoid.py"
OBJECTIVE = "src/hamguard/hashing/ksh.py"
TESTS = ("tests/attacks/guides/test_medoid.py", "tests/attacks/methods/test_medoid.py", "tests/hashing/test_ksh.py")
COMMON = ("tests/attacks/test_laws.py", "tests/hashing/test_methods.py", "tests/docs/tutorial_commands.py")
SHARED = (
    "tests/__init__.py", "tests/conftest.py", "tests/attacks/__init__.py", "tests/docs/__init__.py",
    "tests/attacks/guides/__init__.py", "tests/attacks/methods/__init__.py", "tests/hashing/__init__.py",
    "tests/cli/__init__.py", "tests/cli/helpers.py", "pyproject.toml", "README.md",
)  # fmt: skip


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What the tutorial needs of the repository, with its files: guide and attack in the package, the hash method in a plugin."""
    shutil.copytree(ROOT / "src", tmp_path / "src")
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("images"))
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    for name in (*COMMON, *SHARED):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    for name, text in FILES.items():
        place = tmp_path / (f"elsewhere/my_package/{Path(name).name}" if name == OBJECTIVE else name)
        place.parent.mkdir(parents=True, exist_ok=True)
        assert not place.exists(), f"{name} is no example any more: the package has it"
        place.write_text(text, encoding="utf-8")
    return tmp_path


def test_the_page_has_whole_files_and_a_guide_is_short() -> None:
    assert sorted(FILES) == sorted([GUIDE, ATTACK, OBJECTIVE, *TESTS])
    assert len(FILES[GUIDE].splitlines()) < 40 and len(FILES[ATTACK].splitlines()) < 40
    assert PAGE.read_text(encoding="utf-8").count("```python") == len(FILES), "every block says where it stands"


def pytest_in(copy: str, words: list[str], names: dict[str, str], log: str) -> None:
    """What `python -m pytest` does in the copy, in a process that has read torch and must read hamguard anew."""
    with Path(log).open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    for name in list(sys.modules):
        if name.partition(".")[0] in {"hamguard", "tests"}:
            del sys.modules[name]
    sys.path[:0] = [copy, f"{copy}/src", f"{copy}/elsewhere"]
    os.chdir(copy)
    os.environ.update(names)
    sys.exit(pytest.main(words))


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_what_the_page_says_is_true(copy: Path) -> None:
    """The laws of the registries and the page's own tests pass for the new names, and its commands run."""
    names = {"HAMGUARD_PLUGINS": "my_package.ksh", "OMP_NUM_THREADS": "1"}
    named = "(medoid or ksh or tutorial) and not small_net"  # which trains for seconds; the commands train, too
    words = ["-k", named, "-n", "0", "-vv", "-p", "no:cacheprovider", "--durations=5", *COMMON, *TESTS]
    log = copy / "pytest.log"
    process = SERVER.Process(target=pytest_in, args=(str(copy), words, names, str(log)), daemon=True)
    process.start()
    process.join(280)
    process.kill()
    stdout = log.read_text(encoding="utf-8")
    assert process.exitcode == 0, stdout[-8000:]
    assert f"rootdir: {copy}" in stdout
    for law in (
        "test_laws.py::test_attacks_stay_in_their_ball_on_the_grid[medoid]",
        "test_laws.py::test_targeted_attacks_come_nearer[medoid]",
        "test_laws.py::test_facts_say_what_a_method_does[medoid]",
        "test_laws.py::test_a_guide_gives_every_picture_a_code_of_its_own[medoid]",
        "test_laws.py::test_an_attack_that_takes_any_guide_follows_it[medoid]",
        "test_methods.py::test_facts_of_a_method[ksh]",
        "test_methods.py::test_equal_seeds_make_equal_losses[ksh]",
        "methods/test_medoid.py::test_most_codes_are_the_medoid_of_the_target_label",
        "guides/test_medoid.py::test_the_medoid_has_the_least_sum_of_distances",
        "test_ksh.py::test_the_loss_is_that_of_the_equation[True]",
        "tutorial_commands.py::test_commands_of_the_page",
        "tutorial_commands.py::test_cards_and_tables_have_the_new_names",
    ):
        assert f"{law} PASSED" in stdout, stdout[-6000:]


def test_the_files_of_the_page_have_the_form_of_the_house(copy: Path) -> None:
    files = [str(path) for path in (*copy.rglob("*medoid.py"), *copy.rglob("*ksh.py"))]
    assert len(files) == len(FILES)
    for command in (("format", "--check"), ("check",)):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *files], cwd=copy, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout
