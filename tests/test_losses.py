import math

import pytest
import torch
from torch import nn

import functional_mlp as fm
from tests.helpers import (
    assert_close,
    assert_same_bits,
    autograd,
    bits,
    check_refused,
    draw,
    loss_oracle,
    refusal,
    unusable_tensors,
)
from tests.tables import LOSSES

MSE, CROSS_ENTROPY, BCE = fm.MeanSquaredError(), fm.CrossEntropy(), fm.BinaryCrossEntropy()
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)


def targets_for(loss: fm.Loss, rows: int, outputs: int) -> dict[str, torch.Tensor]:
    """Each kind of targets that a loss takes."""
    if isinstance(loss, fm.MeanSquaredError | fm.Huber):
        return {"values": draw(rows, outputs, seed=5)}
    if isinstance(loss, fm.PoissonDeviance):
        return {"counts": (4 * draw(rows, outputs, seed=5).sigmoid()).round(), "rates": draw(rows, outputs) ** 2}
    if isinstance(loss, fm.BinaryCrossEntropy):
        probabilities = draw(rows, outputs, seed=5).sigmoid()
        return {"probabilities": probabilities, "both": probabilities.round()}
    indices = torch.arange(rows) % outputs
    return {
        "indices": indices,
        "soft": draw(rows, outputs, seed=5).softmax(1),
        "unnormalized": draw(rows, outputs) ** 2,
    }


@every_loss
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (7, 1), (7, 4), (500, 3)], ids=str)
def test_value_and_gradient_agree_with_torch(loss: fm.Loss, shape: tuple[int, int]) -> None:
    predictions = draw(*shape) * 3
    for targets in targets_for(loss, *shape).values():
        value, (grad,) = autograd(lambda p, targets=targets: loss_oracle(loss, p, targets), predictions)
        assert_close(loss.value(predictions, targets), value)
        assert_close(loss.grad(predictions, targets), grad)


def test_the_losses_are_those_of_torch_nn() -> None:
    predictions, values, indices = draw(6, 3), draw(6, 3, seed=1), torch.tensor([0, 1, 2, 2, 1, 0])
    assert_close(MSE.value(predictions, values), nn.MSELoss()(predictions, values))
    assert_close(CROSS_ENTROPY.value(predictions, indices), nn.CrossEntropyLoss()(predictions, indices))


@every_loss
def test_leading_dimensions_are_all_samples(loss: fm.Loss) -> None:
    predictions = draw(6, 3)
    for targets in targets_for(loss, 6, 3).values():
        nested = targets.reshape(2, 3, *targets.shape[1:])
        assert_close(loss.value(predictions.reshape(2, 3, 3), nested), loss.value(predictions, targets))
        assert_close(loss.grad(predictions.reshape(2, 3, 3), nested).reshape(6, 3), loss.grad(predictions, targets))
        assert_close(loss.value(predictions[0], targets[0]), loss.value(predictions[:1], targets[:1]))


def test_one_hot_integers_soft_targets_and_indices_mean_the_same() -> None:
    logits, indices = draw(5, 3), torch.tensor([2, 0, 1, 1, 2])
    one_hot = torch.nn.functional.one_hot(indices, 3)
    for targets in (one_hot, one_hot.int(), one_hot.to(torch.uint8), one_hot.double()):
        assert_same_bits(CROSS_ENTROPY.value(logits, targets), CROSS_ENTROPY.value(logits, indices))
        assert_same_bits(CROSS_ENTROPY.grad(logits, targets), CROSS_ENTROPY.grad(logits, indices))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_cross_entropy_is_stable_for_logits_of_any_size(dtype: torch.dtype, size: float) -> None:
    logits = torch.tensor([[size, 0.0], [0.0, size], [size, size]], dtype=dtype)
    for targets in (torch.tensor([0, 1, 0]), torch.tensor([1, 0, 1])):
        value, (grad,) = autograd(lambda p, targets=targets: nn.functional.cross_entropy(p, targets), logits)
        assert_close(CROSS_ENTROPY.value(logits, targets), value, tolerance=1e-6)
        assert_close(CROSS_ENTROPY.grad(logits, targets), grad, tolerance=1e-6)


@every_loss
@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_travels_as_in_torch(loss: fm.Loss, special: float) -> None:
    predictions = torch.tensor([[0.5, special], [1.0, -1.0]], dtype=torch.float64)
    for name in ("first", "second"):
        targets = torch.tensor([0, 1] if name == "first" else [1, 0])
        if not isinstance(loss, fm.CrossEntropy):
            targets = nn.functional.one_hot(targets, 2).double()
        value, (grad,) = autograd(lambda p, targets=targets: loss_oracle(loss, p, targets), predictions)
        torch.testing.assert_close(loss.value(predictions, targets), value, equal_nan=True)
        torch.testing.assert_close(loss.grad(predictions, targets), grad, equal_nan=True)


