"""The LLVM text of a matrix of programs is what the table says: whoever changes it says so by changing the table."""

import itertools
import json

import attrs
import pytest

from tests.engine.llvm_text import NETWORKS, TABLE, cases, digest

CASES = cases()
DIGESTS = json.loads(TABLE.read_text())


def test_the_table_has_each_case_once() -> None:
    assert sorted(DIGESTS) == sorted(map(str, CASES))


@pytest.mark.parametrize("kinds", [("epoch",), ("full groups", "half groups")], ids=str)
def test_any_two_values_come_together(kinds: tuple[str, ...]) -> None:
    own = [attrs.astuple(case) for case in CASES if case.kind in kinds]
    for one, other in itertools.combinations(zip(*own, strict=True), 2):
        assert set(zip(one, other, strict=True)) == set(itertools.product(one, other))


@pytest.mark.parametrize("network", NETWORKS)
def test_the_text_is_as_the_table_says(network: str) -> None:
    own = [case for case in CASES if case.network == network]
    changed = [str(case) for case in own if DIGESTS.get(str(case)) != digest(case.text())]
    assert not changed, (
        f"{len(changed)} of {len(own)} LLVM texts have changed: {'; '.join(changed[:3])}. If that is meant, write the "
        "table anew with python -m tests.engine.llvm_text --write, and say in the commit why"
    )
