"""The check of an optimizer: which properties are tried on which trees."""

from typing import Any

from functional_mlp import random
from functional_mlp.testing import functions
from functional_mlp.testing.optimizer import properties
from functional_mlp.testing.optimizer.cases import SIZES_OF_FLOAT32, cases, long_case, sized_cases
from functional_mlp.testing.purity import restored_globals
from functional_mlp.testing.search import EXAMPLES, assert_functions, failures_of, for_all, for_each, named
from functional_mlp.testing.values import check_value


def check_optimizer(
    optimizer: Any,
    *,
    formula: properties.Formula | None = None,
    value: bool = True,
    examples: int = EXAMPLES,
    seed: int = 0,
) -> None:
    """Raise `AssertionError` unless `optimizer` keeps the contract; the message holds the smallest failing case.

    `optimizer` is any object with

        init(params)         -> state      with .params and .learning_rate
        update(state, grads) -> state

    for trees of tensors `params` and `grads` of one structure, and a state that is a pytree of tensors (an attrs class
    under `functional_mlp.pytree.node`). What is proven, at `examples` drawn trees with a few gradients, and for each
    seed over 14 updates of a tree of nine leaves, some of them one tensor, with gradients from 0 to 1e3:

    - **States** are frozen, and keep structure, shapes, dtypes, params and learning rate; that of an `Optimizer`
      counts its updates.
    - **Purity**: no argument, no global state, no other run and no memory of earlier calls is read or written, no
      result is connected to an autograd graph or written to later, whatever other threads do.
    - **Numbers do not affect each other**: a tree is updated as each of its numbers would be on its own, so neither
      the order of the leaves nor their shapes matter. Leaves of float32 beside others of float64 are refused, or are
      updated as well.
    - Gradients that are not like the params, one of another shape that would broadcast included, raise a `ValueError`
      that names the leaf's path.
    - The learning rate is the state's, which a schedule changes, and not the optimizer's own. Each from 1e-100 to 1e100
      gives another step, and 0 gives none.
    - **Gradients and params of every size**, from 1e-100 to 1e100: the first step that changes a number goes against
      its gradient, and the formula holds. A gradient that is NaN leaves NaN in the state where the step depends on its
      size, and an infinite one is not taken for 0.
    - float32 gives what float64 gives, up to what rounding explains.
    - On the quadratic ½c‖w‖² the first step that changes w **descends**, and so do the next ten together.
    - The optimizer is a **value**: hashed, compared, pickled, with a repr that evaluates.

    Parameters
    ----------
    optimizer
        The optimizer, as above.
    formula
        A second definition of the rule, `formula(param, grads)` in plain floats: a number's value after the updates
        with these gradients. One with an argument `params` is given the number's values before each of the updates, a
        list, of which `param` is the first. No property can tell which rule was meant.
    value
        False leaves out that the optimizer is a value.
    examples
        The number of trees that are drawn for each group of properties.
    seed
        Of the trees that are drawn.

    >>> import functional_mlp as fm
    >>> check_optimizer(fm.SGD(0.5), formula=lambda param, grads: param - 0.5 * sum(grads))
    """
    with restored_globals(), failures_of(f"check_optimizer({named(optimizer)})"):
        assert_functions("an optimizer", optimizer, "init", "update")
        if value:
            check_value(optimizer)
        of_formula = [] if formula is None else [lambda case: properties.agrees_with_formula(case, formula)]
        long = [long_case(optimizer, random.key(seed))]
        for_all(cases(optimizer), PURE, examples=examples, seed=seed)
        for_each(long, UNDISTURBED)
        for_each([long[0].beginning(2)], [functions.no_layout_matters, properties.leaves_may_be_of_two_dtypes])
        for_all(cases(optimizer), [*of_formula, *SHORT], examples=examples, seed=seed)
        properties.steps_descend(optimizer)
        properties.steps_go_against_gradients(optimizer)
        properties.learning_rate_counts(optimizer)
        for_each(long, [*of_formula, *LONG])
        for_each(sized_cases(optimizer, random.key(seed)), of_formula)
        for_each(sized_cases(optimizer, random.key(seed), SIZES_OF_FLOAT32), [functions.float32_agrees_with_float64])


# In either dtype, in awkward memory.
PURE = [
    properties.states_are_frozen,
    functions.are_pure,
    properties.updates_keep_their_kind,
]

# Over many updates.
UNDISTURBED = [properties.states_stay, *functions.UNDISTURBED]

# For a few updates.
SHORT = [
    properties.numbers_do_not_affect_each_other,
    properties.unlike_gradients_are_refused,
]

# For many updates, with gradients of every size.
LONG = [
    properties.numbers_do_not_affect_each_other,
    properties.learning_rate_is_the_states,
    functions.float32_agrees_with_float64,
]
