"""Commands on foreign models with odd habits: a figure, a note, or one line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hamguard.models.trial import NEIGHBORS, RANDOM, ZERO_GRADIENT
from tests.cli.helpers import Shell, write_arrays, write_picture
from tests.models.test_foreign import Net, by_batch
from tests.models.test_foreign import dropping as drops

HERE = "tests.cli.test_foreign"
PGD = ("--method", "pgd", "--guide", "own", "--eps", "0.2", "--steps", "3", "--queries", "8")
LABELS = ("--metric", "map")


def plain() -> nn.Module:
    return Net()


def dropping() -> nn.Module:
    return Net(drops)


def neighbors() -> nn.Module:
    return Net(by_batch)


def rounding() -> nn.Module:
    return Net(lambda net, x: net.plain((x * 255).round() / 255))


def blocked() -> nn.Module:
    return Net(lambda net, x: net.plain((x * 255).byte().float() / 255))


def inside() -> nn.Module:
    return Net(lambda net, x: net.plain(x.sub_(0.5).div_(0.5)))


def outside() -> nn.Module:
    return Net(lambda net, x: net.plain((x - 0.5) / 0.5))


def constant() -> nn.Module:
    return Net(lambda net, x: 0 * net.plain(x) + 1)


def named_entry() -> nn.Module:
    return Net(lambda net, x: {"maps": x, "hash": net.plain(x)})


def squeezed() -> nn.Module:
    return Net(lambda net, x: net.plain(x).squeeze())


def half() -> nn.Module:
    return Net().half()


def chatting() -> nn.Module:
    def forward(net: Net, x: Tensor) -> Tensor:
        sys.stdout.write("asked\n")
        return net.plain(x)

    sys.stdout.write("made\n")
    return Net(forward)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMGUARD_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return "--data", f"arrays:{write_arrays(tmp_path_factory.mktemp('small') / 'toy.npz', n=90, classes=3, size=8)}"


def notes(rows: list[dict[str, Any]]) -> set[str]:
    return {note for row in rows for note in row["notes"]}


def figures(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (row["metric"], (row["attack"] or {}).get("method"), row["value"])
        for row in rows
        if row["metric"] != "random_map"
    ]


def evaluated(shell: Shell, name: object, data: tuple[str, str], *more: object) -> list[dict[str, Any]]:
    return shell.done("evaluate", name, *data, *LABELS, "--queries", "8", *more, "--json").rows


def test_random_models_and_models_that_look_at_neighbors_have_a_note_everywhere(
    shell: Shell, data: tuple[str, str]
) -> None:
    clean = notes(evaluated(shell, f"{HERE}:plain", data))
    for name, note in (("dropping", RANDOM), ("neighbors", NEIGHBORS)):
        for size in (1, 7):
            assert notes(evaluated(shell, f"{HERE}:{name}", data, "--batch-size", size)) - clean == {note}
        rows = shell.done("attack", f"{HERE}:{name}", *data, *PGD, "--json").rows
        assert note in notes(rows)
        assert f"Note: {note}" in shell.done("attack", f"{HERE}:{name}", *data, *PGD).out


def test_commands_without_rows_say_the_note_on_standard_error(
    shell: Shell, data: tuple[str, str], tmp_path: Path
) -> None:
    name = f"{HERE}:neighbors"
    answer = shell.done("encode", name, *data, "--out", tmp_path / "codes", "--json")
    assert f"Note: {NEIGHBORS}\n" in answer.err and len(answer.rows) == 2
    shell.done("index", "build", tmp_path / "codes" / "database.npz", "--out", tmp_path / "index")
    picture = write_picture(tmp_path / "query.png", 8, 8)
    answer = shell.done("search", tmp_path / "index", picture, "--model", name, "--json")
    assert f"Note: {NEIGHBORS}\n" in answer.err and answer.rows


def test_zero_gradients_are_a_note_of_attacks_and_of_nothing_else(
    shell: Shell, data: tuple[str, str], tmp_path: Path
) -> None:
    clean = notes(evaluated(shell, f"{HERE}:plain", data))
    assert notes(evaluated(shell, f"{HERE}:rounding", data)) == clean
    usual = notes(shell.done("attack", f"{HERE}:plain", *data, *PGD, "--json").rows)
    assert not any("gradient" in note for note in usual)
    words = ("attack", f"{HERE}:rounding", *data, *PGD, "--save-images", tmp_path / "made", "--json")
    for _ in range(2):  # the second time the saved pictures are read
        rows = shell.done(*words).rows
        (note,) = notes(rows) - usual
        assert note == f"for 8 of 8 pictures {ZERO_GRADIENT}"
        assert {(row["attack"] or {}).get("method") for row in rows if note in row["notes"]} == {"pgd"}
    value = {row["attack"]["method"]: row["value"] for row in rows if row["metric"] == "map" and row["attack"]}
    assert value["pgd"] == value["noise"]


def test_a_source_without_slopes_is_noted_in_a_matrix(shell: Shell, data: tuple[str, str]) -> None:
    models = (f"{HERE}:plain", f"{HERE}:rounding")
    rows = shell.done("transfer", *models, *data, *PGD, "--json").rows
    noted = {row["attack"]["made_on"][0] for row in rows if any(ZERO_GRADIENT in note for note in row["notes"])}
    assert noted == {f"{HERE}:rounding"}


@pytest.mark.parametrize(
    "words",
    [
        ("attack", *PGD),
        ("attack", "--method", "noise", "--method", "hag", "--queries", "8"),
        ("audit", "--queries", "8"),
        ("measure", "--queries", "8"),
        ("sanity", "--sample", "8"),
    ],
)
def test_what_needs_a_gradient_says_so_in_one_line(shell: Shell, data: tuple[str, str], words: tuple[str, ...]) -> None:
    line = shell.fails(2, words[0], f"{HERE}:blocked", *words[1:], *data)
    assert f"model {HERE}:blocked gives no gradient to its pictures" in line
    assert "without: noise, prosgan" in line and "--source-model" in line


def test_what_needs_no_gradient_works_without(shell: Shell, data: tuple[str, str], tmp_path: Path) -> None:
    name = f"{HERE}:blocked"
    assert figures(evaluated(shell, name, data))
    assert shell.done("attack", name, *data, "--method", "noise", "--queries", "8", "--json").rows
    assert shell.done("attack", name, *data, *PGD, "--source-model", f"{HERE}:plain", "--json").rows
    line = shell.fails(2, "train", "--method", "prosgan", "--victim", name, *data, "--out", tmp_path / "generator")
    assert "prosgan learns from the gradient of its victim" in line and "gives no gradient" in line


def test_attacks_on_a_model_that_changes_its_input_are_those_on_one_that_does_not(
    shell: Shell, data: tuple[str, str]
) -> None:
    rows = [shell.done("attack", f"{HERE}:{name}", *data, *PGD, "--json").rows for name in ("inside", "outside")]
    assert figures(rows[0]) == figures(rows[1])


def test_odd_outputs_give_the_figures_of_the_plain_model(shell: Shell, data: tuple[str, str], tmp_path: Path) -> None:
    torch.export.save(torch.export.export(Net().eval(), (torch.rand(1, 1, 8, 8),)), tmp_path / "one.pt2")
    expected = evaluated(shell, f"{HERE}:plain", data)
    for name, note in (
        (f"{HERE}:squeezed", ""),
        (f"{HERE}:named_entry", "their entry 'hash' is used"),
        (tmp_path / "one.pt2", "asked one by one"),
    ):
        rows = evaluated(shell, name, data, "--batch-size", 79)
        assert [value for *_, value in figures(rows)] == pytest.approx(
            [value for *_, value in figures(expected)], abs=0.02
        )
        assert any(note in one for one in notes(rows))
    assert shell.done("attack", f"{HERE}:squeezed", *data, *PGD, "--batch-size", 7, "--json").rows
    assert figures(evaluated(shell, f"{HERE}:half", data))


def test_equal_codes_are_a_note(shell: Shell, data: tuple[str, str]) -> None:
    rows = evaluated(shell, f"{HERE}:constant", data)
    assert any(note.startswith("every code is the same") for note in notes(rows))
    assert not any(note.startswith("every code") for note in notes(evaluated(shell, f"{HERE}:plain", data)))


def test_a_model_that_prints_leaves_standard_output_alone(shell: Shell, data: tuple[str, str]) -> None:
    answer = shell.done("evaluate", f"{HERE}:chatting", *data, *LABELS, "--queries", "8", "--json")
    assert answer.rows and "asked" in answer.err and "made" in answer.err
