import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from hamguard.cli.data import app
from hamguard.core.errors import RequestError
from hamguard.data.sources import open_source


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


def with_texts(folder, texts):
    """A table of labels and texts beside pictures; a text of None leaves the column out."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    lines = [
        {"file": file, "labels": [file.split("/")[0]], **({} if text is None else {"text": text})}
        for file, text in zip(files, texts, strict=True)
    ]
    (folder / "labels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return f"folder:{folder}"


def test_check_counts_pictures_without_a_text(call, class_folder):
    bare = call("check", with_texts(class_folder, [None] * 24)).stdout
    assert "without a label" in bare and "without a text" not in bare
    assert "No findings: no overlap, no copies, no picture without a label.\n" in bare

    full = call("check", with_texts(class_folder, ["a pet"] * 24)).stdout
    assert "without a label  without a text" in full
    assert "No findings: no overlap, no copies, no picture without a label or a text.\n" in full

    source = with_texts(class_folder, ["a pet", " ", *["a pet"] * 21, ""])
    report = json.loads(call("check", source, "--json").stdout)
    holes = report["without_text"]
    assert holes["query"] + holes["database"] == 2 and holes["train"] + holes["validation"] == holes["database"]
    lines = [line.split() for line in call("check", source).stdout.splitlines()]
    for role, count in holes.items():
        assert [role, str(report["counts"][role]), "0", str(count)] in lines
    assert "No findings" not in call("check", source).stdout


def test_a_part_without_any_text_is_no_finding_but_is_not_denied(call, class_folder):
    source = with_texts(class_folder, ["a pet"] * 24)
    queries = set(open_source(source)[1].query.tolist())
    seen = call("check", with_texts(class_folder, ["" if i in queries else "a pet" for i in range(24)])).stdout
    assert "No findings: no overlap, no copies, no picture without a label.\n" in seen


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
