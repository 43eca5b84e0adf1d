"""The fused engine as its users meet it: pure, safe with threads and any memory, honest about what it can run."""

import itertools
import math
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest
import torch

import functional_mlp as fm
from functional_mlp import pytree
from functional_mlp.engine.compiling import NetworkSource
from functional_mlp.engine.llvm.target import host
from functional_mlp.engine.lowering import lower
from functional_mlp.engine.plan import Sharing, plan_of
from functional_mlp.engine.policy import Policy, Unrolled
from functional_mlp.engine.running import FusedRun
from functional_mlp.testing import assert_trees_close, check_engines_agree
from tests.engine import modes
from tests.engine.modes import AVX512, SHARED, check_agreement

KEY = fm.random.key(0)
MSE = fm.MeanSquaredError()
NETWORK = fm.Sequential(fm.Linear(2, 7), fm.Tanh(), fm.Residual(fm.Linear(7, 7)), fm.ReLU(), fm.Linear(7, 2))
DATA = fm.datasets.disk(KEY, 50, dtype=torch.float64)


class Softsign(fm.Elementwise):
    def value(self, xp, s):
        return s / (1 + xp.abs(s))

    def derivative(self, xp, s, y):
        return 1 / (1 + xp.abs(s)) ** 2


@attrs.frozen(repr=False)
class SignDescent(fm.Optimizer):
    def rule(self, xp, step, learning_rate, param, grad):
        return (param - learning_rate * xp.minimum(xp.maximum(grad, -1), 1) / xp.sqrt(step),)


class MeanAbsoluteError(fm.Loss):
    def sample_value(self, xp, prediction, target):
        return xp.sum(xp.abs(prediction - target)) / prediction.shape[-1]

    def sample_grad(self, xp, prediction, target):
        return xp.sign(prediction - target) / prediction.shape[-1]


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_layers_losses_and_optimizers_of_a_user_are_fused(batch_size: int) -> None:
    network = fm.Sequential(fm.Linear(2, 5), Softsign(), fm.Linear(5, 2))
    assert fm.engine.explain(network, MeanAbsoluteError(), SignDescent(0.1), dtype=torch.float64) is None
    check_engines_agree(network, MeanAbsoluteError(), SignDescent(0.1), DATA, batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [127, 128, 129, 300, 1000])
def test_batches_of_several_pieces(batch_size: int) -> None:
    data = fm.datasets.disk(KEY, 700, dtype=torch.float64)
    check_engines_agree(NETWORK, fm.CrossEntropy(), fm.Momentum(0.1), data, batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [1, 20])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (70, 3, 120), (3, 200, 90, 2), (150, 2), (17, 16, 33, 31)])
def test_widths_from_one_to_hundreds(sizes: tuple[int, ...], batch_size: int) -> None:
    layers: list[fm.Layer] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [fm.Linear(inputs, outputs), fm.SiLU()]
    inputs = fm.random.normal(KEY, (45, sizes[0]), dtype=torch.float64)
    data = fm.Dataset(inputs, torch.arange(45) % sizes[-1])
    check_engines_agree(fm.Sequential(*layers), fm.CrossEntropy(), fm.SGD(0.05), data, batch_size=batch_size, epochs=2)


def test_loops_give_what_unrolled_code_gives() -> None:
    data = fm.datasets.disk(KEY, 40, dtype=torch.float64)
    network = fm.Sequential(fm.Linear(2, 41), fm.Tanh(), fm.Linear(41, 37), fm.Tanh(), fm.Linear(37, 2))
    policy = Policy(unrolled_in_one_piece=Unrolled(products=0))
    check_agreement(network, MSE, fm.Momentum(0.05), data, policy=policy)