def test_nan_in_soft_targets_is_not_lost() -> None:
    targets = torch.tensor([[math.nan, 0.0]])
    assert CROSS_ENTROPY.value(torch.zeros(1, 2), targets).isnan()
    assert CROSS_ENTROPY.grad(torch.zeros(1, 2), targets).isnan().all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_results_have_the_dtype_of_the_predictions_whatever_the_default(loss: fm.Loss, dtype: torch.dtype) -> None:
    predictions = draw(4, 3, dtype=dtype)
    targets = torch.tensor([0, 1, 2, 0])
    if not isinstance(loss, fm.CrossEntropy):
        targets = predictions.sigmoid()
    expected = loss.value(predictions, targets), loss.grad(predictions, targets)
    assert {leaf.dtype for leaf in expected} == {dtype}
    assert expected[0].shape == ()
    torch.set_default_dtype(torch.float64)
    try:
        assert_same_bits((loss.value(predictions, targets), loss.grad(predictions, targets)), expected)
    finally:
        torch.set_default_dtype(torch.float32)


@every_loss
def test_arguments_come_back_untouched_and_results_unconnected(loss: fm.Loss) -> None:
    predictions = torch.cat([draw(3, 6), draw(3, 6)])[3:, ::2].requires_grad_()
    for targets in targets_for(loss, 3, 3).values():
        before = bits((predictions, targets))
        results = loss.value(predictions, targets), loss.grad(predictions, targets)
        assert bits((predictions, targets)) == before
        assert not any(result.requires_grad for result in results)
        expanded = predictions[:1].expand(3, -1)
        assert_same_bits(loss.value(expanded, targets), loss.value(expanded.detach().clone(), targets))


P = torch.zeros(4, 3)
INDICES = torch.tensor([0, 1, 2, 0])


@every_loss
@pytest.mark.parametrize("function", ["value", "grad"])
def test_predictions_and_targets_must_be_plain_floats(loss: fm.Loss, function: str) -> None:
    call = getattr(loss, function)
    for kind, (bad, name) in unusable_tensors((4, 3)).items():
        check_refused(lambda bad=bad: call(bad, P), ValueError, ["predictions", name])
        # CrossEntropy takes an integer one-hot, and tells what is none; BinaryCrossEntropy takes all that is 0 or 1.
        taken = {fm.CrossEntropy: ("integer",), fm.BinaryCrossEntropy: ("integer", "boolean")}
        if kind not in taken.get(type(loss), ()):
            check_refused(lambda bad=bad: call(P, bad), ValueError, ["targets", name])
    for bad, name in (([1.0], "a list"), (None, "None"), (P.numpy(), "ndarray")):
        check_refused(lambda bad=bad: call(bad, P), TypeError, ["predictions", "torch.Tensor", name])
        check_refused(lambda bad=bad: call(P, bad), TypeError, ["targets", "torch.Tensor", name])


