"""One registry: names, messages, a second registration, and names known without an import."""

from __future__ import annotations

import pytest

from hamguard.core.errors import RequestError
from hamguard.core.registry import Registry


def test_entries_are_found_sorted_and_carry_their_facts() -> None:
    things: Registry[object] = Registry("thing", first=("own",))

    @things.register("zebra", stripes=True)
    def zebra() -> None:
        """A horse with stripes.

        And more.
        """

    things.register("ape")(object())
    things.register("own")(object())
    assert things.names() == list(things) == things.known() == ["own", "ape", "zebra"]
    assert things["zebra"] is zebra and len(things) == 3 and "lion" not in things
    assert things.facts("zebra") == {"stripes": True} and things.title("zebra") == "A horse with stripes"
    with pytest.raises(RequestError, match="unknown thing 'zebr'.*zebra"):
        things["zebr"]


def test_another_entry_of_a_taken_name_is_refused_and_the_same_definition_again_is_not() -> None:
    things: Registry[object] = Registry("thing")

    def cell() -> object:
        @things.register("mine")
        def mine() -> None:
            """As a notebook cell that is run twice defines it."""

        return mine

    cell()
    again = cell()
    assert things["mine"] is again
    with pytest.raises(RequestError, match="thing 'mine' is registered twice"):
        things.register("mine")(object())