@pytest.mark.parametrize("optimizer", [fm.SGD(0.05), fm.Adam(0.01)], ids=repr)
@pytest.mark.parametrize("batch_size", [1, 7, 200])
def test_functions_that_layers_share_give_what_code_in_one_piece_gives(
    batch_size: int, optimizer: fm.Optimizer
) -> None:
    data = fm.datasets.disk(KEY, 60, dtype=torch.float64)
    block = fm.Sequential(fm.Linear(9, 9), fm.Tanh(), fm.Linear(9, 9, bias=False), fm.GELU())
    network = fm.Sequential(fm.Linear(2, 9), fm.ReLU(), block, fm.Residual(block), fm.Linear(9, 1), fm.Linear(1, 2))
    results = []
    for sharing in (Sharing.NONE, Sharing.EQUAL_SIZES):
        # In one piece fewer matrices are kept transposed, whose sums go another way.
        policy = attrs.evolve(SHARED[sharing], most_copied_vectors=1000)
        check_agreement(network, MSE, optimizer, data, batch_size=batch_size, policy=policy)
        options = {"epochs": 2, "batch_size": batch_size, "validation": data}
        result = modes.fit(network, MSE, optimizer, data, key=KEY, policy=policy, **options)
        results.append((result.state, result.history.validation_loss))
    if batch_size > 1 or not optimizer.slots():  # tails, which are in one piece only, are added up in another order
        assert pytree.equal(results[0][0].optimizer_state, results[1][0].optimizer_state)
        assert results[0][1] == results[1][1]


def run_of(network: fm.Layer, optimizer: fm.Optimizer) -> FusedRun:
    program = lower(network, MSE, optimizer, batch_size=10, class_targets=False, dtype=torch.float64)
    return FusedRun(program, optimizer.init(network.init(KEY, dtype=torch.float64)), DATA)


def test_epochs_trained_ahead_are_those_trained_one_by_one() -> None:
    optimizer = fm.Momentum(0.1)
    assert run_of(NETWORK, optimizer).epochs_ahead(1) > 7
    seen: list[fm.TrainState] = []

    def look(epoch: int, state: fm.TrainState, history: fm.History) -> bool:
        assert (state.epoch, len(history)) == (epoch + 1, epoch + 1)
        seen.append(state)
        return epoch == 6

    common = {"key": KEY, "batch_size": 10, "engine": "fused", "validation": DATA}
    result = fm.fit(NETWORK, MSE, optimizer, DATA, epochs=20, callbacks=[look], **common)
    expected = fm.fit(NETWORK, MSE, optimizer, DATA, epochs=7, **common)
    assert pytree.equal(result.state, expected.state)
    assert attrs.evolve(result.history, seconds=()) == attrs.evolve(expected.history, seconds=())
    state = fm.TrainState(optimizer.init(NETWORK.init(KEY.split()[0], dtype=torch.float64)), KEY.split()[1], 0)
    for own in seen:
        state, _ = fm.train_epoch(NETWORK, MSE, state, DATA, optimizer=optimizer, batch_size=10, engine="fused")
        assert pytree.equal(own, state)


