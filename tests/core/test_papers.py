"""Every method that names a paper can be cited, and every entry belongs to something that exists."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path

import pytest

from hamguard import __version__
from hamguard.attacks.guides.registry import GUIDES
from hamguard.attacks.methods.registry import ATTACKS
from hamguard.core.errors import RequestError
from hamguard.core.papers import FILE, OWN, add_paper, papers_of, read_papers
from hamguard.defenses.registry import DEFENSES
from hamguard.evaluation.measures.registry import MEASURES
from hamguard.hashing.registry import CROSS_METHODS, OBJECTIVES, UNSUPERVISED

ROOT = Path(__file__).parents[2]
REGISTRIES = {
    "attack": (ATTACKS,),
    "defense": (DEFENSES,),
    "guide": (GUIDES,),
    "hash": (OBJECTIVES, CROSS_METHODS, UNSUPERVISED),
    "measure": (MEASURES,),
}
UNREGISTERED = {
    "attack": {"cmla-words", "query-only", "ppl", "protect"},
    "defense": {"comdefend", "detect", "minmax", "purify"},
    "protector": {"ppl"},
    "purifier": {"bits", "comdefend", "jpeg", "resize"},
    "search": {"Diverse", "nesterov", "translation"},
}
"""Names that rows have beside those of the registries."""
NAMES = [(kind, name, of[name]) for kind, each in REGISTRIES.items() for of in each for name in of]


@pytest.mark.parametrize(("kind", "name", "made"), NAMES, ids=[f"{kind}:{name}" for kind, name, _ in NAMES])
def test_a_method_that_names_a_paper_has_an_entry(kind: str, name: str, made: object) -> None:
    said = " ".join((inspect.getdoc(inspect.getmodule(made)) or "", inspect.getdoc(made) or ""))
    if re.search(r"\bPapers?( of the idea)?:", said) and name not in NO_PAPER:
        assert papers_of([f"{kind}:{name}"]), f"{kind}:{name} names a paper and has no entry in {FILE.name}"


NO_PAPER = {"pca", "optimal"}  # share a file with others that have one


def test_every_entry_belongs_to_something_and_has_its_facts() -> None:
    known = {f"{kind}:{name}" for kind, name, _ in NAMES}
    known |= {f"{kind}:{name}" for kind, names in UNREGISTERED.items() for name in names}
    papers = read_papers(FILE.read_text(encoding="utf-8"))
    assert len({paper.key for paper in papers}) == len(papers) == FILE.read_text(encoding="utf-8").count("\n@")
    for paper in papers:
        assert paper.used_by <= known, f"{paper.key}: {paper.used_by - known} is nothing"
        assert "hamguard" not in paper.bibtex and re.search(r"year +=", paper.bibtex), paper.key
        assert paper.bibtex.count("{") == paper.bibtex.count("}"), paper.key


def test_a_paper_of_ones_own_is_cited() -> None:
    add_paper("@misc{me2026,\n  title = {Mine},\n  hamguard = {attack:mine-alone},\n}\n")
    (paper,) = papers_of(["attack:mine-alone"])
    assert paper.bibtex == "@misc{me2026,\n  title = {Mine},\n}"
    with pytest.raises(RequestError, match=r"the BibTeX entry me needs a field hamguard = "):
        add_paper("@misc{me,\n  title = {Mine},\n}")
    with pytest.raises(RequestError, match=r"me: attak:hag must be KIND:NAME with a kind of attack, defense"):
        add_paper("@misc{me,\n  hamguard = {attak:hag},\n}")
    with pytest.raises(RequestError, match="no BibTeX entry: it begins with"):
        add_paper("me, 2026")


def test_hamguard_itself() -> None:
    said = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"version: {__version__}\n" in said and f"license: {project['license']}\n" in said
    assert "name: The hamguard developers\n" in said and project["authors"] == [{"name": "The hamguard developers"}]
    assert f"{{{__version__}}}" in OWN and "{{The hamguard developers}}" in OWN and project["license"] in OWN
