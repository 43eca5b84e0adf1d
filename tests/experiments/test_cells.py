"""The cells between the paper's two models."""

from functional_mlp.experiments import cells, paper
from functional_mlp.schedules import constant


def test_the_cells_are_those_of_the_papers_two_models_and_between_them():
    recipes = cells.recipes(epochs=3)
    own, pytorch = recipes[cells.PAPER_CELL], recipes[cells.TORCH_CELL]
    assert (own.network[0].weight_init, own.schedule) == (paper.UNIFORM, paper.DECAY)
    assert (pytorch.network[0].weight_init, pytorch.schedule) == (paper.PYTORCH_DEFAULT, constant())
    assert len(set(recipes)) == 4
