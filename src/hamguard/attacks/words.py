"""Texts that a person could type: CMLA's loss lowered by adding or dropping whole words, at most a few (ours, no paper).

The continuous attack moves a bag of words to values that no text has. Here the text itself is edited: a tag of the vocabulary is
added at the end, or a word is left out, and what is scored is the bag of the edited text, read again like any other. Each round
takes the gradient at the present bag, ranks all edits by what it promises, tries the best of them exactly, and keeps the best one
if the loss falls (greedy, after the flips of J. Ebrahimi et al., "HotFlip", ACL 2018). A bag of words changes by a one for each new
term; the vector of a sentence encoder is taken to go toward that of the word alone, by one part in as many as there are words then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hamguard.attacks.attack import Attack
from hamguard.attacks.problem import Problem
from hamguard.attacks.types import Carrier, EditedTexts, SearchProblem, Victim
from hamguard.codes.binary import relax, sign
from hamguard.core.checks import check_range
from hamguard.core.errors import RequestError
from hamguard.models.reader import Reader
from hamguard.models.vocabulary import phrases


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
class WordEdits(Carrier):
    """Adds or drops at most a few words; the search of `cmla_words`.

    Attributes:
        most: edits a text.
        candidates: edits that are tried exactly in each round.
    """

    most: int = 2
    candidates: int = 16
    soft = True  # words have no radius

    def __post_init__(self) -> None:
        check_range("word edits", self.most, 1)
        check_range("candidates", self.candidates, 1)

    def check(self, x: Tensor, labels: Tensor | None) -> None:
        """Check that there is a label row a text.

        Raises:
            RequestError: numbers that differ.
        """
        if labels is not None and len(x) != len(labels):
            raise RequestError(f"texts and labels must match, got {len(x)} texts and {len(labels)} label rows")

    def own_code(self, model: Victim, x: Tensor) -> Tensor | None:
        """The codes of sentences, whose vectors are not looked at for values in [0, 1]; those of bags of words are made as any."""
        if not isinstance(model, Reader) or model.encoder.name == "words":
            return None
        with torch.no_grad():
            return sign(model.logits(x))

    @property
    def budget(self) -> dict[str, Any]:
        """The number of edits."""
        return {"norm": "words", "eps": self.most, "steps": self.most}

    def shown(self, attack: Attack) -> dict[str, Any]:
        """Edits, loss and guide."""
        own = {"most": self.most, "candidates": self.candidates}
        return {"kind": "WordEdits", **own, "loss": attack.loss, "guide": attack.guide}

    def __call__(self, problem: SearchProblem) -> Tensor:
        """Bags of the edited texts, `(B, V)`; a text without a known word stays as it is. The texts go to `problem.edited`.

        Raises:
            RequestError: pictures or bags are attacked, or several models together.
            RunError: the gradient is not finite.
        """
        if not isinstance(problem, Problem) or not isinstance(problem.model, Reader) or not problem.texts:
            raise RequestError("whole words are edited in texts; give them as texts, with `model.reader` to read them")
        reader, texts, spent = problem.model, problem.texts, problem.spent
        drafts, bags = [Draft.of(text) for text in texts], problem.x.clone()  # (B, V)
        alone = reader.bag(reader.vocabulary.words).to(bags)  # of each term as a text of its own, (W, V)
        live = [row for row in range(len(texts)) if bool(bags[row].any())]
        for _ in range(self.most):
            if not live:
                break
            rows = torch.tensor(live)
            slope, loss, _wrong = problem.gradient(bags[rows], rows, 1.0)
            still = []
            for place, row in enumerate(live):
                tried = self._candidates(drafts[row], bags[row], slope[place], alone, reader)
                if not tried:
                    continue
                found = reader.bag([draft.text for draft in tried])  # (c, V)
                with torch.no_grad():
                    mine = rows[place : place + 1]  # one guide for all candidates of a text
                    scores = problem.scored(relax(reader.logits(found)), mine)  # (c,)
                spent.forwards[row] += len(tried)
                best = int(scores.argmin())
                if float(scores[best]) < float(loss[place]):
                    drafts[row], bags[row] = tried[best], found[best]
                    still.append(row)
            live = still
        shown = tuple(draft.text if draft.edits else text for draft, text in zip(drafts, texts, strict=True))
        problem.edited = EditedTexts(shown, tuple(draft.edits for draft in drafts))
        return bags

    def _candidates(self, draft: Draft, bag: Tensor, slope: Tensor, alone: Tensor, reader: Reader) -> list[Draft]:
        """The edits that the gradient likes best; none leaves a text that says nothing."""
        vocabulary = reader.vocabulary
        new = alone if reader.encoder.name == "words" else (alone - bag) / (1 + sum(map(len, draft.parts)))
        held = vocabulary.bag([draft.text])[0].to(bag) > 0  # terms that the text has, (W,)
        gain = torch.where(held, float("inf"), new @ slope)  # what adding each term promises, (W,)
        likely = gain.topk(min(self.candidates, len(gain)), largest=False)
        ranked: list[tuple[float, Draft]] = []
        for value, column in zip(likely.values.tolist(), likely.indices.tolist(), strict=True):
            if value < float("inf"):
                ranked.append((value, draft.add(vocabulary.words[column])))
        shorter = [draft.drop(word) for word in sorted(draft.words)]
        shorter = [one for one in shorter if reader.encoder.reads(one.text)]
        left = reader.bag([one.text for one in shorter]) - bag  # (w, V)
        changed = left.any(1)
        promised = (left @ slope).tolist()
        ranked += [
            (promise, one) for promise, one, moves in zip(promised, shorter, changed.tolist(), strict=True) if moves
        ]
        ranked.sort(key=lambda pair: (pair[0], pair[1].edits))
        return [one for _, one in ranked[: self.candidates]]