@pytest.mark.parametrize("function", ["value", "grad"])
@pytest.mark.parametrize(
    ("loss", "predictions", "targets", "fragments"),
    [
        pytest.param(MSE, P[:0], P[:0], ["predictions", "empty", "(0, 3)"], id="mse: empty batch"),
        pytest.param(CROSS_ENTROPY, P[:0], INDICES[:0], ["predictions", "empty", "(0, 3)"], id="ce: empty batch"),
        pytest.param(MSE, P[:, :0], P[:, :0], ["predictions", "empty", "(4, 0)"], id="mse: no outputs"),
        pytest.param(MSE, P[0, 0], P[0, 0], ["predictions", "0-d"], id="mse: 0-d"),
        pytest.param(CROSS_ENTROPY, P[0, 0], INDICES[0], ["predictions", "0-d"], id="ce: 0-d"),
        pytest.param(MSE, P[:, :1], P[:, 0], ["targets", "(4, 1)", "(4,)"], id="mse: (n,) for (n, 1)"),
        pytest.param(MSE, P[:, 0], P[:, :1], ["targets", "(4,)", "(4, 1)"], id="mse: (n, 1) for (n,)"),
        pytest.param(MSE, P, P[:1], ["targets", "(4, 3)", "(1, 3)"], id="mse: one row for all"),
        pytest.param(MSE, P, P.double(), ["targets", "torch.float64", "torch.float32"], id="mse: dtypes"),
        pytest.param(CROSS_ENTROPY, P, P.double(), ["targets", "torch.float64", "torch.float32"], id="ce: dtypes"),
        pytest.param(MSE, P, INDICES, ["targets", "class indices", "torch.eye(3,"], id="mse: class indices"),
        pytest.param(MSE, P, P.int(), ["targets", "torch.int32", ".to(torch.float32)"], id="mse: integers"),
        pytest.param(
            CROSS_ENTROPY, P, P[:, 0], ["class indices", "torch.int64", "torch.float32"], id="ce: float indices"
        ),
        pytest.param(CROSS_ENTROPY, P, INDICES.int(), ["class indices", "torch.int64", "torch.int32"], id="ce: int32"),
        pytest.param(CROSS_ENTROPY, P, INDICES > 0, ["class indices", "torch.int64", "torch.bool"], id="ce: bool"),
        pytest.param(CROSS_ENTROPY, P, INDICES + 1, ["between 0 and 2", "3", "[2]"], id="ce: label too large"),
        pytest.param(CROSS_ENTROPY, P, INDICES - 1, ["between 0 and 2", "-1", "[0]"], id="ce: negative label"),
        pytest.param(CROSS_ENTROPY, P, INDICES[:3], ["(4,)", "(4, 3)", "(3,)"], id="ce: too few indices"),
        pytest.param(CROSS_ENTROPY, P, INDICES[:, None], ["(4,)", "(4, 3)", "(4, 1)"], id="ce: indices (n, 1)"),
        pytest.param(CROSS_ENTROPY, P, P[:, :2], ["(4,)", "(4, 3)", "(4, 2)"], id="ce: too few classes"),
        pytest.param(CROSS_ENTROPY, P, torch.ones(4, 3).long(), ["one-hot", "[1, 1, 1]", "[0]"], id="ce: many-hot"),
        pytest.param(CROSS_ENTROPY, P, INDICES.to("meta"), ["targets", "meta"], id="ce: meta indices"),
        pytest.param(BCE, P, P - 0.1, ["targets", "between 0 and 1", "-0.1", "[0, 0]"], id="bce: below 0"),
        pytest.param(BCE, P, P + 1.5, ["targets", "between 0 and 1", "1.5", "[0, 0]"], id="bce: above 1"),
        pytest.param(BCE, P[:, :1], INDICES, ["targets", "between 0 and 1", "2", "[2, 0]"], id="bce: third class"),
        pytest.param(BCE, P[:, :1], P[:, 0], ["(4, 1)", "torch.float32", "(4,)"], id="bce: float labels"),
        pytest.param(BCE, P, INDICES, ["(4, 3)", "torch.int64", "(4,)"], id="bce: labels for three outputs"),
        pytest.param(BCE, P, P[:1], ["(4, 3)", "(1, 3)"], id="bce: one row for all"),
        pytest.param(BCE, P, P.double(), ["targets", "torch.float64", "torch.float32"], id="bce: dtypes"),
        pytest.param(fm.PoissonDeviance(), P, P - 1.0, ["targets", "negative", "-1.0"], id="poisson: negative"),
        pytest.param(fm.Huber(), P[:, :1], P[:, 0], ["targets", "(4, 1)", "(4,)"], id="huber: (n,) for (n, 1)"),
    ],
)
def test_bad_input_is_refused(loss, function, predictions, targets, fragments) -> None:
    check_refused(lambda: getattr(loss, function)(predictions, targets), ValueError, fragments)


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        refusal("smoothing of 1", lambda: fm.CrossEntropy(1.0), ValueError, "CrossEntropy: label_smoothing", "1.0"),
        refusal("smoothing below 0", lambda: fm.CrossEntropy(-0.1), ValueError, "label_smoothing", "-0.1"),
        refusal("smoothing of NaN", lambda: fm.CrossEntropy(math.nan), ValueError, "label_smoothing", "nan"),
        refusal("smoothing of a string", lambda: fm.CrossEntropy("0.1"), TypeError, "label_smoothing", "'0.1', a str"),
        refusal("delta of 0", lambda: fm.Huber(0.0), ValueError, "Huber: delta", "0.0"),
        refusal("delta below 0", lambda: fm.Huber(-1.0), ValueError, "Huber: delta", "-1.0"),
        refusal("infinite delta", lambda: fm.Huber(math.inf), ValueError, "Huber: delta", "inf"),
    ],
)
def test_bad_numbers_of_a_loss_are_refused(call, error, fragments) -> None:
    check_refused(call, error, fragments)


