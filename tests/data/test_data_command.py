import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from hamguard.cli.data import app
from hamguard.core.errors import RequestError


@pytest.fixture
def call():
    def run(*words):
        return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)

    return run


def test_list_for_people_and_for_machines(call, no_data):
    seen = call("list")
    assert seen.exit_code == 0
    assert "fashion-products" in seen.stdout
    assert "ppl-cifar10" in seen.stdout
    rows = [json.loads(line) for line in call("list", "--json").stdout.splitlines()]
    assert {row["name"] for row in rows} >= {"digits", "folder:PATH"}


def test_check_prints_counts_and_findings(call, class_folder, tmp_path):
    (class_folder / "dog" / "copy.png").write_bytes((class_folder / "cat" / "0.png").read_bytes())
    seen = call("check", f"folder:{class_folder}", "--out", tmp_path / "report.json")
    assert seen.exit_code == 0
    assert "25 pictures, 12 x 12 pixels; split seeded, seed 0" in seen.stdout
    assert "Finding: 1 pictures are pixel-identical copies of others" in seen.stdout
    assert "MAP ceiling: 1.000" in seen.stdout
    report = json.loads((tmp_path / "report.json").read_text())[0]
    assert report["copies"] == 1
    assert report["digest"] in seen.stdout


def test_check_as_json_is_rows_and_nothing_else(call, class_folder):
    lines = call("check", f"folder:{class_folder}", "--json", "--seed", 5).stdout.splitlines()
    assert len(lines) == 1
    row = json.loads(lines[0])
    assert (row["seed"], row["copies"], row["findings"]) == (5, 0, [])


def test_copies_are_dropped_on_request(call, class_folder):
    (class_folder / "dog" / "copy.png").write_bytes((class_folder / "cat" / "0.png").read_bytes())
    row = json.loads(call("check", f"folder:{class_folder}", "--drop-duplicates", "--json").stdout)
    assert row["copies"] == 0
    assert any("1 copies were dropped" in note for note in row["notes"])


def test_errors_rise_to_the_command_line(call):
    with pytest.raises(RequestError, match=r"unknown data source 'digit'.*did you mean digits"):
        call("check", "digit")


def test_help_has_examples_and_imports_nothing_heavy(call):
    assert "Example: hamguard data check folder:photos" in call("check", "--help").stdout
    code = "import sys, hamguard.cli.data; print(sorted({'torch', 'numpy', 'PIL', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
