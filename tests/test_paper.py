"""The equations of the paper (`mini-project-2.txt`), each a test that states it.

The numbers of a test come from the equation, written out in loops over plain Python numbers, and not from
the library or from torch.
"""

import math
from collections.abc import Sequence

import pytest
import torch

import functional_mlp as fm
from tests.helpers import KEY, draw

Vector = list[float]
Matrix = list[Vector]

ETA = 0.01
W, B = draw(3, 2), draw(3, seed=1)  # w⁽ˡ⁾, (o, i) = (3, 2), and b⁽ˡ⁾
X = draw(2, seed=2)  # x⁽ˡ⁻¹⁾
DELTA_S = draw(3, seed=3)  # ∂ℓ/∂s⁽ˡ⁾
LINEAR, PARAMS = fm.Linear(2, 3), fm.LinearParams(W, B)


def close(expected: object) -> object:
    return pytest.approx(expected, rel=1e-13)


def matvec(w: Matrix, x: Vector) -> Vector:
    return [sum(w_ij * x_j for w_ij, x_j in zip(row, x, strict=True)) for row in w]


def transposed(w: Matrix) -> Matrix:
    return [list(column) for column in zip(*w, strict=True)]


def subtract(a: Sequence[float], b: Sequence[float], factor: float = 1.0) -> Vector:
    return [a_i - factor * b_i for a_i, b_i in zip(a, b, strict=True)]


def test_forward_pass() -> None:
    """s⁽ˡ⁾ = w⁽ˡ⁾ x⁽ˡ⁻¹⁾ + b⁽ˡ⁾ and x⁽ˡ⁾ = σ(s⁽ˡ⁾)."""
    s = [s_i + b_i for s_i, b_i in zip(matvec(W.tolist(), X.tolist()), B.tolist(), strict=True)]
    assert LINEAR.apply(PARAMS, X).tolist() == close(s)
    network = fm.Sequential(LINEAR, fm.Tanh())
    assert network.apply((PARAMS, ()), X).tolist() == close([math.tanh(s_i) for s_i in s])


def test_mean_squared_error() -> None:
    """𝓛 = 1/n Σᵢ ‖ŷᵢ − tᵢ‖², in the convention of the tables: the mean over the outputs as well."""
    predictions, targets = draw(5, 2), draw(5, 2, seed=1)
    squares = [(p - t) ** 2 for p, t in zip(predictions.flatten().tolist(), targets.flatten().tolist(), strict=True)]
    assert fm.MeanSquaredError().value(predictions, targets).item() == close(sum(squares) / 10)


def test_equation_1_gradient_of_the_loss() -> None:
    """∂ℓ/∂x⁽ᴸ⁾ = ∇ℓ(x⁽ᴸ⁾), which for two outputs and the tables' convention is ŷ − t."""
    prediction, target = draw(2), torch.tensor([0.0, 1.0], dtype=torch.float64)
    expected = subtract(prediction.tolist(), target.tolist())
    assert fm.MeanSquaredError().grad(prediction, target).tolist() == close(expected)


def test_equation_2_gradient_of_a_linear_layers_input() -> None:
    """∂ℓ/∂x⁽ˡ⁻¹⁾ = (w⁽ˡ⁾)ᵀ ∂ℓ/∂s⁽ˡ⁾."""
    _, grad_x = LINEAR.vjp(PARAMS, X, DELTA_S)
    assert grad_x.tolist() == close(matvec(transposed(W.tolist()), DELTA_S.tolist()))


