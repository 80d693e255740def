"""The published settings that presets and paper recipes take: one entry a number, with its place in the source.

`recipes/published_settings.toml` has a list for each paper. An entry says what the source says and where it is held: in which
presets and paper recipes the value must be found (`evaluation/study/held.py` looks there). A test asks every entry.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import Field

from hamguard.core.asked import Asked

Paper = Literal["hag", "cmla", "prosgan", "saat", "ppl"]


class Setting(Asked):
    """One published number.

    Attributes:
        paper: whose tables and figures it belongs to.
        method: what it is of, in words.
        setting: path of the value inside each place, `training.lr`.
        value: as the source has it; a radius may be written as parts of 255.
        source: page, section, table or line of code.
        held: presets `KIND:METHOD:PRESET` and paper recipes `RECIPE:PATH`, at least one.

    Raises:
        ValueError: an unknown paper or key, or an entry that is held nowhere.
    """

    paper: Paper
    method: str = Field(min_length=1)
    setting: str = Field(min_length=1)
    value: Any
    source: str = Field(min_length=1)
    held: tuple[str, ...] = Field(min_length=1)

    @property
    def title(self) -> str:
        """What it is, for messages."""
        return f"{self.paper}: {self.setting} of {self.method}"


@lru_cache(maxsize=1)
def published_settings() -> tuple[Setting, ...]:
    """All entries, in the order of the file.

    Raises:
        ValueError: an entry that is none.
    """
    text = (files("hamguard") / "recipes" / "published_settings.toml").read_text(encoding="utf-8")
    return tuple(Setting(paper=paper, **entry) for paper, entries in tomllib.loads(text).items() for entry in entries)
