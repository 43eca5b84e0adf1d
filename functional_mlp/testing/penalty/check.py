"""The check of a penalty: which properties are tried on which trees."""

from typing import Any

import torch

from functional_mlp import random
from functional_mlp.testing import functions
from functional_mlp.testing.penalty import properties
from functional_mlp.testing.penalty.cases import PenaltyCase, cases, of_every_shape, sweep
from functional_mlp.testing.proving import prove_expressions
from functional_mlp.testing.purity import restored_globals
from functional_mlp.testing.search import EXAMPLES, Property, assert_functions, failures_of, for_all, for_each, named
from functional_mlp.testing.values import check_value


def check_penalty(
    penalty: Any,
    *,
    formula: properties.Formula | None = None,
    value: bool = True,
    examples: int = EXAMPLES,
    seed: int = 0,
) -> None:
    """Raise `AssertionError` unless `penalty` keeps the contract of a penalty; the message holds the smallest case.

    `penalty` is any object with

        total(params)                 -> a 0-d tensor       for trees of tensors
        added_to_grads(grads, params) -> like the grads

    What is proven, at `examples` drawn trees and at some that every seed goes through:

    - **value and derivative** of a `Penalty` are proved for all real numbers: see `prove`.
    - **added_to_grads** adds the gradient of `total`, by differences with a bound on their error: see
      `testing.derivatives`.
    - **Biases are left alone**: leaves of fewer than two dimensions have no penalty.
    - **Numbers do not affect each other**: the total is a sum over the numbers of the weights, and what is added to a
      gradient depends on its own weight alone.
    - Structure, shapes and dtypes; purity: no argument, no global state and no memory of earlier calls is read or
      written, no result is connected to an autograd graph or written to later, whatever memory the tensors lie in, and
      whatever other threads do.
    - **Gradients of every size**, NaN and the infinities too, have the same added to them. For a `Penalty` `added_to`
      does so where its mask says.
    - **Weights of every size**, from 0 to 1e4: the gradient is right, float32 gives what float64 gives up to what
      rounding explains, and nothing becomes NaN but what is: a weight that is NaN makes the total NaN, and its own
      gradient where that depends on it. That of |w| may be a number.
    - The penalty is a **value**: hashed, compared, pickled, with a repr that evaluates.

    Parameters
    ----------
    penalty
        The penalty, as above.
    formula
        A second definition of the penalty of one number of a weight, `formula(w)` in plain floats: no property can tell
        which penalty was meant.
    value
        False leaves out that the penalty is a value.
    examples
        The number of trees that are drawn for each group of properties.
    seed
        Of the trees that are drawn.

    >>> import functional_mlp as fm
    >>> check_penalty(fm.penalties.l2(0.1), formula=lambda w: 0.05 * w**2)
    """
    with restored_globals(), failures_of(f"check_penalty({named(penalty)})"):
        assert_functions("a penalty", penalty, "total", "added_to_grads")
        if value:
            check_value(penalty)
        prove_expressions(penalty)
        anywhere = cases(penalty, dtypes=(torch.float64, torch.float32), awkward=True)
        for_all(anywhere, PURE, examples=examples, seed=seed)
        swept = list(sweep(penalty, random.key(seed)))
        for_each(swept[:1], [*functions.UNDISTURBED, functions.no_layout_matters, properties.nan_stays_nan])
        of_formula: list[Property[PenaltyCase]] = []
        if formula is not None:
            of_formula = [lambda case: properties.agrees_with_formula(case, formula)]
        gradient = properties.Gradient()
        near: list[Property[PenaltyCase]] = [properties.numbers_do_not_affect_each_other, *of_formula]
        whole = [*near, properties.gradients_of_every_size_count, properties.a_mask_leaves_the_others_alone]
        for_each([of_every_shape(penalty, random.key(seed))], whole)
        for_all(cases(penalty), [*near, gradient], examples=examples, seed=seed)
        gradient.tally.assert_decided()
        for_each(swept, [*of_formula, *FAR_AND_NEAR])


# In either dtype, in awkward memory.
PURE = [
    functions.are_pure,
    properties.shapes_and_dtypes_are_kept,
    properties.biases_are_left_alone,
    functions.layout_does_not_matter,
]

# For weights of every size.
FAR_AND_NEAR = [
    properties.nothing_becomes_nan,
    properties.gradient_is_that_of_total,
    functions.float32_agrees_with_float64,
]