@pytest.mark.parametrize(
    ("activation", "derivative"),
    [
        (fm.Tanh(), lambda s: 1 / math.cosh(s) ** 2),
        (fm.ReLU(), lambda s: 1.0 if s > 0 else 0.0),
    ],
    ids=["Tanh", "ReLU"],
)
def test_equation_3_gradient_of_the_summation(activation: fm.Elementwise, derivative) -> None:
    """∂ℓ/∂s⁽ˡ⁾ = ∂ℓ/∂x⁽ˡ⁾ ⊙ σ'(s⁽ˡ⁾)."""
    s, delta_x = draw(8), draw(8, seed=1)
    _, grad_s = activation.vjp((), s, delta_x)
    expected = [d * derivative(s_i) for d, s_i in zip(delta_x.tolist(), s.tolist(), strict=True)]
    assert grad_s.tolist() == close(expected)


def test_equation_4_gradient_of_the_weights() -> None:
    """∂ℓ/∂w⁽ˡ⁾ = ∂ℓ/∂s⁽ˡ⁾ (x⁽ˡ⁻¹⁾)ᵀ, of the shape (o, i)."""
    grads, _ = LINEAR.vjp(PARAMS, X, DELTA_S)
    for o, row in enumerate(grads.weight.tolist()):
        assert row == close([DELTA_S[o].item() * X[i].item() for i in range(2)])


def test_equation_5_gradient_of_the_biases() -> None:
    """∂ℓ/∂b⁽ˡ⁾ = ∂ℓ/∂s⁽ˡ⁾."""
    grads, _ = LINEAR.vjp(PARAMS, X, DELTA_S)
    assert grads.bias.tolist() == DELTA_S.tolist()


def test_equation_6_step_of_the_weights() -> None:
    """w⁽ˡ⁾ ← w⁽ˡ⁾ − η ∂ℓ/∂w⁽ˡ⁾."""
    grads = fm.LinearParams(draw(3, 2, seed=4), draw(3, seed=5))
    updated = fm.SGD(ETA).update(fm.SGD(ETA).init(PARAMS), grads).params
    assert updated.weight.flatten().tolist() == close(
        subtract(W.flatten().tolist(), grads.weight.flatten().tolist(), ETA)
    )


def test_equation_7_step_of_the_biases() -> None:
    """b⁽ˡ⁾ ← b⁽ˡ⁾ − η ∂ℓ/∂b⁽ˡ⁾."""
    grads = fm.LinearParams(draw(3, 2, seed=4), draw(3, seed=5))
    updated = fm.SGD(ETA).update(fm.SGD(ETA).init(PARAMS), grads).params
    assert updated.bias.tolist() == close(subtract(B.tolist(), grads.bias.tolist(), ETA))


def test_momentum_rule() -> None:
    """V_t = β V_{t−1} + (1 − β) ∂ℓ/∂w and w ← w − η V_t, from V = 0; the paper's β is 0.5."""
    beta, optimizer = 0.5, fm.Momentum(ETA, beta=0.5)
    state = optimizer.init(W.flatten())
    w, velocity = W.flatten().tolist(), [0.0] * 6
    for step in range(10):
        grad = draw(6, seed=step)
        state = optimizer.update(state, grad)
        velocity = [beta * v + (1 - beta) * g for v, g in zip(velocity, grad.tolist(), strict=True)]
        w = subtract(w, velocity, ETA)
    assert state.params.tolist() == close(w)
    assert state.velocity.tolist() == close(velocity)


def test_batch_rule() -> None:
    """w ← w − η ∇𝓛(w) with 𝓛 the mean of ℓ over a batch: the same by batches of samples and by `BatchGD`."""
    data = fm.Dataset(draw(6, 2), draw(6, 2, seed=1))
    network, loss = fm.Linear(2, 2, bias=False), fm.MeanSquaredError()
    w = draw(2, 2, seed=2)
    expected = w.tolist()
    rows = list(zip(data.inputs.tolist(), data.targets.tolist(), strict=True))
    for batch in (rows[:3], rows[3:]):
        step = [[0.0, 0.0], [0.0, 0.0]]
        for x, t in batch:
            error = subtract(matvec(expected, x), t)
            for o in range(2):
                for i in range(2):
                    step[o][i] += ETA * error[o] * x[i] / 3
        expected = [subtract(row, change) for row, change in zip(expected, step, strict=True)]

    def learnt(optimizer: fm.Optimizer, samples_a_gradient: int) -> Matrix:
        state = optimizer.init(fm.LinearParams(w, None))
        for batch in torch.arange(6).split(samples_a_gradient):
            _, grads = fm.value_and_grad(network, loss)(state.params, data.inputs[batch], data.targets[batch])
            state = optimizer.update(state, grads)
        return state.params.weight.flatten().tolist()

    assert learnt(fm.SGD(ETA), 3) == close([*expected[0], *expected[1]])
    assert learnt(fm.BatchGD(ETA, batch_size=3), 1) == close([*expected[0], *expected[1]])


