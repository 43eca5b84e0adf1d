"""The paper's network, recipe and figures, as it tells them."""

import functional_mlp as fm
from functional_mlp.experiments import paper
from functional_mlp.experiments.paper import Recipe
from tests.helpers import KEY


def test_the_papers_network_is_its_own() -> None:
    params = paper.network().init(KEY)
    assert fm.count_parameters(params) == 1427
    assert [type(layer).__name__ for layer in paper.network()][1::2] == ["ReLU", "ReLU", "Tanh"]
    assert all(leaf.abs().max() <= 1 for leaf in fm.pytree.leaves(params))
    assert all(p.bias.abs().max() > 0.5 for p in params if p != ())


def test_biases_start_by_an_initializer_of_their_own_where_it_is_given() -> None:
    params = paper.network(bias_init=fm.initializers.zeros()).init(KEY)
    assert not any(p.bias.any() for p in params if p != ())


def test_the_recipe_is_that_of_section_4() -> None:
    recipe = Recipe()
    assert (recipe.network, recipe.optimizer, recipe.batch_size) == (paper.NETWORK, fm.SGD(0.01), 1)
    assert (recipe.epochs, recipe.schedule(2)) == (100, 0.9**2)


def test_the_better_table_of_the_two_is_the_papers_own_framework() -> None:
    assert paper.FIGURE_1.validation_accuracy.mean > paper.FIGURE_5.validation_accuracy.mean
    assert paper.FIGURE_1.training_mse.mean > paper.FIGURE_5.training_mse.mean
