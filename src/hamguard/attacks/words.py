"""Texts that a person could type: CMLA's loss lowered by adding or dropping whole words, at most a few (ours, no paper).

The continuous attack moves a bag of words to values that no text has. Here the text itself is edited: a tag of the vocabulary is
added at the end, or a word is left out, and what is scored is the bag of the edited text, read again like any other. Each round
takes the gradient at the present bag, ranks all edits by what it promises, tries the best of them exactly, and keeps the best one
if the loss falls (greedy, after the flips of J. Ebrahimi et al., "HotFlip", ACL 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hamguard.attacks.attack import clean_code
from hamguard.attacks.guides.pairs import CrossCodes, PairCodes
from hamguard.attacks.losses.cmla import CmlaLoss
from hamguard.attacks.types import Loss
from hamguard.codes.bank import CodeBank
from hamguard.codes.binary import relax
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError, RunError
from hamguard.models.text_model import TextModel
from hamguard.models.vocabulary import Vocabulary, phrases, terms


@dataclass(frozen=True)
class Draft:
    """A text under edit: its phrases, and how it came to be.

    Attributes:
        parts: phrases of words; a comma stands between two of them.
        edits: what was done, `+tag` or `-word`.
    """

    parts: tuple[tuple[str, ...], ...]
    edits: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> Draft:
        """A text as it is."""
        return cls(tuple(tuple(part) for part in phrases(text)))

    @property
    def text(self) -> str:
        """What one would type."""
        return ", ".join(" ".join(part) for part in self.parts)

    @property
    def words(self) -> set[str]:
        """Its single words."""
        return {word for part in self.parts for word in part}

    def add(self, tag: str) -> Draft:
        """With a tag of one or more words at the end."""
        return Draft((*self.parts, tuple(tag.split())), (*self.edits, f"+{tag}"))

    def drop(self, word: str) -> Draft:
        """Without a word; the words around it stand in phrases of their own."""
        parts: list[tuple[str, ...]] = []
        for part in self.parts:
            run: list[str] = []
            for one in (*part, word):  # the word itself closes the last run
                if one == word:
                    if run:
                        parts.append(tuple(run))
                    run = []
                else:
                    run.append(one)
        return Draft(tuple(parts), (*self.edits, f"-{word}"))


@dataclass(frozen=True)
class EditedTexts:
    """What edits left.

    Attributes:
        texts: the edited texts.
        edits: what was done to each, `+tag` or `-word`.
        bags: their bags, `(B, D)`.
        forwards: forward passes spent on each, `(B,)`.
        backwards: backward passes, `(B,)`.
    """

    texts: tuple[str, ...]
    edits: tuple[tuple[str, ...], ...]
    bags: Tensor
    forwards: Tensor
    backwards: Tensor


@dataclass(frozen=True)
class WordEdits:
    """Adds or drops at most a few words.

    Attributes:
        most: edits a text.
        candidates: edits that are tried exactly in each round.
        loss: what is lowered.
        guide: the codes that it compares with.
    """

    most: int = 2
    candidates: int = 16
    loss: Loss[PairCodes] = field(default_factory=CmlaLoss)
    guide: CrossCodes = field(default_factory=CrossCodes)

    def __post_init__(self) -> None:
        check_range("word edits", self.most, 1)
        check_range("candidates", self.candidates, 1)

    def __call__(
        self,
        model: TextModel,
        vocabulary: Vocabulary,
        texts: Sequence[str],
        labels: Tensor,
        bank: CodeBank,
    ) -> EditedTexts:
        """Edit texts.

        Args:
            model: the text net, frozen, in evaluation mode.
            vocabulary: its words.
            texts: what to edit; one without a known word stays as it is.
            labels: their labels, `(B, C)`, where the net is.
            bank: pairs seen from the text side.

        Raises:
            RequestError: a guide without what it needs, or numbers that differ.
            RunError: the gradient is not finite.
        """
        if len(texts) != len(labels):
            raise RequestError(f"texts and labels must match, got {len(texts)} texts and {len(labels)} label rows")
        drafts = [Draft.of(text) for text in texts]
        bags = vocabulary.bag(texts).to(labels.device)  # (B, D)
        target = self.guide(clean_code(model, bags), labels, bank, range(len(texts)), 0)
        closed = _closure(vocabulary).to(labels.device)
        forwards, backwards = torch.ones(len(texts), dtype=torch.int64), torch.zeros(len(texts), dtype=torch.int64)
        live = [row for row in range(len(texts)) if bool(bags[row].any())]
        for _ in range(self.most):
            if not live:
                break
            rows = torch.tensor(live)
            slope, loss = self._gradient(model, bags[rows], target.select(rows))
            forwards[rows] += 1
            backwards[rows] += 1
            gain = slope @ closed.T  # what adding each term promises, where all its parts are new, (b, D)
            still = []
            for place, row in enumerate(live):
                tried = self._candidates(drafts[row], bags[row], slope[place], gain[place], vocabulary)
                if not tried:
                    continue
                found = vocabulary.bag([draft.text for draft in tried]).to(bags)  # (c, D)
                with torch.no_grad():
                    mine = target.select(rows[place : place + 1])
                    scores = self.loss(relax(model.logits(found)), mine, -1)  # (c,)
                forwards[row] += len(tried)
                best = int(scores.argmin())
                if float(scores[best]) < float(loss[place]):
                    drafts[row], bags[row] = tried[best], found[best]
                    still.append(row)
            live = still
        shown = tuple(draft.text if draft.edits else text for draft, text in zip(drafts, texts, strict=True))
        return EditedTexts(shown, tuple(draft.edits for draft in drafts), bags, forwards, backwards)

    def _gradient(self, model: TextModel, bags: Tensor, target: PairCodes) -> tuple[Tensor, Tensor]:
        at = bags.clone().requires_grad_()
        with torch.enable_grad():
            loss = self.loss(relax(model.logits(at)), target, -1)  # (b,)
            (slope,) = torch.autograd.grad(loss.sum(), at)
        if not bool(slope.isfinite().all()):
            raise RunError("the gradient to the text is NaN or infinite; the model's weights are broken")
        return slope, loss.detach()

    def _candidates(
        self, draft: Draft, bag: Tensor, slope: Tensor, gain: Tensor, vocabulary: Vocabulary
    ) -> list[Draft]:
        """The edits that the gradient likes best; none leaves a text without a known word."""
        likely = torch.where(bag > 0, float("inf"), gain).topk(min(self.candidates, len(bag)), largest=False)
        ranked: list[tuple[float, Draft]] = []
        for value, column in zip(likely.values.tolist(), likely.indices.tolist(), strict=True):
            if value < float("inf"):
                ranked.append((value, draft.add(vocabulary.words[column])))
        for word in sorted(draft.words):
            without = draft.drop(word)
            kept = vocabulary.known(without.text)
            lost = [column for column in bag.nonzero().flatten().tolist() if vocabulary.words[column] not in kept]
            if kept and lost:
                ranked.append((-float(slope[lost].sum()), without))
        ranked.sort(key=lambda pair: (pair[0], pair[1].edits))
        return [one for _, one in ranked[: self.candidates]]


def _closure(vocabulary: Vocabulary) -> Tensor:
    """Row i: the columns that a text of term i alone holds, `(D, D)` in {0, 1}."""
    out = torch.zeros(len(vocabulary), len(vocabulary))
    for row, word in enumerate(vocabulary.words):
        out[row, [vocabulary.column[term] for term in terms(word, vocabulary.ngrams) if term in vocabulary.column]] = (
            1.0
        )
    return out