def test_epochs_of_several_calls_are_all_trained() -> None:
    """Four threads take as many epochs at once as there are rows for in four calls of one."""
    optimizer, policy = fm.SGD(0.1), modes.among_threads()
    program = lower(NETWORK, MSE, optimizer, batch_size=25, class_targets=False, dtype=torch.float64)
    for_a_row = policy.operations_per_call // plan_of(program, host()).rows_per_call
    policy = attrs.evolve(policy, operations_per_call=for_a_row * len(DATA) * 2 // 3)

    def losses(threads: int) -> tuple[float, ...]:
        with modes.torch_threads(threads):
            result = modes.fit(NETWORK, MSE, optimizer, DATA, key=KEY, epochs=5, batch_size=25, policy=policy)
        return result.history.train_loss

    assert losses(4) == losses(1)


def test_epochs_of_a_schedule_that_a_callback_may_change_are_not_trained_ahead() -> None:
    factors = [1.0, 0.5, 0.25, 0.125]

    @attrs.frozen(repr=False)
    class Told(fm.schedules.Schedule):
        def factor(self, epoch: int) -> float:
            return factors[0]

    def look(epoch: int, state: fm.TrainState, history: fm.History) -> None:
        factors.pop(0)

    common = {"key": KEY, "batch_size": 10, "engine": "fused", "epochs": 3, "callbacks": [look]}
    history = fm.fit(NETWORK, MSE, fm.SGD(0.1), DATA, schedule=fm.schedules.warmup(1, Told()), **common).history
    assert history.learning_rate == (0.1, 0.05, 0.025)


@attrs.frozen(repr=False)
class Shift(fm.Elementwise):
    by: float

    def value(self, xp, s):
        return s + math.copysign(0.5, self.by)

    def derivative(self, xp, s, y):
        return 1


@pytest.mark.parametrize("batch_size", [1, 4])
def test_layers_that_are_equal_but_for_the_sign_of_zero_share_no_functions(batch_size: int) -> None:
    layers = [(fm.Linear(5, 5), Shift(zero)) for zero in (0.0, -0.0, 0.0, -0.0, 0.0)]
    network = fm.Sequential(fm.Linear(2, 5), *itertools.chain.from_iterable(layers), fm.Linear(5, 2))
    check_engines_agree(network, MSE, fm.SGD(0.01), DATA, batch_size=batch_size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_of_many_outputs(dtype: torch.dtype) -> None:
    targets = torch.arange(60) % 100
    data = fm.Dataset(fm.random.normal(KEY, (60, 3), dtype=dtype), targets)
    network = fm.Sequential(fm.Linear(3, 100), fm.Tanh(), fm.Linear(100, 100))
    check_engines_agree(network, fm.CrossEntropy(), fm.SGD(0.05), data)


@pytest.mark.parametrize("batch_size", [1, 10])
def test_equal_layers_add_little_code(batch_size: int) -> None:
    def lines(depth: int) -> int:
        layers = [layer for _ in range(depth) for layer in (fm.Linear(25, 25), fm.Tanh())]
        network = fm.Sequential(*layers)
        program = lower(network, MSE, fm.Adam(0.1), batch_size=batch_size, class_targets=False, dtype=torch.float32)
        return str(NetworkSource(program, plan_of(program, AVX512)).emit()).count("\n")

    assert lines(30) < 2 * lines(10)


@pytest.mark.parametrize("batch_size", [1, 7, 200])
def test_long_epochs_are_cut_into_short_calls(batch_size: int) -> None:
    data, fractions = fm.datasets.disk(KEY, 450), []
    options = {"key": KEY, "epochs": 2, "batch_size": batch_size}
    # Code in one piece adds up the tails of rows in another order in the first sample of a call.
    shared = SHARED[Sharing.EQUAL_SIZES]
    whole = modes.fit(NETWORK, MSE, fm.Adam(0.01), data, policy=shared, **options)
    short = attrs.evolve(shared, operations_per_call=0)
    cut = modes.fit(NETWORK, MSE, fm.Adam(0.01), data, policy=short, **options, progress=fractions.append)
    assert fm.pytree.equal(whole.state, cut.state)
    pieces = {1: 450, 7: 65, 200: 16}[batch_size]
    assert len(fractions) == 2 * pieces
    assert fractions[-1] == 2


@pytest.mark.parametrize("batch_size", [1, 7, 200])
def test_rows_that_are_asked_for_before_they_are_needed_make_no_difference(batch_size: int) -> None:
    data = fm.Dataset(fm.random.normal(KEY, (450, 2)), torch.arange(450) % 2, weights=torch.linspace(0.1, 2.0, 450))
    options = {"key": KEY, "epochs": 2, "batch_size": batch_size}
    expected = fm.fit(NETWORK, fm.CrossEntropy(), fm.Adam(0.01), data, engine="fused", **options)
    policy = Policy(fewest_bytes_fetched=0)
    actual = modes.fit(NETWORK, fm.CrossEntropy(), fm.Adam(0.01), data, policy=policy, **options)
    assert fm.pytree.equal(actual.state, expected.state)


def test_a_fused_run_goes_on_to_the_same_bits() -> None:
    for optimizer in (fm.BatchGD(0.1, 7), fm.Adam(0.01)):
        options = {"key": KEY, "engine": "fused", "schedule": fm.schedules.exponential_decay(0.9), "batch_size": 3}
        whole = fm.fit(NETWORK, MSE, optimizer, DATA, epochs=5, **options)
        first = fm.fit(NETWORK, MSE, optimizer, DATA, epochs=2, **options)
        rest = fm.fit(NETWORK, MSE, optimizer, DATA, epochs=5, state=first.state, **options)
        assert fm.pytree.equal(whole.state, rest.state)


def awkward(tensor: torch.Tensor) -> list[torch.Tensor]:
    """The same numbers in memory that native code must not read as it lies."""
    padded = torch.zeros(tensor.numel() + 1, dtype=tensor.dtype)
    padded[1:] = tensor.flatten()
    return [
        tensor.T.contiguous().T,
        torch.stack([tensor, tensor], -1)[..., 0],
        padded[1:].view(tensor.shape),
        torch._neg_view(-tensor),
        tensor.clone().requires_grad_(),
    ]


def test_awkward_memory_gives_the_same_bits_and_comes_back_untouched() -> None:
    options = {"key": KEY, "epochs": 2, "engine": "fused"}
    params = NETWORK.init(KEY, dtype=torch.float64)
    expected = fm.fit(NETWORK, MSE, fm.SGD(0.1), DATA, params=params, **options)
    for inputs, targets in zip(awkward(DATA.inputs), awkward(DATA.targets), strict=True):
        before = inputs.detach().clone()
        first = fm.LinearParams(awkward(params[0].weight)[1], params[0].bias)
        data = fm.Dataset(inputs, targets)
        result = fm.fit(NETWORK, MSE, fm.SGD(0.1), data, params=(first, *params[1:]), **options)
        assert fm.pytree.equal(result.state, expected.state)
        assert torch.equal(inputs.detach(), before)
        assert not any(leaf.requires_grad for leaf in fm.pytree.leaves(result.state))


def test_expanded_targets() -> None:
    data = fm.Dataset(DATA.inputs, DATA.targets[:1].expand(50, 2))
    check_engines_agree(NETWORK, MSE, fm.SGD(0.1), data)


def test_runs_at_once_give_the_bits_of_runs_in_a_row() -> None:
    def run(seed: int) -> fm.TrainState:
        key, batch_size = fm.random.key(seed), 1 + seed % 3
        return fm.fit(
            NETWORK, MSE, fm.Adam(0.01), DATA, key=key, epochs=30, batch_size=batch_size, engine="fused"
        ).state

    in_a_row = [run(seed) for seed in range(12)]
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(run, range(12)))
    assert all(fm.pytree.equal(a, b) for a, b in zip(in_a_row, at_once, strict=True))


def test_the_floating_point_environment_of_the_caller_is_not_changed() -> None:
    denormal = torch.tensor([1e-40])
    fm.fit(NETWORK, MSE, fm.SGD(0.1), DATA, key=KEY, epochs=1, engine="fused")
    assert (denormal * 1.5).item() > 0


def test_divergence_leaves_the_last_finite_state() -> None:
    with pytest.warns(RuntimeWarning, match="diverged"):
        result = fm.fit(NETWORK, MSE, fm.SGD(1e3), DATA, key=KEY, epochs=5, engine="fused")
    assert result.diverged_at is not None
    assert all(bool(leaf.isfinite().all()) for leaf in fm.pytree.leaves(result.state))


def test_passes_forward_agree_with_the_reference() -> None:
    params = NETWORK.init(KEY, dtype=torch.float64)
    for shape in ((2,), (1, 2), (200, 2), (3, 100, 2), (0, 2)):
        x = fm.random.normal(KEY, shape, dtype=torch.float64)
        fused = fm.predict(NETWORK, params, x, engine="fused")
        assert_trees_close(fused, fm.predict(NETWORK, params, x))
    for targets in (DATA.targets, DATA.labels):
        data = fm.Dataset(DATA.inputs, targets)
        fused, reference = (
            fm.evaluate(NETWORK, fm.CrossEntropy(), params, data, engine=e) for e in ("fused", "reference")
        )
        assert fused.loss == pytest.approx(reference.loss, rel=1e-12)
        assert fused.accuracy == reference.accuracy


def test_validation_is_that_of_evaluate() -> None:
    result = fm.fit(NETWORK, MSE, fm.SGD(0.1), DATA, key=KEY, epochs=3, validation=DATA, engine="fused")
    metrics = fm.evaluate(NETWORK, MSE, result.params, DATA)
    assert result.history.validation_loss[-1] == pytest.approx(metrics.loss, rel=1e-12)
    assert result.history.validation_accuracy[-1] == metrics.accuracy


def test_accuracy_takes_the_first_of_equal_outputs_and_nan_for_the_largest() -> None:
    rows = [
        [1.0, 1.0, 0.0],
        [0.0, 2.0, 2.0],
        [float("nan"), 5.0, float("nan")],
        [0.0, float("nan"), 9.0],
        [3.0, 1.0, 2.0],
    ]
    inputs = torch.eye(5)
    params = fm.LinearParams(torch.tensor(rows).T.contiguous().nan_to_num(0), None)
    network = fm.Linear(5, 3, bias=False)
    for label in range(3):
        data = fm.Dataset(inputs, torch.full((5,), label))
        metrics = [fm.evaluate(network, fm.CrossEntropy(), params, data, engine=e) for e in ("fused", "reference")]
        assert metrics[0].accuracy == metrics[1].accuracy


class BothAtOnce(fm.MeanSquaredError):
    def batch_value_and_grad(self, predictions, targets):
        return self.batch_value(predictions, targets), self.batch_grad(predictions, targets)


@pytest.mark.parametrize(
    ("network", "loss", "optimizer", "fragment"),
    [
        (fm.Tanh(), MSE, fm.SGD(0.1), "how many features"),
        (fm.Sequential(fm.Linear(2, 2000)), MSE, fm.SGD(0.1), "2000 outputs"),
        (fm.Linear(2, 2), BothAtOnce(), fm.SGD(0.1), "defines batch_value_and_grad itself"),
    ],
)
def test_explain_says_why(network: fm.Layer, loss: fm.Loss, optimizer: fm.Optimizer, fragment: str) -> None:
    reason = fm.engine.explain(network, loss, optimizer)
    assert reason is not None
    assert fragment in reason
    with pytest.raises(ValueError, match=fragment):
        fm.engine.compile(network, loss, optimizer, batch_size=1)


class Foreign(fm.Layer):
    def apply(self, params, x):
        return x * 1

    def vjp(self, params, x, grad_out):
        return (), grad_out * 1


class TorchExp(fm.Elementwise):
    def value(self, xp, s):
        return torch.exp(s)

    def derivative(self, xp, s, y):
        return y


class Branching(fm.Elementwise):
    def value(self, xp, s):
        return s if s > 0 else 0 * s

    def derivative(self, xp, s, y):
        return 1


class OwnForward(fm.ReLU):
    def forward(self, params, x):
        return x, (x, x, x)

    def backward(self, params, tape, grad_out):
        return (), grad_out


@pytest.mark.parametrize(
    ("layer", "fragment"),
    [(Foreign(), "Foreign"), (TorchExp(), "torch.exp"), (Branching(), "xp.where"), (OwnForward(), "forward")],
)
def test_layers_beyond_the_algebra_are_left_to_the_reference(layer: fm.Layer, fragment: str) -> None:
    network = fm.Sequential(fm.Linear(2, 2), layer)
    reason = fm.engine.explain(network, MSE, fm.SGD(0.1))
    assert reason is not None
    assert fragment in reason
    if isinstance(layer, Branching):
        return  # nor can the reference run it
    with pytest.raises(ValueError, match="engine='fused' cannot run this"):
        fm.fit(network, MSE, fm.SGD(0.1), DATA, key=KEY, epochs=1, engine="fused")
    with pytest.raises(ValueError, match="engine='fused' cannot run this"):
        fm.predict(network, network.init(KEY, dtype=torch.float64), DATA.inputs, engine="fused")
    fm.fit(network, MSE, fm.SGD(0.1), DATA, key=KEY, epochs=1)


@pytest.mark.parametrize("batch_size", [1, 30])
@pytest.mark.parametrize("sharing", Sharing)
def test_rows_that_would_crowd_a_cache(sharing: Sharing, batch_size: int) -> None:
    network = fm.Sequential(fm.Linear(3, 512), fm.Tanh(), fm.Linear(512, 8), fm.Linear(8, 1024), fm.Linear(1024, 2))
    data = fm.Dataset(fm.random.normal(KEY, (45, 3), dtype=torch.float64), torch.arange(45) % 2)
    options = {"batch_size": batch_size, "epochs": 2}
    check_agreement(network, fm.CrossEntropy(), fm.SGD(0.01), data, policy=SHARED[sharing], **options)


def test_auto_takes_the_engine_for_very_wide_layers() -> None:
    wide, data = fm.Sequential(fm.Linear(2, 800), fm.Linear(800, 800), fm.Linear(800, 2)), fm.datasets.disk(KEY, 100)
    auto, fused = (
        fm.fit(wide, fm.CrossEntropy(), fm.SGD(0.01), data, key=KEY, epochs=1, batch_size=100, engine=engine)
        for engine in ("auto", "fused")
    )
    assert pytree.equal(auto.state, fused.state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_other_dtypes_and_devices_are_explained(dtype: torch.dtype) -> None:
    assert "torch.float32" in str(fm.engine.explain(NETWORK, MSE, fm.SGD(0.1), dtype=dtype))
    assert "CPU" in str(fm.engine.explain(NETWORK, MSE, fm.SGD(0.1), device="cuda"))


def test_compiled_epochs_are_pure_and_check_their_arguments() -> None:
    optimizer = fm.Momentum(0.1)
    epoch = fm.engine.compile(NETWORK, fm.CrossEntropy(), optimizer, batch_size=4, dtype=torch.float64)
    state = optimizer.init(NETWORK.init(KEY, dtype=torch.float64))
    order = fm.random.permutation(KEY, 50)
    for data in (DATA, fm.Dataset(DATA.inputs, DATA.labels)):
        first, loss = epoch(state, data, order)
        second, again = epoch(state, data, order)
        assert fm.pytree.equal(first, second)
        assert loss == again
        assert first.step == 13
    for bad in (order.int(), order.float(), order + 1, order - 1, order[None], order[:0], [0, 1]):
        with pytest.raises((ValueError, TypeError), match="order"):
            epoch(state, DATA, bad)
    with pytest.raises(ValueError, match="dtype"):
        epoch(state, fm.datasets.disk(KEY, 50), order)
    with pytest.raises(TypeError, match="MomentumState"):
        epoch(fm.SGD(0.1).init(state.params), DATA, order)
    with pytest.raises(TypeError, match="batch_size"):
        fm.engine.compile(NETWORK, MSE, optimizer, batch_size=True)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_is_heard_within_a_long_epoch() -> None:
    program = """
import functional_mlp as fm, time
data = fm.datasets.disk(fm.random.key(0), 2_000_000)
network = fm.Sequential(fm.Linear(2, 64), fm.Tanh(), fm.Linear(64, 2))
told = []
def progress(done):
    if not told:
        told.append(print("started", flush=True))
options = {"key": fm.random.key(1), "epochs": 100, "engine": "fused", "progress": progress}
result = fm.fit(network, fm.MeanSquaredError(), fm.SGD(0.01), data, **options)
print("interrupted", result.interrupted, len(result.history) == result.state.epoch)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert output == "interrupted True True\n"


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_a_batch_size_beyond_all_data_is_one_batch(engine: str) -> None:
    results = [
        fm.fit(NETWORK, MSE, fm.SGD(0.1), DATA, key=KEY, epochs=2, batch_size=size, engine=engine).state
        for size in (50, 2**62, 2**63 - 1)
    ]
    assert all(fm.pytree.equal(results[0], result) for result in results)
    with pytest.raises(ValueError, match="batch_size must be a positive integer below 2"):
        fm.fit(NETWORK, MSE, fm.SGD(0.1), DATA, key=KEY, epochs=2, batch_size=2**63, engine=engine)


def test_native_code_is_given_no_memory_that_is_none() -> None:
    """Under a default device or a fake mode torch makes tensors that hold nothing."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    data, params = fm.datasets.disk(KEY, 20), NETWORK.init(KEY)
    expected = fm.predict(NETWORK, params, data.inputs, engine="fused")
    with torch.device("meta"):
        state = fm.fit(NETWORK, MSE, fm.SGD(0.1), data, key=KEY, epochs=2, engine="fused").state
        outputs = fm.predict(NETWORK, params, data.inputs, engine="fused")
        metrics = fm.evaluate(NETWORK, fm.CrossEntropy(), params, data, engine="fused")
    assert torch.equal(outputs, expected)
    assert metrics == fm.evaluate(NETWORK, fm.CrossEntropy(), params, data, engine="fused")
    again = fm.fit(NETWORK, MSE, fm.SGD(0.1), data, key=KEY, epochs=2, engine="fused").state
    assert fm.pytree.equal(state, again)
    with FakeTensorMode(allow_non_fake_inputs=True), pytest.raises(ValueError, match="must hold data"):
        fm.predict(NETWORK, params, data.inputs, engine="fused")


def test_a_negated_order_is_read_as_it_is() -> None:
    optimizer = fm.SGD(0.1)
    epoch = fm.engine.compile(NETWORK, MSE, optimizer, batch_size=1, dtype=torch.float64)
    state, order = optimizer.init(NETWORK.init(KEY, dtype=torch.float64)), fm.random.permutation(KEY, 50)
    assert epoch(state, DATA, torch._neg_view(-order))[1] == epoch(state, DATA, order)[1]


@pytest.mark.parametrize(
    "arguments",
    [
        {"loss": "mse"},
        {"loss": fm.MeanSquaredError},
        {"optimizer": "sgd"},
        {"dtype": "float32"},
        {"dtype": None},
        {"device": 3.5},
    ],
    ids=str,
)
def test_explain_refuses_what_is_no_loss_optimizer_dtype_or_device(arguments: dict[str, object]) -> None:
    whole = {"loss": MSE, "optimizer": fm.SGD(0.1), "dtype": torch.float32} | arguments
    with pytest.raises(TypeError, match=next(iter(arguments))):
        fm.engine.explain(NETWORK, whole.pop("loss"), whole.pop("optimizer"), **whole)


@pytest.mark.parametrize("targets", [torch.tensor([2, 0]), torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]]).double()])
def test_a_loss_sums_over_its_outputs_and_not_over_what_fills_a_vector(targets: torch.Tensor) -> None:
    """The log of a sum is one feature; with it, what stands beyond the outputs is not 0 under smoothed targets."""
    network, loss = fm.Linear(2, 3), fm.CrossEntropy(label_smoothing=0.2)
    data = fm.Dataset(torch.tensor([[0.5, -1.0], [2.0, 0.25]]).double(), targets)
    params = network.init(KEY, dtype=torch.float64)
    fused, reference = (fm.evaluate(network, loss, params, data, engine=engine) for engine in ("fused", "reference"))
    assert fused.loss == pytest.approx(reference.loss, rel=1e-12)
