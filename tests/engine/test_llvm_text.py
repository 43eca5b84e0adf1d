"""The LLVM text of a matrix of programs is what the table says: whoever changes it says so by changing the table."""

import itertools
import json
import math

import pytest

from tests.engine.llvm_text import ALL_NETWORKS, PARTS, TABLE, cases, covering, digest

CASES = cases()
DIGESTS = json.loads(TABLE.read_text())


def test_the_table_has_each_case_once() -> None:
    assert sorted(DIGESTS) == sorted(map(str, CASES))


@pytest.mark.parametrize("part", PARTS)
def test_any_two_values_come_together(part: str) -> None:
    axes = [list(axis) for axis in PARTS[part]]
    rows = covering(PARTS[part])
    assert len(rows) < 2 * math.prod(sorted(map(len, axes))[-2:])
    for (one, first), (other, second) in itertools.combinations(zip(axes, zip(*rows, strict=True), strict=True), 2):
        assert set(zip(first, second, strict=True)) == set(itertools.product(one, other))


@pytest.mark.parametrize("network", ALL_NETWORKS)
def test_the_text_is_as_the_table_says(network: str) -> None:
    own = [case for case in CASES if case.network == network]
    changed = [str(case) for case in own if DIGESTS.get(str(case)) != digest(case.text())]
    assert not changed, (
        f"{len(changed)} of {len(own)} LLVM texts have changed: {'; '.join(changed[:3])}. If that is meant, write the "
        "table anew with python -m tests.engine.llvm_text --write, and say in the commit why"
    )
