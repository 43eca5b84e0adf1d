"""The table of a network, and the numbers in it."""

import pytest

import functional_mlp as fm
from functional_mlp import pytree
from tests.helpers import KEY
from tests.tables import LAYERS

every_layer = pytest.mark.parametrize("layer", LAYERS, ids=repr)


@every_layer
def test_count_parameters_counts_every_number(layer: fm.Layer) -> None:
    params = layer.init(KEY)
    assert fm.count_parameters(params) == sum(len(leaf.flatten()) for leaf in pytree.leaves(params))


@every_layer
def test_summary_has_a_row_for_each_layer_and_the_total(layer: fm.Layer) -> None:
    head, _, *rows, _, total = layer.summary().splitlines()
    assert head.split() == ["layer", "output", "parameters"]
    assert total.split() == ["total", str(fm.count_parameters(layer.init(KEY)))]
    assert sum(int(row.split()[-1]) for row in rows) == fm.count_parameters(layer.init(KEY))
