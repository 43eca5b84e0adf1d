"""What the tests of symbols share."""

import pytest


@pytest.fixture(autouse=True)
def _formulas_take_their_time(monkeypatch):
    """How a formula is tidied depends on no machine: the limit is for formulas that no test has."""
    monkeypatch.setattr("functional_mlp.symbolic.tidying.SECONDS", 3600.0)
