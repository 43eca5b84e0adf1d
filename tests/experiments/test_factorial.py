"""The cells of the factorial."""

from functional_mlp.experiments import factorial, paper
from functional_mlp.schedules import constant


def test_the_cells_are_those_of_the_papers_two_models_and_between_them():
    recipes = factorial.recipes(epochs=3)
    own, pytorch = recipes[factorial.PAPER_CELL], recipes[factorial.TORCH_CELL]
    assert (own.network[0].weight_init, own.schedule) == (paper.UNIFORM, paper.DECAY)
    assert (pytorch.network[0].weight_init, pytorch.schedule) == (paper.PYTORCH_DEFAULT, constant())
    assert len(set(recipes)) == 4
