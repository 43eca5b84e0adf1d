"""What is said of trees that differ."""

import pytest
import torch

import functional_mlp as fm
from functional_mlp.testing import assert_trees_close
from functional_mlp.testing.trees import assert_same_bits

NAN, INF = float("nan"), float("inf")


def params(**changes: float) -> tuple[fm.LinearParams, None, dict[str, torch.Tensor]]:
    weight = torch.tensor([[1.0, 2.0], [3.0, changes.get("weight", 4.0)]], dtype=torch.float64)
    return fm.LinearParams(weight, torch.tensor([changes.get("bias", 0.5)])), None, {"scale": torch.tensor(1.0)}


def test_equal_trees_are_close() -> None:
    assert_trees_close(params(), params(), rtol=0.0)
    assert_trees_close((torch.tensor([NAN, INF]),), (torch.tensor([NAN, INF]),), rtol=0.0)
    assert_trees_close((), ())
    assert_trees_close({"n": 3}, {"n": 3})


def test_rounding_is_close_in_each_dtype() -> None:
    assert_trees_close(params(weight=4 + 1e-11), params())
    assert_trees_close(params(bias=0.5 + 1e-6), params())


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (params(weight=4.004), params(), r"at \[0\].weight\[1, 1\]: 4.004 and 4.0, an error of 4.0e-03 where 4.0e-10"),
        (params(weight=4.004, bias=0.501), params(), r"at \[0\].weight\[1, 1\].*\(and 1 more leaves differ\)"),
        (torch.tensor([1.0, NAN]), torch.tensor([1.0, 2.0]), r"trees differ at \[1\]: nan and 2.0"),
        (torch.tensor(INF), torch.tensor(-INF), r"trees differ: inf and -inf"),
        ((torch.zeros(2),), (torch.zeros(1, 2),), r"trees differ at \[0\]: shapes \(2,\) and \(1, 2\)"),
        (
            (torch.zeros(2),),
            (torch.zeros(2).double(),),
            r"trees differ at \[0\]: dtypes torch.float32 and torch.float64",
        ),
        ({"a": torch.zeros(1)}, {"b": torch.zeros(1)}, r"trees differ in structure: \['a'\] is in the first only"),
        (
            (torch.zeros(1),),
            [torch.zeros(1)],
            r"trees differ in structure: the first must be a list, got \(tensor\(\[0.\]\),\), a tuple",
        ),
        ({"n": 3}, {"n": 4}, r"trees differ at \['n'\]: 3 and 4"),
        ({"n": 3}, {"n": torch.zeros(1)}, r"trees differ at \['n'\]: a int and a Tensor"),
    ],
)
def test_the_message_names_the_leaf_and_the_largest_error(a: object, b: object, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        assert_trees_close(a, b)


def test_tolerances_can_be_chosen() -> None:
    assert_trees_close(params(weight=4.004), params(), rtol=1e-2)
    assert_trees_close(params(weight=4.004), params(), atol=1e-2)
    with pytest.raises(AssertionError):
        assert_trees_close(params(weight=4 + 1e-11), params(), rtol=0.0)


def test_bits_differ_where_numbers_are_equal() -> None:
    assert_same_bits((torch.tensor([NAN]),), (torch.tensor([NAN]),))
    with pytest.raises(AssertionError, match=r"trees differ at \[0\]: 0.0 and -0.0"):
        assert_same_bits(torch.tensor([0.0]), torch.tensor([-0.0]))


def test_a_strided_number_has_the_bits_of_its_copy() -> None:
    strided = torch.zeros(1, 2)[:, 0]
    assert_same_bits(strided, torch.zeros(1))
