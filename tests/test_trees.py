"""The form of a tree says what a look at each leaf says."""

import collections

import pytest
import torch

import functional_mlp as fm
from functional_mlp import trees
from tests.helpers import unusable_tensors

T = torch.ones(2)
TEMPLATE = (T, {"a": T})
FORM = trees.Form.of_template(TEMPLATE, torch.float32, torch.device("cpu"))
OTHERS = {
    "shape": (T, {"a": torch.ones(3)}),
    "dtype": (T, {"a": T.double()}),
    "device": (T, {"a": T.to("meta")}),
    "a number": (T, {"a": 1.0}),
    "None": (T, {"a": None}),
    "deeper": (T, {"a": (T,)}),
    "list": [T, {"a": T}],
    "an ordered dict": (T, collections.OrderedDict(a=T)),
    **{kind: (T, {"a": bad}) for kind, (bad, _) in unusable_tensors((2,)).items()},
}


@pytest.mark.parametrize("tree", OTHERS.values(), ids=OTHERS.keys())
def test_trees_of_another_form_are_refused(tree) -> None:
    assert FORM.leaves(tree) is None
    with pytest.raises((TypeError, ValueError)):
        trees.like("grads", tree, "params", TEMPLATE, form=FORM)


PARAMS = fm.LinearParams(torch.ones(2, 3), torch.ones(2))
OTHER_NODES = {
    "an entry more": (PARAMS, [T], None, ()),
    "an entry less": (PARAMS, [T]),
    "None for a leaf": (fm.LinearParams(PARAMS.weight, None), [T], None),
    "a leaf for None": (PARAMS, [T], T),
    "a list for a tuple": [PARAMS, [T], None],
    "a tuple for a list": (PARAMS, (T,), None),
    "a longer list": (PARAMS, [T, T], None),
    "a tuple for a node": ((PARAMS.weight, PARAMS.bias), [T], None),
    "a node for a leaf": (PARAMS, [PARAMS], None),
    "a class above it": (collections.namedtuple("Three", "a b c")(PARAMS, [T], None)),
}


@pytest.mark.parametrize("tree", OTHER_NODES.values(), ids=OTHER_NODES.keys())
def test_trees_of_other_nodes_are_refused(tree) -> None:
    form = trees.Form.of_template((PARAMS, [T], None), torch.float32, torch.device("cpu"))
    assert form.leaves((PARAMS, [T], None)) == [PARAMS.weight, PARAMS.bias, T]
    assert form.leaves(tree) is None


def test_leaves_of_the_form_are_found_and_those_of_a_class_of_their_own_one_by_one() -> None:
    tree = (T + 1, {"a": T + 2})
    assert FORM.leaves(tree) == [tree[0], tree[1]["a"]]
    parameters = (torch.nn.Parameter(T), {"a": T})
    assert FORM.leaves(parameters) is None
    assert trees.like("grads", parameters, "params", TEMPLATE, form=FORM)[0] is parameters[0]
    assert trees.leaves_and_form("grads", parameters)[1] is None
    assert FORM.kind == (torch.float32, torch.device("cpu"))
    assert trees.leaves_and_form("grads", (T, T.double()))[1].kind is None
