from pathlib import Path

import numpy as np
import pytest

from hamguard.core.errors import DataMissingError, RequestError
from hamguard.core.places import data_roots
from hamguard.data.digits import read_digits
from hamguard.data.registry import SOURCES, list_source, source
from hamguard.data.scenes import draw_scenes, read_scenes
from hamguard.data.sources import list_sources, locate, open_source, parse
from hamguard.images.io import encode
from hamguard.models.pretrained import place_of, weights_of


def test_names_and_paths_are_parted():
    assert parse("digits")[1] == ""
    source_, path = parse("folder:a:b")
    assert (source_.name, path) == ("folder", "a:b")
    with pytest.raises(RequestError, match=r"unknown data source 'cifar'; allowed: .*digits.*did you mean cifar10\?"):
        parse("cifar")
    with pytest.raises(RequestError, match="data source folder needs a path: folder:PATH, got 'folder'"):
        parse("folder")
    with pytest.raises(RequestError, match="data source digits takes no path, got 'digits:x'"):
        parse("digits:x")


def test_a_path_alone_is_told_what_it_may_be(tmp_path):
    (tmp_path / "some.npz").touch()
    with pytest.raises(RequestError, match=rf"unknown data source .+; did you mean folder:{tmp_path}\?$"):
        parse(str(tmp_path))
    with pytest.raises(RequestError, match=r"did you mean arrays:.+some.npz or features:.+some.npz\?$"):
        parse(str(tmp_path / "some.npz"))


def test_product_names_are_all_registered():
    assert set(SOURCES) == {
        "digits", "scenes", "fashion-mnist", "fashion-products", "cifar10", "imagenet", "flickr25k", "nus-wide",
        "mscoco", "mirflickr", "coco18", "caltech98", "folder", "arrays", "features", "lists",
    }  # fmt: skip


def test_a_second_registration_is_an_error():
    with pytest.raises(RequestError, match="data source 'digits' is registered twice"):
        source("digits", "again")(read_scenes)
    with pytest.raises(RequestError, match="data source 'lists' is registered twice"):
        list_source("lists", "again")(SOURCES["mscoco"].open)


def test_roots_are_argument_then_variable_then_cache(no_data, own_cache, monkeypatch, tmp_path):
    assert data_roots() == (own_cache / "data",)
    monkeypatch.setenv("HAMGUARD_DATA", str(tmp_path))
    assert data_roots() == (tmp_path, own_cache / "data")
    assert data_roots(Path("mine")) == (Path("mine"), own_cache / "data")


@pytest.mark.parametrize("name", [s.name for s in SOURCES.values() if s.need])
def test_missing_data_say_which_files_to_put_where(no_data, name, tmp_path):
    with pytest.raises(DataMissingError, match=rf"data set {name} is not here; put .+ below .+HAMGUARD_DATA"):
        open_source(name)
    with pytest.raises(DataMissingError, match=f"below {tmp_path}"):
        locate(SOURCES[name], tmp_path)


def test_a_folder_that_was_given_and_is_not_there_is_said(no_data, monkeypatch, tmp_path):
    monkeypatch.setenv("HAMGUARD_DATA", str(tmp_path / "slip"))
    with pytest.raises(DataMissingError, match=r"slip \(no such folder\) or .+data$"):
        open_source("coco18")
    with pytest.raises(RequestError, match=r"put weights/.+ below .+slip \(no such folder\) or"):
        place_of(weights_of("mobilenet_v2_tf"))


def test_the_list_says_what_is_there(no_data, tmp_path):
    rows = {row["name"]: row for row in list_sources(tmp_path)}
    assert rows["digits"]["found"] is True
    assert rows["cifar10"]["found"] is False
    assert "cifar10/train_jpeg.npz" in rows["cifar10"]["where"]
    assert rows["folder:PATH"]["found"] is None
    assert all(row["about"] for row in rows.values())


def test_digits():
    dataset, split = open_source("digits")
    assert (len(dataset), dataset.images.size, dataset.images.channels) == (1797, (28, 28), 1)
    assert split.counts == {"train": 1347, "validation": 150, "query": 300, "database": 1497}
    first = dataset.labels[split.query[:30]].sum(0)
    assert first.tolist() == pytest.approx([3] * 10, abs=1)
    small = read_digits(size=8)
    assert small.images.array.max() == 255
    assert np.unique(small.images.array).size == 17


def test_seed_and_protocol_are_passed_on():
    base = open_source("digits")[1]
    assert open_source("digits")[1].digest == base.digest
    assert open_source("digits", seed=1)[1].digest != base.digest
    assert open_source("digits", protocol="copies")[1].protocol == "copies"
    with pytest.raises(RequestError, match="size must be between 8 and 4096, got 4"):
        open_source("digits", size=4)


def test_scenes_are_a_function_of_seed_and_index():
    few, many = draw_scenes(5, seed=3), draw_scenes(600, seed=3)
    assert np.array_equal(few.images.array, many.images.array[:5])
    assert few.texts == many.texts[:5]
    assert np.array_equal(few.labels, many.labels[:5])
    assert draw_scenes(5, seed=4).images.digest != few.images.digest


def test_scenes_labels_and_texts_agree_with_the_pictures():
    dataset = draw_scenes(400, seed=0)
    assert dataset.synthetic
    assert "synthetic" in dataset.notes[0]
    assert dataset.labels.shape == (400, 16)
    assert dataset.labels.sum(1).min() >= 1
    assert dataset.labels.sum(1).max() <= 4
    for row in range(400):
        names = {dataset.class_names[c] for c in np.flatnonzero(dataset.labels[row])}
        tags = dataset.texts[row].rsplit(" on ", 1)[0].replace(" and ", ", ").split(", ")
        assert {tag.removeprefix("a ") for tag in tags} == names
    red = dataset.labels[:, [i for i, n in enumerate(dataset.class_names) if n.startswith("red")]].any(1)
    x = dataset.images.batch(slice(0, 400))
    redness = ((x[:, 0] - x[:, 1:].amax(1)) > 0.3).float().mean((1, 2)).numpy()
    assert redness[red].min() > redness[~red].max()


def test_scenes_resemble_real_multi_label_sets():
    labels = draw_scenes(1000).labels
    share = ((labels[:500] @ labels[500:].T) > 0).mean()
    assert 0.2 < share < 0.4


def test_scenes_explain_wrong_numbers():
    with pytest.raises(RequestError, match="number of scenes must be at least 1, got 0"):
        draw_scenes(0)
    with pytest.raises(RequestError, match="size must be at least 16, got 8"):
        draw_scenes(3, size=8)


def test_imagenet_class_folders(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("n01", "n02"):
        for i in range(4):
            (tmp_path / "imagenet" / name).mkdir(parents=True, exist_ok=True)
            encode(rng.integers(0, 256, (9, 9, 3)).astype(np.uint8), tmp_path / "imagenet" / name / f"{i}.jpg")
    dataset, split = open_source("imagenet", root=tmp_path)
    assert (dataset.name, dataset.class_names, split.protocol) == ("imagenet", ("n01", "n02"), "seeded")