def test_algorithm_1_sgd() -> None:
    """For each epoch, in a random order, for each sample: w ← w − η ∇ℓᵢ(w); and η times 0.9 an epoch."""
    data = fm.Dataset(draw(5, 1), draw(5, 1, seed=1))
    start = fm.LinearParams(draw(1, 1, seed=2), None)
    result = fm.fit(
        fm.Linear(1, 1, bias=False),
        fm.MeanSquaredError(),
        fm.SGD(ETA),
        data,
        key=KEY,
        epochs=3,
        params=start,
        schedule=fm.schedules.exponential_decay(0.9),
    )
    w, eta = start.weight.item(), ETA
    for epoch in range(3):
        for i in fm.random.permutation(KEY.split()[1].fold_in(epoch), 5).tolist():
            x, t = data.inputs[i].item(), data.targets[i].item()
            w -= eta * 2 * (w * x - t) * x
        eta *= 0.9
    assert result.params.weight.item() == close(w)
    assert result.history.learning_rate == close([ETA, ETA * 0.9, ETA * 0.9**2])


def test_section_2_labels() -> None:
    """Label 1 inside the disk of radius 1/√(2π), 0 outside; centred at (0.5, 0.5), as its tables show."""
    data = fm.datasets.disk(KEY, 200, dtype=torch.float64)
    for (x, y), target in zip(data.inputs.tolist(), data.targets.tolist(), strict=True):
        inside = math.hypot(x - 0.5, y - 0.5) < 1 / math.sqrt(2 * math.pi)
        assert target == ([0.0, 1.0] if inside else [1.0, 0.0])


def test_section_4_initialization() -> None:
    """Weights and biases alike are drawn from U(−1, 1)."""
    draws = fm.initializers.uniform(-1, 1)
    params = fm.Linear(40, 50, weight_init=draws, bias_init=draws).init(KEY)
    for leaf in (params.weight, params.bias):
        assert -1 <= leaf.min() < -0.9
        assert 0.9 < leaf.max() < 1
        assert leaf.mean().abs() < 3 / math.sqrt(3 * leaf.numel())


def test_a_run_on_the_papers_network_learns() -> None:
    """Section VI-A in small: 2-25-25-25-2 with ReLU, ReLU and Tanh, on the disk; a newcomer's first test."""
    draws = fm.initializers.uniform(-1, 1)
    sizes = [(2, 25), (25, 25), (25, 25), (25, 2)]
    linears = [fm.Linear(i, o, weight_init=draws, bias_init=draws) for i, o in sizes]
    network = fm.Sequential(linears[0], fm.ReLU(), linears[1], fm.ReLU(), linears[2], fm.Tanh(), linears[3])
    data_key, validation_key, fit_key = KEY.split(3)
    data, validation = fm.datasets.disk(data_key), fm.datasets.disk(validation_key)
    schedule = fm.schedules.exponential_decay(0.9)
    result = fm.fit(
        network,
        fm.MeanSquaredError(),
        fm.SGD(0.01),
        data,
        key=fit_key,
        epochs=12,
        schedule=schedule,
        validation=validation,
    )
    assert result.history.validation_loss[-1] < 0.08
    assert result.history.validation_accuracy[-1] > 0.93
