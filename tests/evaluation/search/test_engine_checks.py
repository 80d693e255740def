"""What `hamguard engine check` asks, held against engines with known faults."""

import subprocess
import sys

import numpy as np
import pytest

from hamguard.codes.binary import hamming
from hamguard.core.errors import RequestError
from hamguard.evaluation.search.engine_checks import FAR, QUESTIONS, REMEDY, brute_force, draw, pack
from hamguard.evaluation.search.engine_fault import fault_script
from hamguard.evaluation.search.engine_run import (
    Drawing,
    Missed,
    asked,
    check_form,
    judge,
    row_of,
    shows_fault,
)
from hamguard.retrieval.forms.faiss_forms import FaissFlat, FaissHnsw
from hamguard.retrieval.forms.named import form_maker
from hamguard.retrieval.forms.registry import FORMS, is_exact, version_of

SMALL = Drawing(300, 20, 0.9, 0)


@pytest.mark.parametrize("collapse", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("bits", [12, 32, 70])
def test_codes_collapse_as_much_as_is_said(bits, collapse):
    codes, query = draw(0, 1000, bits, collapse, 50)
    assert codes.shape == (1000, bits) and len(np.unique(codes, axis=0)) == round(1000 * (1 - collapse))
    counts = np.unique(codes, axis=0, return_counts=True)[1]
    assert counts.max() == 1 if collapse == 0 else counts.max() > 4
    assert query.shape == (50, bits) and brute_force(query, codes).min(axis=1)[::2].max() == 0
    assert np.array_equal(brute_force(query, codes), hamming(pack(query), pack(codes)))


def test_answers_are_judged():
    right = np.array([[0, 1, 1, 5], [2, FAR, 3, 3]])

    def of(distances, numbers):
        return tuple(judge(np.array(distances), np.array(numbers), right))

    assert of([[0, 1], [2, 3]], [[0, 2], [0, 3]]) == (4, 0, 0)
    assert of([[0, 5], [2, 3]], [[0, 3], [0, 3]]) == (4, 1, 0)  # farther than there is
    assert of([[0, -1], [2, 3]], [[0, -1], [0, 2]]) == (4, 1, 0)  # nothing where there is something
    assert of([[0, 1], [2, 3]], [[0, 3], [0, 2]]) == (4, 1, 1)  # another distance than the item's
    assert of([[0, 0], [2, 3]], [[0, 0], [0, 2]]) == (4, 1, 1)  # an item twice
    assert of([[0, 1], [2, 2]], [[0, 1], [0, 1]]) == (4, 1, 1)  # one that may not be there
    assert of([[0, 1], [2, 2]], [[0, 1], [0, 9]]) == (4, 1, 1)  # and one that is not
    assert of([[1, 0], [2, 3]], [[1, 0], [0, 2]])[2] == 1  # a wrong order
    assert of([[0, 1, 1, 5, -1], [2, 3, 3, -1, -1]], [[0, 1, 2, 3, -1], [0, 2, 3, -1, -1]]) == (7, 0, 0)
    assert tuple(judge(np.zeros((2, 1)), np.full((2, 1), -1), np.zeros((2, 0), int))) == (0, 0, 0)


def test_there_are_twelve_and_a_remedy():
    assert len([one for one in QUESTIONS if one.name != REMEDY]) == 12
    assert len({one.name for one in QUESTIONS}) == 13


def test_exact_engines_keep_their_promise():
    for name in ("faiss-flat", "hamguard"):
        for form, found in check_form(form_maker(name), [SMALL, Drawing(300, 20, 0.0, 1)]):
            assert found.outcome in ("right", "refused", "not offered"), (name, found)
            assert is_exact(form) and not shows_fault(form, found)
            assert found.outcome != "refused" or (name, found.question.name) == ("hamguard", "few items, one, none")


def test_a_graph_misses_copies_and_finds_each_code_once():
    found = {one.question.name: one for _, one in check_form(FaissHnsw, [Drawing(3000, 200, 0.9, 0)])}
    equal, once = found["equal codes"], found[REMEDY]
    assert equal.outcome == "misses" and equal.judged.missed >= 10 and equal.judged.false == 0
    assert once.outcome == "right" and once.judged.places == 200
    assert found["items removed and put back"].outcome == "not offered"
    assert found["the same bits turned everywhere"].differs is not None


class Spoiled(FaissFlat):
    """An engine that says it is exact, with one fault."""

    fault = ""

    def search(self, query, k):
        distances, numbers = super().search(query, k)
        if self.fault == "last":
            numbers[:, -1] = -1
        if self.fault == "distance":
            distances = distances + 1
        if self.fault == "twice":
            numbers[:, -1], distances[:, -1] = numbers[:, 0], distances[:, 0]
        if self.fault == "raises" and k == 10:
            raise RuntimeError("no\nroom")
        return distances, numbers

    def remove(self, numbers):
        self.gone = numbers  # and nothing is


@pytest.mark.parametrize(
    ("fault", "outcome"), [("last", "misses"), ("distance", "wrong"), ("twice", "wrong"), ("raises", "failed")]
)
def test_faults_are_found(fault, outcome):
    form = Spoiled()
    form.fault = fault
    found = asked(form, QUESTIONS[0], SMALL)
    assert found.outcome == outcome and shows_fault(form, found) and found.wrong[0] == {"bits": 12}
    row = row_of("spoiled", form, found)
    assert row.attack["outcome"] == outcome and row.model == "spoiled" and row.method.startswith("faiss-cpu ")
    assert row.notes == (("RuntimeError: no room",) if fault == "raises" else ())


def test_an_engine_that_does_not_remove_says_what_is_not_true():
    question = next(one for one in QUESTIONS if "remove" in one.needs)
    assert asked(Spoiled(), question, SMALL).outcome == "wrong"


def run(text, tmp_path):
    (tmp_path / "fault.py").write_text(text)
    return subprocess.run([sys.executable, tmp_path / "fault.py"], capture_output=True, text=True, timeout=60)


def test_a_fault_is_a_file_that_shows_it(tmp_path):
    drawing = Drawing(3000, 200, 0.9, 0)
    found = asked(FaissHnsw(), next(one for one in QUESTIONS if one.name == "equal codes"), drawing)
    text = fault_script("faiss-hnsw", FaissHnsw(), found)
    assert text.count("\n") < 40 and "hamguard." not in text.replace("Found by hamguard 0.1.0.", "")
    done = run(text, tmp_path)
    assert f"{found.judged.missed} of 200 answers are wrong" in done.stderr and done.returncode == 1


@pytest.mark.parametrize("name", ["faiss-flat", "usearch-exact"])
def test_a_file_of_an_engine_that_is_right_says_nothing(name, tmp_path):
    if name == "usearch-exact":
        pytest.importorskip("usearch", reason="no usearch here: it is the extra `usearch`")
    for question in QUESTIONS:
        form = form_maker(name)()
        found = asked(form, question, SMALL)
        if found.outcome == "right":
            found.wrong = (question.settings[-1], found.judged)
            text = fault_script(name, form, found)
            assert text.count("\n") < 40, question.name
            assert run(text, tmp_path).stderr == "", question.name


def test_engines_by_name():
    assert {"faiss-flat", "faiss-ivf", "faiss-hnsw", "hamguard", "usearch-hnsw"} <= {*FORMS.names()}
    assert form_maker("hamguard.retrieval.forms.faiss_forms:FaissFlat") is FaissFlat
    assert version_of(FaissFlat()).startswith("faiss-cpu ") and version_of(object()) == ""
    for name, said in (
        ("faiss-flatt", "unknown engine 'faiss-flatt'"),
        ("nowhere:make", "engine nowhere:make: No module named"),
        ("hamguard.retrieval.forms.faiss_forms:Nothing", "has no attribute"),
        ("hamguard:__version__", "is no factory"),
    ):
        with pytest.raises(RequestError, match=said):
            form_maker(name)


def test_an_engine_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch", None)
    with pytest.raises(RequestError, match=r"needs usearch: pip install 'hamguard\[usearch\]'"):
        form_maker("usearch-hnsw")()


@pytest.mark.parametrize("name", ["usearch-exact", "usearch-hnsw"])
def test_usearch(name):
    pytest.importorskip("usearch", reason="no usearch here: it is the extra `usearch`")
    for form, found in check_form(form_maker(name), [SMALL]):
        assert found.outcome in ("right", "not offered") or (found.outcome == "misses" and not is_exact(form)), found


TINY = Drawing(150, 5, 0.9, 0)
SHORT = [one for one in QUESTIONS if len(one.settings) < 6]
FEW = [one for one in QUESTIONS if one.needs or one.name == "equal codes"]


@pytest.fixture
def server(postgres, monkeypatch):
    """A server that the variables of PostgreSQL name."""
    from psycopg import conninfo

    parts = conninfo.conninfo_to_dict(postgres)
    for variable, part in (("PGHOST", "host"), ("PGUSER", "user"), ("PGDATABASE", "dbname")):
        monkeypatch.setenv(variable, str(parts[part]))


def promises(name, questions):
    """Ask an engine some questions; what came out, by question."""
    form = form_maker(name)()
    found = [asked(form, question, TINY) for question in questions]
    for one in found:
        kept = one.outcome in ("right", "not offered") or (one.outcome == "misses" and not is_exact(form))
        assert kept or (one.outcome == "refused" and one.question.edge), one
        if one.outcome != "not offered" and not name.count("//"):
            one.wrong = (one.question.settings[-1], Missed(1, 1, 0))
            text = fault_script(name, form, one)
            assert text.count("\n") < 55, f"{one.question.name}\n{text}"  # servers need more words
    version = version_of(form)
    if hasattr(form, "close"):
        form.close()
    return {one.question.name: one.outcome for one in found}, version


@pytest.mark.parametrize("name", ["pgvector-scan", "pgvector-hnsw", "pgvector-ivf"])
def test_pgvector(name, server, postgres):
    import psycopg

    outcomes, version = promises(name, SHORT if name == "pgvector-scan" else FEW)
    assert version.startswith("pgvector 0.") and outcomes["equal codes"] in ("right", "misses")
    if name == "pgvector-scan":
        assert {*outcomes.values()} == {"right"}
    with psycopg.connect(postgres) as connection:
        assert not connection.execute("select from pg_tables where tablename like 'hamguard_check%'").fetchall()


def test_a_server_without_pgvector_is_named(monkeypatch):
    pytest.importorskip("psycopg", reason="no psycopg here: it is the extra `postgres`")
    monkeypatch.setenv("PGHOST", "/nowhere")
    with pytest.raises(
        RequestError, match="PGHOST, PGUSER and PGDATABASE must name a server with pgvector: connection"
    ):
        form_maker("pgvector-scan")()


def test_milvus(milvus):
    outcomes, version = promises("milvus-flat", SHORT)
    assert version.startswith("milvus-lite ") and {*outcomes.values()} == {"right"}


@pytest.mark.parametrize("kind", ["postgres", "milvus"])
def test_an_index_at_an_address(kind, request):
    outcomes, version = promises(f"{request.getfixturevalue(kind)}#checked", FEW)
    assert version.startswith("hamguard ") and {*outcomes.values()} == {"right"}
