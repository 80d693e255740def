"""WordPiece: a text to the numbers of pieces of words, as BERT's uncased models were trained with.

Source: J. Devlin, M.-W. Chang, K. Lee, K. Toutanova, "BERT", NAACL 2019, and the tokenizer of its uncased models: control letters
go, accents go, letters become small, punctuation and Chinese characters are words of their own; of a word the longest known
beginning is cut off until nothing is left. Names of special pieces that stand in a text are read as words.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

UNKNOWN, BEGIN, END = "[UNK]", "[CLS]", "[SEP]"
LONGEST_WORD = 100
"""Characters of a word; a longer one is unknown."""
CHINESE = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
           (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))  # fmt: skip
"""Blocks of characters that are words of their own."""


def words_of(text: str) -> list[str]:
    """The words and marks of a text in small letters without accents.

    >>> words_of("Zürich's naïve test!")
    ['zurich', "'", 's', 'naive', 'test', '!']
    """
    spaced = "".join(_spaced(letter) for letter in text)
    plain = "".join(one for one in unicodedata.normalize("NFD", spaced) if unicodedata.category(one) != "Mn")
    marked = "".join(f" {one} " if _is_mark(one) else one.lower() for one in plain)
    return marked.split()


def _spaced(letter: str) -> str:
    """A space for any blank, nothing for a control character, a Chinese character between spaces, else the letter itself."""
    if letter.isspace():
        return " "
    if letter == "\ufffd" or unicodedata.category(letter)[0] == "C":
        return ""
    number = ord(letter)
    return f" {letter} " if any(first <= number <= last for first, last in CHINESE) else letter


def _is_mark(letter: str) -> bool:
    """Punctuation, and all of ASCII that is neither letter, digit nor blank."""
    return unicodedata.category(letter)[0] == "P" or (
        letter.isascii() and letter.isprintable() and not (letter.isalnum() or letter == " ")
    )


class WordPiece:
    """A list of pieces at work.

    Args:
        pieces: one a number; those inside a word begin with `##`.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        self.number = {piece: number for number, piece in enumerate(pieces)}

    def numbers(self, text: str, longest: int) -> list[int]:
        """Numbers of the pieces of a text between begin and end, at most `longest` with both.

        >>> WordPiece(["[UNK]", "[CLS]", "[SEP]", "surf", "##board", "a"]).numbers("A surfboard, x", 6)
        [1, 5, 3, 4, 0, 2]
        """
        found = [number for word in words_of(text) for number in self._pieces(word)]
        return [self.number[BEGIN], *found[: longest - 2], self.number[END]]

    def _pieces(self, word: str) -> list[int]:
        """Numbers of a word's pieces; that of the unknown piece where some part of it is unknown."""
        found: list[int] = []
        start = 0
        while start < len(word) <= LONGEST_WORD:
            beginnings = (("##" if start else "") + word[start:end] for end in range(len(word), start, -1))
            piece = next((one for one in beginnings if one in self.number), None)
            if piece is None:
                break
            found.append(self.number[piece])
            start += len(piece) - (2 if start else 0)
        return found if start == len(word) else [self.number[UNKNOWN]]
