"""Which checks are made."""

from __future__ import annotations

import pytest

from hamguard.core.errors import RequestError
from hamguard.evaluation.audit.checks.battery import AUDIT, SANITY, check_names


def test_names_come_in_the_order_of_the_battery() -> None:
    assert check_names(()) == tuple(AUDIT) and len(AUDIT) == 11 and len(SANITY) == 7
    assert check_names(["none"]) == ()
    assert check_names(["transfer", "zero-gradients"]) == ("zero-gradients", "transfer")
    with pytest.raises(RequestError, match="unknown check 'zero-gradient'; allowed: zero-gradients.* did you mean"):
        check_names(["zero-gradient"])
