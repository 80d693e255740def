"""What `hamguard engine check` asks, held against engines with known faults."""

import os
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
    Finding,
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
from hamguard.retrieval.stores.milvus_client import release

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
    return subprocess.run([sys.executable, "fault.py"], capture_output=True, text=True, timeout=60, cwd=tmp_path)


def supposed(form, question, setting=None, drawing=SMALL):
    """A finding that says there is a fault."""
    return Finding(question, drawing, "misses", wrong=(setting or question.settings[-1], Missed(1, 1, 0)))


@pytest.mark.parametrize("name", FORMS.names())
def test_no_file_of_a_fault_has_40_lines(name, monkeypatch):
    kind = FORMS[name]
    monkeypatch.setattr(kind, "version", lambda self: "one 1.0")
    form, written = object.__new__(kind), 0  # what it needs may not be installed
    for question in QUESTIONS:
        if not all(hasattr(form, need) for need in question.needs):
            continue
        for setting in question.settings:
            text = fault_script(name, form, supposed(form, question, setting, Drawing(5000, 200, 0.9, 0)))
            assert text.count("\n") < 40, text
            assert max(map(len, text.splitlines())) < 140, text
            compile(text, name, "exec")
            assert name == "hamguard" or "hamguard" not in text.replace("hamguard_check", "").splitlines()[1:]
            written += 1
    assert written > 20


def test_a_fault_is_a_file_that_shows_it(tmp_path):
    drawing = Drawing(3000, 200, 0.9, 0)
    found = asked(FaissHnsw(), next(one for one in QUESTIONS if one.name == "equal codes"), drawing)
    text = fault_script("faiss-hnsw", FaissHnsw(), found)
    assert text.count("\n") < 40 and "hamguard." not in text.replace("Found by hamguard 0.1.0.", "")
    done = run(text, tmp_path)
    assert f"{found.judged.missed} of 200 answers are wrong" in done.stderr and done.returncode == 1


@pytest.mark.parametrize("name", ["faiss-flat", "usearch-exact", "hamguard"])
def test_a_file_of_an_engine_that_is_right_says_nothing(name, tmp_path):
    if name == "usearch-exact":
        pytest.importorskip("usearch", reason="no usearch here: it is the extra `usearch`")
    form = form_maker(name)()
    for question in QUESTIONS if name != "hamguard" else QUESTIONS[:1]:
        if asked(form, question, SMALL).outcome == "right":
            assert run(fault_script(name, form, supposed(form, question)), tmp_path).stderr == "", question.name


def test_a_file_of_what_fails_fails_alike(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "class Mine:\n    def build(self, codes, bits, labels): pass\n    def search(self, query, k): raise OSError('full')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    form = form_maker("mine:Mine")()
    found = asked(form, QUESTIONS[0], SMALL)
    text = fault_script("mine:Mine", form, found)
    assert found.outcome == "failed" and "OSError: full" in text.splitlines()[0]
    assert run(text, tmp_path).stderr.endswith("OSError: full\n")


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


def promises(name, questions, tmp_path):
    """Ask an engine some questions, and one again by the file of a fault; what came out, by question."""
    form = form_maker(name)()
    found = [asked(form, question, TINY) for question in questions]
    for one in found:
        kept = one.outcome in ("right", "not offered") or (one.outcome == "misses" and not is_exact(form))
        assert kept or (one.outcome == "refused" and one.question.edge), one
    radius = next((one for one in found if one.question.name.startswith("radius") and one.outcome == "right"), None)
    text = fault_script(name, form, supposed(form, (radius or found[0]).question, drawing=TINY))
    version = version_of(form)
    if hasattr(form, "close"):
        form.close()
    if name.startswith("milvus://"):
        release(name.removeprefix("milvus://").partition("#")[0])  # a file is open in one process at a time
    again = run(text, tmp_path)
    assert again.returncode == 0 or (not is_exact(form) and "answers are wrong" in again.stderr), again.stderr
    return {one.question.name: one.outcome for one in found}, version


@pytest.mark.parametrize("name", ["pgvector-scan", "pgvector-hnsw", "pgvector-ivf"])
def test_pgvector(name, server, postgres, tmp_path):
    import psycopg

    outcomes, version = promises(name, SHORT if name == "pgvector-scan" else FEW, tmp_path)
    assert version.startswith("pgvector 0.") and outcomes["equal codes"] in ("right", "misses")
    if name == "pgvector-scan":
        assert {*outcomes.values()} == {"right"}
    with psycopg.connect(postgres) as connection:
        left = connection.execute("select tablename from pg_tables where tablename like 'hamguard_check%'").fetchall()
        assert left == [("hamguard_check",)]  # of the file of a fault, which is no part of the check
        connection.execute("drop table hamguard_check")


def test_a_server_without_pgvector_is_named(monkeypatch):
    pytest.importorskip("psycopg", reason="no psycopg here: it is the extra `postgres`")
    monkeypatch.setenv("PGHOST", "/nowhere")
    with pytest.raises(
        RequestError, match="PGHOST, PGUSER and PGDATABASE must name a server with pgvector: connection"
    ):
        form_maker("pgvector-scan")()


def test_milvus(milvus, tmp_path):
    outcomes, version = promises("milvus-flat", SHORT, tmp_path)
    assert version.startswith("milvus-lite ") and {*outcomes.values()} == {"right"}


CHECK = """
import os, signal, sys, time
from hamguard.cli.main import run
from hamguard.evaluation.search import engine_run
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background hands down that it is ignored
if sys.argv[1] == "stopped":
    engine_run._count = lambda *said: (os.kill(os.getpid(), signal.SIGINT), time.sleep(30))  # it is heard here
sys.argv[1:] = "engine check milvus-flat --items 100 --queries 2 --collapse 0".split()
run()
"""


@pytest.mark.parametrize(("how", "code", "said"), [("done", 0, ""), ("stopped", 130, "hamguard: stopped\n")])
def test_milvus_leaves_nothing_behind(how, code, said, milvus, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    words = [sys.executable, "-c", CHECK, how]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, env={**os.environ, "TMPDIR": str(place)})
    left = [
        one.name for one in place.iterdir() if not one.name.startswith("milvus.")
    ]  # milvus-lite keeps a journal there
    assert (done.returncode, left) == (code, []) and done.stderr.endswith(said), done


@pytest.mark.parametrize("kind", ["postgres", "milvus"])
def test_an_index_at_an_address(kind, request, tmp_path):
    outcomes, version = promises(f"{request.getfixturevalue(kind)}#checked", FEW, tmp_path)
    assert version.startswith("hamguard ") and {*outcomes.values()} == {"right"}
