import attrs
import pytest
import torch

import functional_mlp as fm
from functional_mlp import pytree
from tests.helpers import check_refused, draw, refusal

PARAMS = fm.LinearParams(weight=torch.ones(2, 3), bias=None)
TREE = {"b": (torch.zeros(1), [torch.ones(2)]), "a": PARAMS}


def test_leaves_come_in_the_order_of_their_paths() -> None:
    assert pytree.paths(TREE) == ["['a'].weight", "['b'][0]", "['b'][1][0]"]
    assert [leaf.shape for leaf in pytree.leaves(TREE)] == [(2, 3), (1,), (2,)]


def test_paths_are_code_that_reaches_the_leaf() -> None:
    for path, leaf in pytree.items(TREE):
        assert eval(f"tree{path}", {"tree": TREE}) is leaf


def test_map_keeps_the_structure_and_walks_further_trees_alongside() -> None:
    doubled = pytree.map(lambda a, b: a + b, TREE, TREE)
    assert pytree.structure(doubled) == pytree.structure(TREE)
    assert torch.equal(doubled["a"].weight, torch.full((2, 3), 2.0))
    assert doubled["a"].bias is None


def test_unflatten_undoes_leaves() -> None:
    assert pytree.equal(pytree.unflatten(TREE, pytree.leaves(TREE)), TREE)


def test_fields_that_are_no_tensors_belong_to_the_structure() -> None:
    state = fm.OptimizerState(params=PARAMS, learning_rate=0.5, step=3)
    assert pytree.paths(state) == [".params.weight"]
    assert pytree.structure(state) != pytree.structure(attrs.evolve(state, learning_rate=0.25))
    assert pytree.map(lambda leaf: leaf, state).step == 3


def test_structures_are_hashable() -> None:
    assert len({pytree.structure(TREE), pytree.structure(pytree.map(torch.zeros_like, TREE))}) == 1


def test_node_registers_a_class_of_the_users_own() -> None:
    @pytree.node
    @attrs.frozen(eq=False)
    class Scaled:
        scale: torch.Tensor
        name: str = attrs.field(metadata=pytree.STRUCTURE)

    assert pytree.paths((Scaled(torch.ones(1), "s"),)) == ["[0].scale"]


NAN_BITS = torch.tensor([0x7FC00001], dtype=torch.int32).view(torch.float32)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        pytest.param(torch.tensor(0.0), torch.tensor(-0.0), False, id="signs of zero"),
        pytest.param(torch.tensor(torch.nan), torch.tensor(torch.nan), True, id="one NaN"),
        pytest.param(torch.tensor([torch.nan]), NAN_BITS, False, id="NaNs of different bits"),
        pytest.param(torch.ones(2), torch.ones(2, dtype=torch.float64), False, id="dtypes"),
        pytest.param(torch.ones(2), torch.ones(2, 1), False, id="shapes"),
        pytest.param(torch.ones(0, 2), torch.ones(0, 2), True, id="empty"),
        pytest.param(draw(4, 3).T, draw(4, 3).T.contiguous(), True, id="strides"),
        pytest.param((torch.ones(1),), [torch.ones(1)], False, id="tuple and list"),
        pytest.param((torch.ones(1), None), (torch.ones(1),), False, id="None counts"),
        pytest.param((1, "a"), (1, "a"), True, id="leaves that are no tensors"),
        pytest.param((1,), (1.0,), False, id="types of such leaves"),
        pytest.param(torch.ones(1, requires_grad=True), torch.ones(1), True, id="requires_grad"),
    ],
)
def test_equal_compares_bits(a: object, b: object, expected: bool) -> None:
    assert pytree.equal(a, b) is expected
    assert pytree.equal(b, a) is expected


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        refusal("lengths", lambda: pytree.map(lambda a, b: a, (1,), (1, 2)), ValueError, "rest[0][1] is unexpected"),
        refusal("keys", lambda: pytree.map(lambda a, b: a, {"x": 1}, {"y": 1}), ValueError, "rest[0]['x'] is missing"),
        refusal(
            "nodes of the library",
            lambda: pytree.map(lambda a, b: a, (fm.LinearParams(1, None),), (fm.LinearParams(1, 2),)),
            ValueError,
            "map: the trees differ in structure: rest[0][0].bias is unexpected (got 2, an int)",
        ),
        refusal("errors of the function", lambda: pytree.map(lambda a, b: int("x"), (1,), (1,)), ValueError, "'x'"),
    ],
)
def test_map_refuses_trees_of_different_structure(call, error, fragments) -> None:
    check_refused(call, error, fragments)


def test_equal_takes_one_element_of_any_stride() -> None:
    assert pytree.equal(torch.zeros(1, 2)[:, 0], torch.zeros(1))
