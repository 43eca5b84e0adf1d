"""Proving an optimizer: any object with `init` and `update`."""

from collections.abc import Callable
from typing import Any

from functional_mlp.testing import optimizer_properties as properties
from functional_mlp.testing.purity import restored_globals
from functional_mlp.testing.search import EXAMPLES, each, failures_of, for_all, named
from functional_mlp.testing.values import check_value

__all__ = ["check_optimizer"]


def check_optimizer(
    optimizer: Any,
    *,
    formula: Callable[[float, list[float]], float] | None = None,
    value: bool = True,
    examples: int = EXAMPLES,
    seed: int = 0,
) -> None:
    """Raise `AssertionError` unless `optimizer` keeps the contract; the message holds the smallest failing case.

    `optimizer` is any object with

        init(params)         -> state      with .params and .learning_rate
        update(state, grads) -> state

    for trees of tensors `params` and `grads` of one structure, and a state that is a pytree of tensors (an attrs class
    under `functional_mlp.pytree.node`). What is proven, at `examples` drawn trees and sequences of gradients:

    - **States** are frozen, and keep structure, shapes, dtypes, params and learning rate.
    - **Purity**: no argument and no global state is read or written, no result is connected to an autograd graph.
    - **Numbers do not affect each other**: a tree is updated as each of its numbers would be on its own, so neither
      the order of the leaves nor their shapes matter.
    - Gradients that are not like the params, one of another shape that would broadcast included, raise a `ValueError`
      that names the leaf's path.
    - The learning rate is the state's, which a schedule changes, and not the optimizer's own.
    - On the quadratic ½c‖w‖² the first step that changes w **descends**, and so do the next ten together.
    - The optimizer is a **value**: hashed, compared, pickled, with a repr that evaluates.

    No property can tell which rule was meant: `formula(param, grads)`, in plain floats, gives a number's value after
    the updates with these gradients, and is compared where it is given.

    >>> import functional_mlp as fm
    >>> check_optimizer(fm.SGD(0.5), formula=lambda param, grads: param - 0.5 * sum(grads))
    """
    with restored_globals(), failures_of(f"check_optimizer({named(optimizer)})"):
        for function in ("init", "update"):
            if not callable(getattr(optimizer, function, None)):
                raise AssertionError(f"an optimizer must have the function {function}")
        if value:
            check_value(optimizer)
        local = [
            properties.states_are_frozen,
            properties.updates_are_pure,
            properties.numbers_do_not_affect_each_other,
            properties.unlike_gradients_are_refused,
            properties.steps_descend,
            properties.learning_rate_is_the_states,
        ]
        if formula is not None:
            local.insert(1, lambda case: properties.agrees_with_formula(case, formula))
        for_all(properties.cases(optimizer), each(*local), examples=examples, seed=seed)
