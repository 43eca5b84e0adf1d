"""What holds for every penalty."""

from collections.abc import Callable

import pytest

import functional_mlp as fm
from functional_mlp.testing import check_penalty
from tests.tables import PENALTIES

FORMULAS: dict[fm.penalties.Penalty, Callable[[float], float]] = {
    fm.penalties.l2(0.1): lambda w: 0.05 * w * w,
    fm.penalties.l1(0.05): lambda w: 0.05 * abs(w),
}


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
def test_a_penalty_keeps_its_contract(penalty: fm.penalties.Penalty) -> None:
    check_penalty(penalty, formula=FORMULAS[penalty])
