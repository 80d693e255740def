"""Which checks are made."""

from __future__ import annotations

import pytest

from hamguard.core.errors import RequestError
from hamguard.evaluation.audit.checks.battery import AUDIT, SANITY, check_names
from hamguard.evaluation.audit.checks.check import CHECKS, Case, Check, judged, register
from tests.evaluation.audit.checks.case import told


def test_names_come_in_the_order_of_the_battery() -> None:
    assert check_names(()) == tuple(AUDIT) and len(AUDIT) == 11 and len(SANITY) == 7
    assert check_names(["none"]) == ()
    assert check_names(["transfer", "zero-gradients"]) == ("zero-gradients", "transfer")
    with pytest.raises(RequestError, match="unknown check 'zero-gradient'; allowed: zero-gradients.* did you mean"):
        check_names(["zero-gradient"])


def test_a_check_of_ones_own_is_made_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for held in ("_entries", "_facts", "_places"):
        monkeypatch.setattr(CHECKS, held, dict(getattr(CHECKS, held)))

    @register("half")
    def half(case: Case) -> Check:
        """Whether half of the clean MAP is left."""
        clean, worst, _ = case.sample
        return judged("half", float((worst < clean / 2).mean()), 0.5, "so many lost more than half", "it is weak")

    assert "half" not in check_names(()) and check_names(["half", "transfer"]) == ("transfer", "half")
    assert CHECKS["half"](told(lambda form: 0.5)).passed is True
