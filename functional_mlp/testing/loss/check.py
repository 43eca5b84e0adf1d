"""The check of a loss: which properties are tried on which predictions and targets."""

from collections.abc import Sequence
from typing import Any

import torch

from functional_mlp import random
from functional_mlp.testing import functions
from functional_mlp.testing.loss import properties
from functional_mlp.testing.loss.cases import (
    LAID_OUT,
    Domain,
    LossCase,
    cases,
    kinds_of,
    large_targets,
    near_the_ends,
    shaped_cases,
    sweep,
)
from functional_mlp.testing.proving import prove_expressions
from functional_mlp.testing.purity import restored_globals
from functional_mlp.testing.search import EXAMPLES, Property, assert_functions, failures_of, for_all, for_each, named
from functional_mlp.testing.values import check_value


def check_loss(
    loss: Any,
    *,
    targets: Sequence[str] | None = None,
    predictions: tuple[float, float] = (-1e8, 1e8),
    formula: properties.Formula | None = None,
    value: bool = True,
    examples: int = EXAMPLES,
    seed: int = 0,
) -> None:
    """Raise `AssertionError` unless `loss` keeps the contract of a loss; the message holds the smallest failing case.

    `loss` is any object with

        value(predictions, targets) -> a 0-d tensor           for predictions of shape (batch, features)
        grad(predictions, targets)  -> like the predictions

    What is proven, at `examples` drawn cases and at some that every seed goes through, with up to 12 features and 70
    rows:

    - **grad** is the gradient of `value`, by differences with a bound on their error: see `testing.derivatives`.
    - **sample_value and sample_grad** of a `Loss` are proved for all real numbers: see `prove`.
    - **value** is the mean over the samples: of a batch, the mean of its rows' values, and grad theirs over n.
    - **Training**, for a `Loss`: with weights of samples `batch_value` and `batch_grad` are of 1/n Σ wᵢ ℓᵢ, for
      another n as well; `batch_value_and_grad` gives both; `are_right` tells right answers from their opposites.
    - Labels of another integer dtype than int64 mean the same, or are refused.
    - Shapes and dtypes; purity: no argument, no global state and no memory of earlier calls is read or written, no
      result is connected to an autograd graph or written to later, whatever memory the tensors lie in, and whatever
      other threads do.
    - **Predictions and targets of every size**, from 0 to ±1e8, and predictions close to the ends of where the loss is
      defined: the gradient is right, float32 gives what float64 gives up to what rounding explains, nothing becomes
      NaN, and the value is infinite only where the gradient is. A row of predictions that are NaN makes the value NaN,
      and its own gradient where that depends on them: the one of |ŷ| may be a number.
    - Targets of a shape that only broadcasting would fit, labels beyond the classes, and empty batches, are refused
      with an exception.
    - The loss is a **value**: hashed, compared, pickled, with a repr that evaluates.

    Parameters
    ----------
    loss
        The loss, as above.
    targets
        Kinds of targets, out of "values", "fractions", "probabilities", "one_hot" and "classes"; by default all that
        the loss gives a finite value for.
    predictions
        The ends of the interval of predictions that the loss is defined on.
    formula
        A second definition of `value`, `formula(prediction, target)` for one sample: no property can tell which
        function was meant.
    value
        False leaves out that the loss is a value.
    examples
        The number of cases that are drawn for each group of properties.
    seed
        Of the cases that are drawn.

    >>> import functional_mlp as fm
    >>> check_loss(fm.MeanSquaredError(), formula=lambda prediction, target: (prediction - target).square().mean())
    """
    with restored_globals(), failures_of(f"check_loss({named(loss)})"):
        assert_functions("a loss", loss, "value", "grad")
        if value:
            check_value(loss)
        prove_expressions(loss, targets)
        kinds, domain, key = kinds_of(loss, targets), Domain(*predictions), random.key(seed)
        properties.empty_batches_are_refused(loss)

        of_formula = [] if formula is None else [lambda case: properties.agrees_with_formula(case, formula)]
        gradient = properties.Gradient()
        anywhere = cases(loss, kinds, domain, dtypes=(torch.float64, torch.float32), awkward=True)
        for_all(anywhere, PURE, examples=examples, seed=seed)
        properties.labels_beyond_the_classes_are_refused(loss, kinds)
        one_of_each = {features: some[:1] for features, some in kinds.items()}
        for dtype in (torch.float64, torch.float32):
            for_each(shaped_cases(loss, one_of_each, domain, key, dtype), functions.UNDISTURBED)
        of_either_kind = {features: [*dict.fromkeys((some[0], some[-1]))] for features, some in kinds.items()}
        laid_out = shaped_cases(loss, of_either_kind, domain, key, rows=LAID_OUT)
        for_each(laid_out, [functions.no_layout_matters, properties.nan_stays_nan, *OF_TARGETS])
        near: list[Property[LossCase]] = [*of_formula, properties.is_mean_over_samples, gradient]
        for_all(cases(loss, kinds, domain), near, examples=examples, seed=seed)
        gradient.tally.assert_decided()
        for_each(shaped_cases(loss, kinds, domain, key), [properties.is_mean_over_samples, *OF_BATCHES])
        for_each(sweep(loss, kinds, domain, key), [*of_formula, *FAR_AND_NEAR])
        for_each(near_the_ends(loss, kinds, domain, key), [*of_formula, *FAR_AND_NEAR])
        for_each(large_targets(loss, kinds, domain, key), [*of_formula, *FAR_AND_NEAR])


# In either dtype, in awkward memory.
PURE = [
    functions.are_pure,
    properties.shapes_and_dtypes_are_kept,
    functions.layout_does_not_matter,
    properties.nothing_is_broadcast,
]

# For targets of either kind.
OF_TARGETS = [properties.labels_may_be_any_integers, properties.answers_are_told_from_others]

# Of what a `Loss` has for training.
OF_BATCHES = [properties.weights_count, properties.both_at_once_are_each_alone]

# For predictions of every size.
FAR_AND_NEAR = [
    properties.nothing_becomes_nan,
    properties.grad_is_that_of_value,
    functions.float32_agrees_with_float64,
]
