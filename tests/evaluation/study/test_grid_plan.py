"""What a recipe stands for: models and attacks spelled out, their names and their requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from hamguard.attacks.threat import Threat
from hamguard.core.errors import RequestError
from hamguard.evaluation.study.plan import StudyPlan, expand, generator_request, hardening, parties
from hamguard.evaluation.study.recipe import read_study
from hamguard.trainers.words import read_job

ROOT = Path(__file__).parents[3]
HEAD = 'study = "grid"\n[data.digits]\n'


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "grid.toml"
    path.write_text(text)
    return path


def plan(tmp_path: Path, text: str) -> StudyPlan:
    return expand(read_study(written(tmp_path, text)))


def test_a_list_is_spelled_out_and_one_value_is_not(tmp_path: Path) -> None:
    found = plan(
        tmp_path,
        'study = "grid"\nseeds = [0, 1]\n[data.digits]\n[data.scenes]\nsource = "scenes"\n'
        '[models.csq]\nbits = [16, 32]\nbackbone = ["conv2", "resnet20"]\nepochs = 3\nset = { lr = 0.01 }\n'
        '[models.mine]\nmethod = "dpsh"\ndata = "digits"\nbits = [48]\nepochs = 1\n',
    )
    names = [cell.name for cell in found.models]
    assert len(names) == len(set(names)) == 2 * (2 * 2 * 2 + 1)
    assert names[0] == "csq-digits-conv2-16-seed0" and names[8] == "mine-seed0" and names[-1] == "mine-seed1"
    cell = next(cell for cell in found.models if cell.name == "csq-scenes-resnet20-32-seed1")
    assert cell.request is not None and (cell.table, cell.data, cell.seed) == ("csq", "scenes", 1)
    ask = cell.request
    assert (ask.method, ask.model.bits, ask.model.backbone, ask.seed) == ("csq", 32, "resnet20", 1)
    assert (ask.training.epochs, ask.training.lr, ask.data.source) == (3, 0.01, "scenes")
    one = plan(tmp_path, HEAD + "[models.csq]\nbits = 16\n")
    assert [cell.name for cell in one.models] == ["csq"]


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ('eps = "8/255"\nsteps = 5', ["pgd"]),
        ('eps = ["8/255", 0.2]\nsteps = 5', ["pgd-0.03137", "pgd-0.2"]),
        ("steps = [5, 10]", ["pgd-5", "pgd-10"]),
        ("eps = [0.1, 0.2]\nsteps = [5, 10]", ["pgd-0.1-5", "pgd-0.1-10", "pgd-0.2-5", "pgd-0.2-10"]),
        ('eps = ["own", 0.2]', ["pgd-own", "pgd-0.2"]),
    ],
)
def test_names_of_attacks_say_what_tells_them_apart(tmp_path: Path, keys: str, names: list[str]) -> None:
    found = plan(tmp_path, HEAD + f"[models.csq]\n[attacks.pgd]\n{keys}\n")
    assert [cell.name for cell in found.attacks] == names
    assert {cell.table for cell in found.attacks} == {"pgd"}


def test_plans_take_the_keys_of_their_table(tmp_path: Path) -> None:
    text = '[models.csq]\n[attacks.near]\nmethod = "pgd"\neps = 0.5\nnorm = "l2"\nsteps = 7\nrestarts = 2\nguide = "mainstay"\n'
    (cell,) = plan(tmp_path, HEAD + text + 'targets = "no-overlap"\nreference = "database"\n').attacks
    ask, search = cell.spec, cell.spec.attack.search
    assert (cell.name, ask.name, ask.threat, cell.eps, cell.norm) == ("near", "pgd", Threat("l2", 0.5), 0.5, "l2")
    assert (search.steps, search.restarts, ask.attack.guide.name) == (7, 2, "mainstay")
    assert (ask.rule, ask.reference, ask.toward) == ("no-overlap", "database", True)


def test_defenses_and_parties_take_the_data_and_the_seed(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(
        'study = "grid"\n[data.small]\nsource = "scenes"\nsplit_seed = 4\n[models.csq]\n'
        '[defenses.soft]\nmethod = "saat"\neps = "4/255"\nepochs = 2\nset = { steps = 3 }\n'
        '[protections.noise]\neps = [0.1, 0.2]\n[protections.noise.parties]\nmethod = ["csq", "dpsh"]\nbits = [8, 16]\nepochs = 1\n'
    )
    recipe = read_study(path)
    ask = hardening(recipe, "soft", "small", 5)
    assert (ask.method, ask.seed, ask.data.split_seed, ask.training.epochs) == ("saat", 5, 4, 2)
    assert ask.eps == pytest.approx(4 / 255) and ask.settings["steps"] == 3
    found = parties(recipe.protections["noise"], recipe.data["small"], 6)
    asked = [(request.method, request.model.bits, share) for request, share in found]
    assert asked == [(m, b, s) for m in ("csq", "dpsh") for b in (8, 16) for s in (0.0, 1.0)]
    assert {(request.seed, request.data.source) for request, _ in found} == {(6, "scenes")}


def test_two_cells_of_one_name_are_refused(tmp_path: Path) -> None:
    for text, name in (
        ("[models.csq]\nbits = [8, 8]\n", "two models are called csq-8"),
        ('[models.csq]\nbits = [8, 16]\n[models.csq-8]\nmethod = "csq"\n', "two models are called csq-8"),
        ("[models.csq]\n[attacks.pgd]\neps = [0.1, 0.1]\n", "two attacks are called pgd-0.1"),
    ):
        with pytest.raises(RequestError, match=name):
            plan(tmp_path, HEAD + text)


def test_joint_models_belong_to_their_data_and_seed(tmp_path: Path) -> None:
    text = 'study = "grid"\nseeds = [0, 1]\n[data.digits]\n[models.csq]\nbits = [8, 16]\n'
    text += '[attacks.pgd]\n[transfer]\nattacks = "pgd"\n'
    found = plan(tmp_path, text + 'joint = [["csq-8-seed0", "csq-16-seed0"]]\n')
    assert len(found.models) == 4
    with pytest.raises(RequestError, match="not on the same data with the same seed"):
        plan(tmp_path, text + 'joint = [["csq-8-seed0", "csq-16-seed1"]]\n')
    with pytest.raises(RequestError, match=r"unknown model in transfer\.joint 'csq-8-seed7'.*did you mean csq-8-seed"):
        plan(tmp_path, text + 'joint = [["csq-8-seed7", "csq-16-seed1"]]\n')


def test_what_set_holds_is_taken_as_it_is(tmp_path: Path) -> None:
    """Values of a recipe are those of the words of a command, and never become text again."""
    text = 'study = "grid"\n[data.digits]\n[models.csq]\nset = { lr = 0.25, augment = "flip", bogus = 1 }\n'
    with pytest.raises(RequestError, match=r"table models\.csq: unknown key bogus"):
        plan(tmp_path, text)
    (cell,) = plan(tmp_path, text.replace(", bogus = 1", "")).models
    assert cell.request == read_job({}, {"data.source": "digits"}, ["lr=0.25", "augment=flip"], kind="model")


GENERATOR = """
[attacks.prosgan]
eps = "own"
generator = { set = { reconstruction = 50 }, on = { other = { reconstruction = 100 } } }
"""


def test_a_generator_may_be_trained_otherwise_on_one_data_set(tmp_path: Path) -> None:
    text = HEAD + "[data.other]\nsource = 'scenes'\n[models.csq]\n" + GENERATOR
    recipe = read_study(written(tmp_path, text))
    part = recipe.attacks["prosgan"].generator
    weights = {name: generator_request(part, name, recipe.data[name], 0).parsed.reconstruction for name in recipe.data}
    assert weights == {"digits": 50, "other": 100}
    with pytest.raises(RequestError, match=r"attacks\.prosgan\.generator\.on names 'others', which no table is called"):
        plan(tmp_path, text.replace("other =", "others ="))
    with pytest.raises(RequestError, match=r"table attacks\.prosgan\.generator: unknown key reconstructio"):
        plan(tmp_path, text.replace("{ reconstruction = 100", "{ reconstructio = 100"))


def test_an_attack_may_take_its_radius_from_a_generator(tmp_path: Path) -> None:
    """It trains no generator of its own, and is compared with that one although neither has a radius before the run."""
    text = HEAD + "[models.csq]\n[attacks.prosgan]\neps = 'own'\ngenerator = {}\n[attacks.dhta]\n"
    found = plan(tmp_path, text + "rmse_of = 'prosgan'\n[compare]\nattacks = [['prosgan', 'dhta']]\n")
    first, second = found.attacks
    assert first.generator == second.generator and not first.equal_rmse and second.equal_rmse and second.eps is None
    for more, said in (
        ("rmse_of = 'dhta'\n", r"attacks\.dhta\.rmse_of names 'dhta', which no table is called; there are: prosgan"),
        ("rmse_of = 'prosgan'\neps = 0.1\n", "rmse_of finds eps, and takes the generator of another table"),
        ("rmse_of = 'prosgan'\n[models.dpsh]\n[transfer]\nattacks = 'dhta'\n", "transfer cannot take dhta: its eps is"),
    ):
        with pytest.raises(RequestError, match=said):
            plan(tmp_path, text + more)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[models.csq]\nbackbone = ["conv8", "vgg12"]\n',
            r"table models\.csq: unknown backbone 'vgg12'; .*did you mean vgg1",
        ),
        (
            '[protections.noise]\neps = 0.1\n[protections.noise.parties]\nmethod = "csq"\nbackbone = "resnet-18"\n',
            r"table protections\.noise\.parties: unknown backbone .*did you mean resnet18\?",
        ),
        (
            '[protections.noise]\neps = 0.1\nepochs = 3\nset = { width = 4 }\n[protections.noise.parties]\nmethod = "csq"\n',
            r"table protections\.noise: noise is not trained; leave out epochs, set",
        ),
    ],
)
def test_what_a_later_cell_would_stumble_over_is_found_first(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        plan(tmp_path, HEAD + text)
