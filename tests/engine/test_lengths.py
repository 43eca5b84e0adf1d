"""What would make too much code is refused, and what makes much of it agrees with the reference."""

import attrs
import pytest
import torch

import functional_mlp as fm
from functional_mlp.engine import lengths
from functional_mlp.engine.compiling import NetworkSource
from functional_mlp.engine.lowering import lower
from functional_mlp.engine.plan import Sharing, plan_of
from functional_mlp.engine.policy import MEASURED
from tests.engine.modes import AVX512, SHARED, check_agreement
from tests.tables import OPTIMIZERS

MSE = fm.MeanSquaredError()
NETWORK = fm.Sequential(fm.Linear(2, 7), fm.Tanh(), fm.Residual(fm.Linear(7, 7, bias=False)), fm.Linear(7, 2))
DATA = fm.datasets.disk(fm.random.key(0), 40, dtype=torch.float64)


@attrs.frozen(repr=False)
class Iterated(fm.Optimizer):
    """A rule as long as one likes."""

    times: int = attrs.field(default=20)

    def rule(self, xp, step, learning_rate, param, grad):
        for _ in range(self.times):
            grad = xp.sign(grad) * xp.sqrt(xp.abs(grad) + 0.01)
        return (param - learning_rate * grad,)


@attrs.frozen(repr=False)
class Sines(fm.Elementwise):
    """A long activation."""

    terms: int

    def value(self, xp, s):
        for _ in range(self.terms):
            s = s / (1 + xp.abs(s))
        return s

    def derivative(self, xp, s, y):
        return 1 + 0 * s


class LongLoss(fm.MeanSquaredError):
    def sample_value(self, xp, prediction, target):
        difference = prediction - target
        for _ in range(100):
            difference = xp.tanh(difference)
        return xp.sum(difference)


@pytest.mark.parametrize(
    ("network", "loss", "optimizer", "fragment"),
    [
        (fm.Sequential(fm.Linear(2, 2), Sines(5000)), MSE, fm.SGD(0.1), "Sines"),
        (fm.Sequential(fm.Linear(2, 2), *(fm.ELU(1 + i / 512) for i in range(300))), MSE, fm.SGD(0.1), "300 different"),
        (fm.Linear(2, 400), LongLoss(), fm.SGD(0.1), "LongLoss"),
        (fm.Linear(2, 2), MSE, Iterated(0.1, 1000), "Iterated"),
        (fm.Sequential(*[fm.Linear(2, 2)] * 2001), MSE, fm.SGD(0.1), "2001 layers"),
    ],
)  # fmt: skip
def test_what_would_make_too_much_code_is_refused(
    network: fm.Layer, loss: fm.Loss, optimizer: fm.Optimizer, fragment: str
) -> None:
    assert fragment in str(fm.engine.explain(network, loss, optimizer))


@pytest.mark.parametrize("batch_size", [1, 7, 40])
@pytest.mark.parametrize("sharing", Sharing)
def test_long_rules(sharing: Sharing, batch_size: int) -> None:
    check_agreement(NETWORK, MSE, Iterated(0.01), DATA, batch_size=batch_size, epochs=2, policy=SHARED[sharing])


def test_long_rules_are_emitted_few_times() -> None:
    sizes = range(40, 10, -5)
    network = fm.Sequential(*(fm.Linear(size, size - 5) for size in sizes))

    def text(times: int, batch_size: int) -> str:
        program = lower(
            network, MSE, Iterated(0.1, times), batch_size=batch_size, class_targets=False, dtype=torch.float32
        )
        return str(NetworkSource(program, plan_of(program, AVX512)).emit())

    for batch_size in (1, 10):
        roots = [text(times, batch_size).count('call <16 x float> @"llvm.sqrt') for times in (20, 21)]
        assert 0 < roots[1] - roots[0] <= MEASURED.rules


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_the_lengths_of_a_rule_grow_with_the_vectors(optimizer: fm.Optimizer) -> None:
    one, two, three = (lengths.rule_length(optimizer, None, count) for count in (1, 2, 3))
    assert two - one == three - two > 0