def test_labels_of_one_output_mean_the_same_in_any_kind() -> None:
    logits, labels = draw(5, 1), torch.tensor([1, 0, 0, 1, 1])
    values = labels.double().unsqueeze(1)
    for targets in (labels, labels.bool(), labels.to(torch.uint8), values.bool(), values.int()):
        assert_same_bits(BCE.value(logits, targets), BCE.value(logits, values))
        assert_same_bits(BCE.grad(logits, targets), BCE.grad(logits, values))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e4, -1e4, 40.0, -40.0])
def test_binary_cross_entropy_is_stable_for_logits_of_any_size(dtype: torch.dtype, size: float) -> None:
    logits = torch.tensor([[size, 0.0], [0.0, size]], dtype=dtype)
    for target in (0.0, 1.0, 0.25):
        targets = torch.full_like(logits, target)
        value, (grad,) = autograd(lambda p, targets=targets: loss_oracle(BCE, p, targets), logits)
        assert_close(BCE.value(logits, targets), value, tolerance=1e-6)
        assert_close(BCE.grad(logits, targets), grad, tolerance=1e-6)


def test_smoothing_is_spread_over_all_classes() -> None:
    """(1 − ε) t + ε/k as targets: the true class has its share of ε as well."""
    logits, targets = draw(4, 5), torch.tensor([0, 1, 4, 2])
    spread = 0.7 * nn.functional.one_hot(targets, 5).double() + 0.3 / 5
    smoothed = fm.CrossEntropy(label_smoothing=0.3)
    assert_close(smoothed.value(logits, targets), CROSS_ENTROPY.value(logits, spread))
    assert_close(smoothed.grad(logits, targets), CROSS_ENTROPY.grad(logits, spread))


SIDES = torch.tensor([[0.5, -2.0], [0.5, 2.0], [-1.0, -1.0], [0.0, 3.0], [math.nan, -1.0]])


@pytest.mark.parametrize(
    ("targets", "right"),
    [
        ([[1, 0], [1, 0], [0, 0], [0, 1], [1, 0]], [True, False, True, True, False]),
        ([[0, 1], [0, 1], [0, 1], [1, 1], [0, 0]], [False, False, False, False, False]),
    ],
)
def test_a_sample_of_binary_cross_entropy_is_right_where_every_output_is_on_its_side(targets, right) -> None:
    assert BCE.are_right(SIDES, torch.tensor(targets).float(), None).tolist() == right


def judged_by_hand(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    return sum(
        all((z > 0) == (t == 1) for z, t in zip(*rows, strict=True))
        for rows in zip(outputs.tolist(), targets.tolist(), strict=True)
    ) / len(outputs)


@pytest.mark.parametrize("engine", ["reference", "fused"])
@pytest.mark.parametrize("outputs", [1, 3, 20])
@pytest.mark.parametrize("members", [1, 20])
def test_accuracy_is_what_the_loss_calls_right(engine, outputs: int, members: int) -> None:
    inputs = draw(40, 3)
    targets = (inputs @ draw(3, outputs, seed=1) > 0).double()
    targets = targets[:, 0].long() if outputs == 1 else targets
    network, data = fm.Linear(3, outputs), fm.Dataset(inputs, targets)
    keys = fm.random.key(0).split(members)
    result = fm.fit_ensemble(
        network, BCE, fm.SGD(5.0), data, keys=keys, epochs=8, validation=data, batch_size=7, engine=engine
    )
    member = result.member(members - 1)
    expected = judged_by_hand(fm.predict(network, member.params, inputs), targets.reshape(40, outputs))
    assert expected > 0
    assert member.history.validation_accuracy[-1] == expected
    assert fm.evaluate(network, BCE, member.params, data, engine=engine).accuracy == expected
    assert fm.ensemble.evaluate(network, BCE, result.params, data).members[-1].accuracy == expected


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_accuracy_is_unknown_where_targets_are_no_answers(engine) -> None:
    data = fm.Dataset(draw(8, 2), draw(8, 2).sigmoid())
    result = fm.fit(fm.Linear(2, 2), BCE, fm.SGD(0.1), data, key=fm.random.key(0), epochs=1, engine=engine)
    assert math.isnan(result.history.train_accuracy[0])


def test_a_dataset_of_a_third_class_is_refused_before_training() -> None:
    data = fm.Dataset(draw(3, 2), torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="between 0 and 1, got 2 at index"):
        fm.fit(fm.Linear(2, 1), BCE, fm.SGD(0.1), data, key=fm.random.key(0), epochs=1)


def test_a_loss_without_expressions_says_what_it_needs() -> None:
    with pytest.raises(NotImplementedError, match="Loss must define sample_value"):
        fm.Loss().value(P, P)
    with pytest.raises(NotImplementedError, match="Loss must define sample_grad"):
        fm.Loss().grad(P, P)
