"""Word edits: what is scored is the text read again, edits are few, the loss never rises, and one edit is the best of all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hamguard.attacks.attack import Attack
from hamguard.attacks.guides.pairs import pair_codes
from hamguard.attacks.losses.cmla import CmlaLoss
from hamguard.attacks.methods.cmla import cmla_text, cmla_words
from hamguard.attacks.threat import Linf
from hamguard.attacks.types import Attacked, EditedTexts
from hamguard.attacks.words import Draft, WordEdits
from hamguard.codes.bank import CodeBank, PairBank
from hamguard.codes.binary import relax, sign
from hamguard.core.errors import RequestError, RunError
from hamguard.core.seeds import torch_generator
from hamguard.models.minilm import WIDTH
from hamguard.models.reader import Reader
from hamguard.models.text_encoders import Sentences
from hamguard.models.text_model import TextModel
from hamguard.models.vocabulary import LONGEST, Vocabulary, phrases, terms
from tests.models.sentences import toy_vectors, use_toy_vectors

TERMS = ("red", "circle", "red circle", "blue", "square", "blue square", "green", "cross", "ground", "a", "strasse")
WORDS = Vocabulary(TERMS, 2)
NET = TextModel("mlp", len(WORDS), 8, width=24, seed=2).eval().requires_grad_(False)
READER = Reader(NET, WORDS)
TEXTS = [
    "a red circle on striped ground", "blue square", "red circle, blue square and green cross", "nothing that it knows", "",
    "RED; circle!", "a", "green, green, cross", "Straße",
]  # fmt: skip
LABELS = torch.eye(3)[torch.arange(len(TEXTS)) % 3]

tags = st.lists(st.sampled_from([*TERMS, "yellow", "on", "x", "Blue", ",", ";", " - ", "don't"]), max_size=8)
texts = st.one_of(tags.map(" ".join), st.text(max_size=30))


def reference(seed: int = 3, n: int = 9) -> PairBank:
    """Codes of pairs seen from the text side, invented."""
    own, other = (sign(torch.rand(n, 8, generator=torch_generator(seed, side)) - 0.5) for side in ("own", "other"))
    labels = torch.eye(3)[torch.arange(n) % 3]
    return PairBank.join(CodeBank.of(own, labels), CodeBank.of(other, labels))


def edit(attack: Attack, texts: list[str] = TEXTS, labels: Tensor = LABELS, bank: CodeBank | None = None) -> Attacked:
    return attack(READER, texts, labels, reference() if bank is None else bank)


def edited(found: Attacked) -> EditedTexts:
    """The texts that were made."""
    assert found.edited is not None
    return found.edited


def losses(texts: list[str] | tuple[str, ...], labels: Tensor, loss: CmlaLoss, bank: PairBank | None = None) -> Tensor:
    """The loss of texts, each read by the vocabulary."""
    bank = bank or reference()
    target = pair_codes(bank.codes, bank.other_codes, labels, torch.from_numpy(bank.labels).float())
    return loss(relax(NET.logits(WORDS.bag(texts))), target, -1)


def single_edits(text: str) -> list[str]:
    """Every text that one edit makes: a term that it does not have at the end, or a word left out that its bag needs."""
    out = [f"{text}, {term}" for term in TERMS if term not in WORDS.known(text)]
    for word in {word for part in phrases(text) for word in part}:
        parts = []
        for part in phrases(text):
            gaps = " ".join(part).split()
            parts.append(" ".join("," if one == word else one for one in gaps))
        without = ", ".join(parts)
        if WORDS.known(without) and WORDS.known(without) != WORDS.known(text):
            out.append(without)
    return out


@settings(max_examples=150, deadline=None)
@given(text=texts)
def test_a_draft_is_the_text_that_it_came_from(text: str) -> None:
    draft = Draft.of(text)
    assert phrases(draft.text) == phrases(text) == [list(part) for part in draft.parts]
    assert draft.edits == () and draft.words == {word for part in phrases(text) for word in part}


@settings(max_examples=150, deadline=None)
@given(text=texts, data=st.data())
def test_a_draft_reads_as_what_was_done_to_it(text: str, data: st.DataObject) -> None:
    draft = Draft.of(text)
    for _ in range(data.draw(st.integers(1, 4))):
        before = WORDS.known(draft.text)
        if draft.words and data.draw(st.booleans()):
            word = data.draw(st.sampled_from(sorted(draft.words)))
            draft = draft.drop(word)
            assert word not in draft.words and draft.edits[-1] == f"-{word}"
            assert set(WORDS.known(draft.text)) == {term for term in before if word not in term.split()}, (
                "dropping a word takes the terms that hold it, and makes no new ones"
            )
        else:
            tag = data.draw(st.sampled_from(TERMS))
            draft = draft.add(tag)
            assert draft.edits[-1] == f"+{tag}"
            assert set(WORDS.known(draft.text)) == {*before, *WORDS.known(tag)}
        assert phrases(draft.text) == [list(part) for part in draft.parts]


def test_a_drop_parts_the_phrase() -> None:
    draft = Draft.of("red big circle, big, a big red").drop("big")
    assert draft.text == "red, circle, a, red" and "red circle" not in terms(draft.text, 2)
    assert Draft.of("big").drop("big").text == "" and Draft.of("").add("red circle").text == "red circle"


@settings(max_examples=25, deadline=None)
@given(
    asked=st.lists(texts, min_size=1, max_size=4), most=st.integers(1, 3), candidates=st.integers(1, 20),
    intra=st.sampled_from([0.0, 1.0]), batch=st.integers(0, 5),
)  # fmt: skip
def test_edited_texts_are_read_again_few_edits_and_never_worse(
    asked: list[str], most: int, candidates: int, intra: float, batch: int
) -> None:
    labels = torch.eye(3)[(torch.arange(len(asked)) + batch) % 3]
    made = edit(cmla_words(most=most, candidates=candidates, intra=intra), asked, labels)
    found = edited(made)
    assert torch.equal(WORDS.bag(found.texts), made.x_adv), "what was scored is the text that one would type"
    before, after = losses(asked, labels, CmlaLoss(intra)), losses(found.texts, labels, CmlaLoss(intra))
    assert bool((after <= before + 1e-6).all())
    for text, made, done, gain in zip(asked, found.texts, found.edits, before - after, strict=True):
        assert len(done) <= most
        assert (made == text) == (not done), "an edited text differs, another is left as it was written"
        if not WORDS.known(text):
            assert made == text and done == ()
        if done:
            assert WORDS.known(made), "no edit leaves a text that the model cannot read"
            assert float(gain) > 0
            drafted = Draft.of(text)
            for step in done:
                drafted = drafted.add(step[1:]) if step[0] == "+" else drafted.drop(step[1:])
            assert drafted.text == made, "the list of edits makes the text"


def test_same_texts_whatever_stands_beside_them() -> None:
    first, again = edit(cmla_words(most=3)), edit(cmla_words(most=3))
    whole = edited(first)
    assert whole == edited(again)
    assert torch.equal(first.spent.forwards, again.spent.forwards)
    assert torch.equal(first.spent.backwards, again.spent.backwards)
    alone = [edited(edit(cmla_words(most=3), [text], LABELS[i : i + 1])).texts[0] for i, text in enumerate(TEXTS)]
    assert list(whole.texts) == alone
    assert any(whole.edits), "something was edited at all"
    assert whole.texts[3] == TEXTS[3] and whole.texts[4] == "" and whole.edits[3] == whole.edits[4] == ()


@pytest.mark.parametrize("intra", [0.0, 1.0])
def test_one_edit_is_the_best_of_all(intra: float) -> None:
    loss = CmlaLoss(intra)
    made = edit(cmla_words(most=1, candidates=100, intra=intra))
    found, spent = edited(made), made.spent
    kinds = set()
    for i, text in enumerate(TEXTS):
        mine = LABELS[i : i + 1]
        options = single_edits(text) if WORDS.known(text) else []
        best = min([float(losses([option], mine, loss)) for option in options], default=float("inf"))
        least = min(best, float(losses([text], mine, loss)))
        assert float(losses([found.texts[i]], mine, loss)) == pytest.approx(least, abs=1e-6), text
        kinds.update(done[0] for done in found.edits[i])
        assert int(spent.backwards[i]) == (1 if WORDS.known(text) else 0)
        assert int(spent.forwards[i]) == (2 + len(options) if WORDS.known(text) else 1)
    assert "+" in kinds


def test_a_drop_is_chosen_where_it_is_best() -> None:
    chosen = []
    for seed in range(6):
        bank = reference(seed)
        found = edited(edit(cmla_words(most=1, candidates=100), bank=bank))
        for i, done in enumerate(found.edits):
            if done and done[0][0] == "-":
                options = losses(single_edits(TEXTS[i]), LABELS[i : i + 1], CmlaLoss(), bank)
                made = losses([found.texts[i]], LABELS[i : i + 1], CmlaLoss(), bank)
                assert float(made) == pytest.approx(float(options.min()), abs=1e-6)
                chosen.append(done[0])
    assert chosen


def test_more_edits_and_more_candidates_do_no_harm() -> None:
    after = [
        float(losses(edited(edit(cmla_words(most=most, candidates=100))).texts, LABELS, CmlaLoss()).mean())
        for most in (1, 2, 4)
    ]
    assert after[0] > after[1] >= after[2]
    few = edit(cmla_words(most=1, candidates=1))
    assert int(few.spent.forwards.max()) <= 3, "own code, gradient, and the one edit that the gradient likes best"
    assert all(len(done) <= 1 for done in edited(few).edits)


def test_a_tag_of_two_words_turns_on_its_parts() -> None:
    draft = Draft.of("green").add("red circle")
    assert WORDS.known(draft.text) == ["circle", "green", "red", "red circle"]
    only = Vocabulary(("red circle", "green", "red", "circle"), 2)

    class Wants(nn.Module):
        """A net that is glad of the pair only: of its parts alone it thinks little."""

        bits = 8

        def logits(self, bag: Tensor) -> Tensor:
            score = 4 * bag[:, 0] - 1.5 * bag[:, 2] - 1.5 * bag[:, 3] - 0.5
            return score[:, None].expand(-1, 8)

    similar = CodeBank.of(-torch.ones(3, 8), torch.eye(3)[[0, 0, 0]])  # what is to be left
    glad, bank = Reader(Wants(), only), PairBank.join(similar, similar)  # type: ignore[arg-type]
    made = cmla_words(most=1, candidates=100, intra=0.0)(glad, ["green"], torch.eye(3)[:1], bank)
    found = edited(made)
    assert found.edits == (("+red circle",),) and found.texts == ("green, red circle",)
    assert made.x_adv.tolist() == [[1, 1, 1, 1]], "all three terms stand in the bag that was scored"
    tried = cmla_words(most=1, candidates=1, intra=0.0)(glad, ["green"], torch.eye(3)[:1], bank)
    assert edited(tried).edits == found.edits, "the promise of a tag counts its parts, so it is the first that is tried"


def test_long_texts_are_scored_as_they_are_read() -> None:
    long = "x;" * (LONGEST // 2 - 5) + "red"
    made = edit(cmla_words(most=1), [long], LABELS[:1])
    assert torch.equal(WORDS.bag(edited(made).texts), made.x_adv)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"most": 0}, "word edits must be at least 1, got 0"),
        ({"candidates": 0}, "candidates must be at least 1, got 0"),
    ],
)
def test_wrong_options_explain_themselves(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        cmla_words(**options)


def test_what_is_missing_is_said() -> None:
    with pytest.raises(RequestError, match="texts and labels must match, got 9 texts and 4 label rows"):
        edit(cmla_words(), labels=LABELS[:4])
    plain = CodeBank.of(reference().codes, torch.eye(3)[torch.arange(9) % 3])
    with pytest.raises(RequestError, match="cmla needs codes of pictures and of texts"):
        edit(cmla_words(), bank=plain)
    nobody = CodeBank.of(reference().codes, torch.zeros(9, 0))
    with pytest.raises(RequestError, match="cmla needs labels of the pictures and of the reference pairs"):
        edit(cmla_words(), bank=PairBank.join(nobody, nobody))
    with pytest.raises(RequestError, match="labels have 2 classes, the reference codes 3"):
        edit(cmla_words(), labels=LABELS[:, :2])
    with pytest.raises(
        RequestError, match="texts are read by the text side of a cross-modal model.*; a TextModel takes none"
    ):
        cmla_words()(NET, TEXTS, LABELS, reference())
    with pytest.raises(RequestError, match="whole words are edited in texts; give them as texts"):
        cmla_words()(READER, WORDS.bag(TEXTS), LABELS, reference())


def test_every_attack_on_texts_takes_texts_or_their_bags() -> None:
    attack = cmla_text(steps=3, norm=0.0, threat=Linf(0.2))
    texts, bags = (attack(READER, x, LABELS, reference()) for x in (TEXTS, WORDS.bag(TEXTS)))
    assert torch.equal(texts.x_adv, bags.x_adv) and not torch.equal(bags.x_adv, WORDS.bag(TEXTS))
    assert texts.edited is None, "values of bags moved, and no words"
    assert Attack(search=WordEdits(3)).ball is None


def test_a_gradient_that_is_not_finite_is_named() -> None:
    class Rooted(nn.Module):
        bits = 8

        def logits(self, bag: Tensor) -> Tensor:
            return bag.sqrt() @ torch.ones(len(WORDS), 8)

    with pytest.raises(
        RunError, match="the gradient to the text is NaN or infinite; the model's weights or outputs are broken"
    ):
        cmla_words()(Reader(Rooted(), WORDS), TEXTS, LABELS, reference())  # type: ignore[arg-type]


# --- Sentences -------------------------------------------------------------------------------------------------------


def test_sentences_are_edited_by_whole_words_that_lower_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_vectors(monkeypatch)
    net = TextModel("mlp", WIDTH, 8, width=24, seed=2).eval().requires_grad_(False)
    reader = Reader(net, Sentences(WORDS))
    asked = ["a red circle on striped ground", "zebra", "", "blue square, green cross"]
    bank, loss = reference(), CmlaLoss(1.0)
    labels = LABELS[: len(asked)]
    target = pair_codes(bank.codes, bank.other_codes, labels, torch.from_numpy(bank.labels).float())

    def scores(texts: list[str] | tuple[str, ...]) -> Tensor:
        return loss(relax(net.logits(toy_vectors(texts))), target, -1)

    found = cmla_words(most=2)(reader, asked, labels, bank)
    made = edited(found)
    assert torch.equal(found.x_adv, toy_vectors(made.texts)), "what is scored is the edited text, read again"
    assert all(len(edits) <= 2 for edits in made.edits) and any(made.edits)
    before, after = scores(asked), scores(made.texts)
    assert bool((after <= before + 1e-6).all()) and float(after.sum()) < float(before.sum()) - 1e-3
    assert all(text.strip() for text, edits in zip(made.texts, made.edits, strict=True) if edits), "none is left empty"


def test_one_edit_of_a_sentence_is_the_best_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_vectors(monkeypatch)
    net = TextModel("mlp", WIDTH, 8, width=24, seed=2).eval().requires_grad_(False)
    reader, asked, labels, bank = Reader(net, Sentences(WORDS)), ["a red circle"], LABELS[:1], reference()
    target = pair_codes(bank.codes, bank.other_codes, labels, torch.from_numpy(bank.labels).float())
    every = [*(f"a red circle, {term}" for term in TERMS if term not in WORDS.known("a red circle")),
             "red circle", "a, circle", "a red"]  # fmt: skip
    best = float(CmlaLoss(1.0)(relax(net.logits(toy_vectors(every))), target, -1).min())
    found = cmla_words(most=1, candidates=99)(reader, asked, labels, bank)
    score = float(CmlaLoss(1.0)(relax(net.logits(found.x_adv)), target, -1))
    assert score == pytest.approx(best, abs=1e-6)


def test_values_of_a_sentence_are_not_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_vectors(monkeypatch)
    reader = Reader(TextModel("mlp", WIDTH, 8, width=24, seed=2).eval(), Sentences(WORDS))
    with pytest.raises(RequestError, match="takes what minilm makes of texts, not bags of words"):
        cmla_text(steps=2)(reader, ["a red circle"], LABELS[:1], reference())
