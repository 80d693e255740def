"""Engines by what a person calls them: a name, an address, or a factory of one's own."""

from __future__ import annotations

import importlib
from typing import Any

from hamguard.core.errors import RequestError
from hamguard.retrieval.forms.index_form import IndexForm
from hamguard.retrieval.forms.registry import FORMS, MakeForm


def form_maker(name: str) -> MakeForm:
    """What makes a form.

    Args:
        name: a registered one, the address of an index, or `module:factory`.

    Raises:
        RequestError: no such name, module or factory.
    """
    if "://" in name:
        return lambda: IndexForm(name)
    module, _, factory = name.partition(":")
    if not factory:
        return FORMS[name]
    try:
        found: Any = getattr(importlib.import_module(module), factory)
    except (ImportError, AttributeError) as error:
        raise RequestError(f"engine {name}: {error}") from error
    if not callable(found):
        raise RequestError(f"engine {name} is no factory: it cannot be called")
    return found  # type: ignore[no-any-return]
