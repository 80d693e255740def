"""What to cite for what: the papers of methods, attacks, guides, defenses, protectors and measures, kept in `papers.bib`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hamguard import __version__
from hamguard.core.errors import RequestError

FILE = Path(__file__).with_name("papers.bib")
KINDS = ("attack", "defense", "guide", "hash", "measure", "protector", "purifier", "search")
OWN = f"""@software{{hamguard,
  author    = {{{{The hamguard developers}}}},
  title     = {{hamguard: a robustness workbench for hash-based image retrieval}},
  version   = {{{__version__}}},
  license   = {{Apache-2.0}},
}}"""
"""hamguard itself."""
_ENTRY = re.compile(r"^@(\w+)\{([^,\s]+),\n(.*?)^\}", re.DOTALL | re.MULTILINE)
_USED = re.compile(r"^ *hamguard *= *\{([^}]*)\},?\n", re.MULTILINE)


@dataclass(frozen=True)
class Paper:
    """An entry.

    Attributes:
        key: its BibTeX key.
        bibtex: the entry as it is to be cited.
        used_by: what of this package it belongs to, `KIND:NAME`, e.g. `attack:hag`.
    """

    key: str
    bibtex: str
    used_by: frozenset[str]


_OF_ONES_OWN: dict[str, Paper] = {}


@cache
def _shipped() -> dict[str, Paper]:
    return {paper.key: paper for paper in read_papers(FILE.read_text(encoding="utf-8"))}


def read_papers(bibtex: str) -> list[Paper]:
    """Entries of BibTeX that say in a field `hamguard` what they belong to: `hamguard = {attack:hag, hash:dph},`.

    Raises:
        RequestError: no entry, one without that field, or an unknown kind in it.
    """
    found = []
    for entry in _ENTRY.finditer(bibtex):
        used = _USED.search(entry[3])
        if used is None:
            raise RequestError(f"the BibTeX entry {entry[2]} needs a field hamguard = {{KIND:NAME, ...}}")
        names = frozenset(name.strip() for name in used[1].split(",") if name.strip())
        for name in names:
            if name.partition(":")[0] not in KINDS or not name.partition(":")[2]:
                raise RequestError(f"{entry[2]}: {name} must be KIND:NAME with a kind of {', '.join(KINDS)}")
        found.append(Paper(entry[2], _USED.sub("", entry[0]), names))
    if not found:
        raise RequestError("no BibTeX entry: it begins with @kind{key, and ends with } on a line of its own")
    return found


def add_paper(bibtex: str) -> None:
    """Make the paper of a method of one's own known, so that reports and models cite it.

    Args:
        bibtex: entries, each with a field `hamguard` that says what it belongs to, `KIND:NAME` with commas between:
            `hamguard = {attack:mine, hash:mine},`. The field itself is not shown.

    Raises:
        RequestError: no entry, one without that field, or an unknown kind in it.
    """
    _OF_ONES_OWN.update({paper.key: paper for paper in read_papers(bibtex)})


def papers_of(names: Iterable[str]) -> list[Paper]:
    """Papers that belong to any of the names, each once, in the order of `papers.bib`.

    >>> [paper.key for paper in papers_of(["attack:hag", "hash:csq", "hash:dph"])]
    ['yang2020hag', 'yuan2020csq']
    """
    wanted = set(names)
    return [paper for paper in {**_shipped(), **_OF_ONES_OWN}.values() if paper.used_by & wanted]
