"""`Online`: steps from Python are those of `train_epoch`, on both engines."""

import ctypes
import enum
import functools
import itertools
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from river import checks as river_checks
from torch._subclasses.fake_tensor import FakeTensorMode

import functional_mlp as fm
from functional_mlp import engines
from functional_mlp.engine.online import FusedSteps
from functional_mlp.engine.policy import Policy
from functional_mlp.online import ReferenceSteps
from functional_mlp.testing import datasets, losses, networks, optimizers
from tests.docs import pages
from tests.tables import LOSSES, OPTIMIZERS, PENALTIES

FEW = settings(max_examples=8)
KEY = fm.random.key(3)
NETWORK = fm.Sequential(fm.Linear(3, 5), fm.Tanh(), fm.Linear(5, 2))
PARAMS = NETWORK.init(fm.random.key(1))
X, TARGET = torch.tensor([0.5, -1.0, 2.0]), torch.tensor([0.25, 0.75])


def online_of(loss: fm.Loss | None = None, optimizer: fm.Optimizer | None = None, **more) -> fm.Online:
    loss, optimizer = fm.MeanSquaredError() if loss is None else loss, fm.Adam(0.01) if optimizer is None else optimizer
    return fm.Online(NETWORK, loss, optimizer, **more)


@attrs.frozen(repr=False)
class Reversed(fm.Layer):
    """A layer that is not written in the array algebra."""

    keeps_features = True

    def init(self, key, *, dtype=torch.float32, device=None):
        return ()

    def forward(self, params, x):
        return x.flip(-1), None

    def backward(self, params, tape, grad_out):
        return (), grad_out.flip(-1)


@attrs.frozen(repr=False)
class WithoutNumbers(Reversed):
    """A layer whose parameters are none."""

    def init(self, key, *, dtype=torch.float32, device=None):
        return torch.zeros(0, 2, dtype=dtype, device=device)

    def backward(self, params, tape, grad_out):
        return params, grad_out.flip(-1)


SLOW = fm.Sequential(fm.Linear(3, 5), Reversed(), fm.Linear(5, 2))


def check_epoch(network, loss, optimizer, data, batch_size, engine, penalty=None) -> None:
    """Steps in the order of an epoch give its state, and its mean loss."""
    dtype = data.inputs.dtype
    online = fm.Online(network, loss, optimizer, penalty=penalty, dtype=dtype)
    start = fm.TrainState(optimizer.init(network.init(fm.random.key(1), dtype=dtype)), KEY, 0)
    more = {"optimizer": optimizer, "batch_size": batch_size, "engine": engine, "penalty": penalty}
    expected, mean_loss = fm.train_epoch(network, loss, start, data, **more)
    state, total = online.init(start.optimizer_state), 0.0
    order = fm.random.permutation(KEY.fold_in(0), len(data))
    for rows in order.split(batch_size) if batch_size > 1 else order:
        weight = None if data.weights is None else data.weights[rows]
        state, value = online.step(state, data.inputs[rows], data.targets[rows], weight=weight)
        total += value * rows.numel() / len(data)
    assert state.step == expected.optimizer_state.step
    if engine == "fused":
        assert fm.pytree.equal(state.optimizer_state, expected.optimizer_state)
    else:
        torch.testing.assert_close(
            fm.pytree.leaves(state.optimizer_state), fm.pytree.leaves(expected.optimizer_state), equal_nan=True
        )
    assert total == pytest.approx(mean_loss, rel=1e-4 if dtype == torch.float32 else 1e-12, nan_ok=True)


@FEW
@given(data=st.data())
def test_steps_are_those_of_an_epoch_for_drawn_runs(data: st.DataObject) -> None:
    network, loss = data.draw(networks(max_depth=3)), data.draw(losses())
    dtype = data.draw(st.sampled_from([torch.float64, torch.float32]))
    samples = data.draw(datasets(network, loss, max_size=10, dtype=dtype))
    optimizer, batch_size = data.draw(optimizers(max_learning_rate=0.1)), data.draw(st.integers(1, 4))
    check_epoch(network, loss, optimizer, samples, batch_size, "fused")


PAIRS = [(loss, fm.Momentum(0.05)) for loss in LOSSES] + [
    (fm.MeanSquaredError(), optimizer) for optimizer in OPTIMIZERS
]


@pytest.mark.parametrize(("loss", "optimizer"), PAIRS, ids=repr)
def test_steps_are_those_of_an_epoch(loss: fm.Loss, optimizer: fm.Optimizer) -> None:
    data = fm.datasets.disk(fm.random.key(0), 12)
    network = fm.Sequential(fm.Linear(2, 4), fm.SiLU(), fm.Linear(4, 2))
    check_epoch(network, loss, optimizer, data, 1, "fused", PENALTIES[0])
    check_epoch(network, loss, optimizer, data, 5, "fused")


def test_a_network_that_threads_divide_among_them_takes_the_steps_of_an_epoch() -> None:
    network = fm.Sequential(fm.Linear(2, 512), fm.ReLU(), fm.Linear(512, 512), fm.ReLU(), fm.Linear(512, 2))
    assert isinstance(fm.Online(network, fm.MeanSquaredError(), fm.SGD(0.1)).steps, FusedSteps)
    check_epoch(network, fm.MeanSquaredError(), fm.SGD(0.1), fm.datasets.disk(fm.random.key(0), 6), 1, "fused")


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_reference_steps_where_the_engine_cannot(loss: fm.Loss, batch_size: int) -> None:
    data = fm.Dataset(torch.randn(9, 3, dtype=torch.float64), torch.eye(2, dtype=torch.float64)[torch.arange(9) % 2])
    assert isinstance(fm.Online(SLOW, loss, fm.SGD(0.1)).steps, ReferenceSteps)
    check_epoch(SLOW, loss, fm.Momentum(0.1), data, batch_size, "reference", PENALTIES[0])


@pytest.mark.parametrize("network", [NETWORK, SLOW], ids=["fused", "reference"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_weights_count_as_in_an_epoch(network: fm.Layer, batch_size: int) -> None:
    inputs, labels = torch.randn(9, 3, dtype=torch.float64), torch.arange(9) % 2
    data = fm.Dataset(inputs, labels, weights=torch.arange(9.0))
    engine = "fused" if network is NETWORK else "reference"
    check_epoch(network, fm.CrossEntropy(), fm.Adam(0.05), data, batch_size, engine)


@pytest.mark.parametrize("network", [NETWORK, SLOW], ids=["fused", "reference"])
def test_a_state_never_changes(network: fm.Layer) -> None:
    online = fm.Online(network, fm.MeanSquaredError(), fm.Momentum(0.1))
    params = network.init(fm.random.key(1))
    start = online.init(params)
    before = start.optimizer_state
    first, loss = online.step(start, X, TARGET)
    again, same_loss = online.step(start, X, TARGET)
    assert fm.pytree.equal(first.optimizer_state, again.optimizer_state)
    assert loss == same_loss
    assert fm.pytree.equal(start.optimizer_state, before)
    assert not fm.pytree.equal(first.params, start.params)
    for leaf in fm.pytree.leaves(first.params):
        leaf.zero_()  # these are tensors of the caller's own
    for leaf in fm.pytree.leaves(params):
        leaf.zero_()
    assert fm.pytree.equal(first.optimizer_state, again.optimizer_state)
    assert fm.pytree.equal(start.optimizer_state, before)


@pytest.mark.parametrize("network", [NETWORK, SLOW], ids=["fused", "reference"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_predictions_are_those_of_predict(network: fm.Layer, dtype: torch.dtype) -> None:
    online = fm.Online(network, fm.MeanSquaredError(), fm.SGD(0.1), dtype=dtype)
    params = network.init(fm.random.key(1), dtype=dtype)
    state, batch = online.init(params), torch.randn(4, 3, dtype=dtype)
    for x in (batch[0], batch[:1], batch, batch.T.contiguous().T, batch[0].numpy()):
        outputs = online.predict(state, x)
        torch.testing.assert_close(outputs, fm.predict(network, params, x))


def test_states_are_saved_and_copied_as_any_other(tmp_path) -> None:
    online = online_of()
    state, _ = online.step(online.init(PARAMS), X, TARGET)
    copied = pickle.loads(pickle.dumps(state))
    assert pickle.dumps(copied) == pickle.dumps(state)
    assert copied.online == online
    assert fm.pytree.equal(copied.optimizer_state, state.optimizer_state)
    resumed, _ = online.step(online.init(state.optimizer_state), X, TARGET)
    assert fm.pytree.equal(resumed.optimizer_state, online.step(copied, X, TARGET)[0].optimizer_state)
    fm.save(tmp_path / "model.safetensors", state.params, network=NETWORK, optimizer=online.optimizer)
    assert fm.pytree.equal(fm.load(tmp_path / "model.safetensors").params, state.params)
    assert repr(state).startswith("<OnlineState after 1 steps of Online(")
    empty = fm.Online(WithoutNumbers(), fm.MeanSquaredError(), fm.SGD(0.1))
    assert pickle.loads(pickle.dumps(empty.init(torch.zeros(0, 2)))).params.shape == (0, 2)


@pytest.mark.parametrize("network", [NETWORK, SLOW], ids=["fused", "reference"])
def test_arrays_and_tensors_of_any_layout_give_the_same_bits(network: fm.Layer) -> None:
    online = fm.Online(network, fm.CrossEntropy(), fm.SGD(0.1))
    state = online.init(network.init(fm.random.key(1)))
    expected, loss = online.step(state, X, 1)
    read_only = X.numpy().copy()
    read_only.flags.writeable = False
    wide = torch.stack([X, X], 1)
    forms = [
        X.numpy(),
        read_only,
        wide[:, 0],
        X.numpy()[::-1][::-1],
        (-X)._neg_view(),
        X.clone().requires_grad_(),
    ]
    labels = [1, torch.tensor(1), torch.tensor([1], dtype=torch.uint8), np.int64(1), np.array(1)]
    labels += [torch.tensor(True), True, np.bool_(True)]
    for x in forms:
        reached, value = online.step(state, x, torch.tensor(1))
        assert fm.pytree.equal(reached.params, expected.params)
        assert value == loss
    for label in labels[:2] + labels[3:]:
        assert fm.pytree.equal(online.step(state, X, label)[0].params, expected.params)
    of_one, value = online.step(state, X.expand(1, 3), labels[2])  # in the sums of batches
    assert fm.pytree.equal(online.step(state, X[None], 1)[0].params, of_one.params)
    torch.testing.assert_close(fm.pytree.leaves(of_one.params), fm.pytree.leaves(expected.params))
    assert value == pytest.approx(loss)


def test_a_step_may_have_a_learning_rate_of_its_own() -> None:
    online = online_of(optimizer=fm.SGD(0.1))
    state, _ = online.step(online.init(PARAMS), X, TARGET, learning_rate=0.0)
    assert fm.pytree.equal(state.params, PARAMS)
    assert state.learning_rate == 0.1


@pytest.mark.parametrize("network", [NETWORK, SLOW], ids=["fused", "reference"])
def test_nan_shows_in_the_loss(network: fm.Layer) -> None:
    online = fm.Online(network, fm.MeanSquaredError(), fm.SGD(0.1))
    state = online.init(network.init(fm.random.key(1)))
    lost, loss = online.step(state, X * float("nan"), TARGET)
    assert loss != loss
    assert not fm.pytree.leaves(lost.params)[0].isfinite().all()
    assert online.step(state, X, TARGET)[1] == online.step(state, X, TARGET)[1]


@pytest.mark.parametrize("network", [NETWORK, SLOW], ids=["fused", "reference"])
def test_a_sample_of_weight_0_counts_for_nothing(network: fm.Layer) -> None:
    online = fm.Online(network, fm.MeanSquaredError(), fm.SGD(0.1))
    state = online.init(network.init(fm.random.key(1)))
    weight, targets = torch.tensor([0.0, 1.0]), torch.stack([TARGET, -TARGET])
    expected, loss = online.step(state, torch.stack([X, X]), targets, weight=weight)
    for bad in (float("nan"), float("inf"), 3e38):
        batch, own = torch.stack([X * bad, X]), torch.stack([TARGET * bad, -TARGET])
        for answers in (targets, own):
            found, value = online.step(state, batch, answers, weight=weight)
            assert value == loss
            torch.testing.assert_close(fm.pytree.leaves(found.params), fm.pytree.leaves(expected.params))
        alone, value = online.step(state, X * bad, TARGET, weight=0.0)
        assert value == 0.0
        assert fm.pytree.equal(alone.params, state.params)


class OfOnesOwn(torch.Tensor):
    """A tensor of a class that a user wrote."""


class Class(enum.IntEnum):
    SECOND = 1


@pytest.mark.parametrize("network", [NETWORK, SLOW], ids=["fused", "reference"])
def test_tensors_and_numbers_of_other_classes_are_taken_as_they_are(network: fm.Layer) -> None:
    values, classes = (fm.Online(network, loss, fm.SGD(0.1)) for loss in (fm.MeanSquaredError(), fm.CrossEntropy()))
    params = network.init(fm.random.key(1))
    state, zeros = values.init(params), torch._efficientzerotensor(3)
    for x, same in ((X.as_subclass(OfOnesOwn), X), (zeros, torch.zeros(3))):
        for form, wanted in ((x, same), (x[None], same[None]), (torch.stack([x, x]), torch.stack([same, same]))):
            outputs = values.predict(state, form)
            assert type(outputs) is torch.Tensor
            assert outputs.equal(values.predict(state, wanted))
        target = TARGET.as_subclass(OfOnesOwn)
        reached, expected = values.step(state, x, target)[0], values.step(state, same, TARGET)[0]
        assert {type(leaf) for leaf in fm.pytree.leaves(reached.params)} == {torch.Tensor}
        assert fm.pytree.equal(reached.params, expected.params)
    state = classes.init(params)
    assert classes.step(state, X, Class.SECOND)[1] == classes.step(state, X, 1)[1]
    _, loss = classes.step(state, X, 1, weight=2)
    assert all(classes.step(state, X, 1, weight=kind(2))[1] == loss for kind in (np.float32, np.float16, np.int64))


def test_predictions_are_memory_of_the_callers_own() -> None:
    class Params(Reversed):
        def init(self, key, *, dtype=torch.float32, device=None):
            return torch.ones(3, dtype=dtype, device=device)

        def forward(self, params, x):
            return params, None

    for network in (Params(), fm.Identity()):
        online = fm.Online(network, fm.MeanSquaredError(), fm.SGD(0.1))
        x, state = X.clone(), online.init(network.init(fm.random.key(0)))
        before = state.params
        online.predict(state, x).zero_()
        assert x.equal(X)
        assert fm.pytree.equal(state.params, before)


def test_threads_may_step_at_once() -> None:
    online = online_of()
    start = online.init(PARAMS)

    def run(number: int) -> fm.OnlineState:
        state = start
        for _ in range(50):
            state, _ = online.step(state, X * number, TARGET)
        return state

    expected = [run(number) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(run, range(4)), expected, strict=True):
            assert fm.pytree.equal(found.optimizer_state, wanted.optimizer_state)


def test_the_adapter_of_the_guide_passes_the_checks_of_river() -> None:
    page = pages.ROOT / "docs" / "guides" / "online.md"
    (code,) = (
        block["code"] for block in pages.BLOCK.finditer(page.read_text()) if "class OnlineRegressor" in block["code"]
    )
    with pages.module_of(page) as module:
        exec("import torch\nimport functional_mlp as fm\n" + code.split("\nmodel, error =")[0], vars(module))
        for check in river_checks.yield_checks(module.OnlineRegressor()):
            if "memory_growth" not in str(check):  # it takes half a minute
                check(module.OnlineRegressor())


REFUSED = {
    "width": (lambda s: (s, X[:2], TARGET), ValueError, r"x must be a sample of shape \(3,\)"),
    "dtype": (lambda s: (s, X.double(), TARGET), ValueError, "dtype torch.float32, got torch.float64"),
    "list": (lambda s: (s, [0.0, 1.0, 2.0], TARGET), TypeError, "x must be a torch.Tensor"),
    "meta": (lambda s: (s, X.to("meta"), TARGET), ValueError, "hold data"),
    "outputs": (lambda s: (s, X, torch.zeros(3)), ValueError, "targets must"),
    "target of one more": (lambda s: (s, X[None], torch.zeros(2, 2)), ValueError, "targets must"),
    "state": (lambda s: (PARAMS, X, TARGET), TypeError, "state must be an OnlineState"),
    "tree": (lambda s: (s.optimizer_state, X, TARGET), TypeError, "state must be an OnlineState"),
    "bools": (lambda s: (s, X, torch.tensor([True, False])), ValueError, "got a torch.bool tensor"),
    "another's state": (lambda s: (online_of(optimizer=fm.SGD(0.1)).init(PARAMS), X, TARGET), ValueError, "is one of"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name: str) -> None:
    online = online_of()
    given, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        online.step(*given(online.init(PARAMS)))


@pytest.mark.parametrize("network", [NETWORK, SLOW], ids=["fused", "reference"])
def test_tensors_that_cannot_be_read_are_refused(network: fm.Layer) -> None:
    online = fm.Online(network, fm.MeanSquaredError(), fm.SGD(0.1))
    state = online.init(network.init(fm.random.key(1)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls them a prototype
        nested = torch.nested.nested_tensor([TARGET])
    for x, target in ((nested, TARGET), (X, nested)):
        with pytest.raises(ValueError, match="got a nested one"):
            online.step(state, x, target)
    with pytest.raises(ValueError, match="got a nested one"):
        online.predict(state, nested)

    def step(x: torch.Tensor) -> torch.Tensor:
        return online.step(state, x, TARGET.expand(*x.shape[:-1], 2))[0].params

    read = [step] if network is SLOW else [step, functools.partial(online.predict, state)]
    for transform, function in itertools.product((torch.func.vmap, torch.func.grad, torch.func.functionalize), read):
        for form in (X, X[None]):
            with pytest.raises(TypeError, match=r"torch\.func"):
                transform(function)(torch.stack([form, form]) if transform is torch.func.vmap else form)


def test_the_trees_of_a_state_are_refused_where_tensors_have_no_memory() -> None:
    state = online_of().init(PARAMS)
    for transform in (torch.func.functionalize, torch.func.grad):
        with pytest.raises(TypeError, match=r"torch\.func"):
            transform(lambda x: state.params[0].weight.sum())(X)
    with FakeTensorMode():
        for read in (lambda: state.params, lambda: pickle.dumps(state)):
            with pytest.raises(ValueError, match="the numbers of a state must hold data"):
                read()


def test_labels_and_weights_and_rates_are_checked() -> None:
    online = online_of(fm.CrossEntropy())
    state = online.init(PARAMS)
    for label in (2, -1, torch.tensor(7), 2**70, np.uint64(2**64 - 1)):
        with pytest.raises(ValueError, match="class"):
            online.step(state, X, label)
    for weight in (-1.0, float("nan"), torch.ones(3), torch.tensor(1 + 2j), 1e39):
        with pytest.raises(ValueError, match="weight must"):
            online.step(state, X, 1, weight=weight)
    for rate in (-0.1, 1e39):
        with pytest.raises(ValueError, match="learning_rate must"):
            online.step(state, X, 1, learning_rate=rate)
    with pytest.raises(ValueError, match=r"x must be|inputs"):
        online.predict(state, X[:2])


def test_what_does_not_make_an_online_is_refused() -> None:
    with pytest.raises(TypeError, match="Online: loss"):
        fm.Online(NETWORK, "mse", fm.SGD(0.1))
    with pytest.raises(TypeError, match="Online: optimizer"):
        fm.Online(NETWORK, fm.CrossEntropy(), fm.SGD)
    with pytest.raises(ValueError, match="params"):
        online_of().init(fm.Linear(3, 2).init(fm.random.key(0)))
    with pytest.raises(ValueError, match="float32"):
        online_of().init(NETWORK.init(fm.random.key(0), dtype=torch.float64))
    with pytest.raises(TypeError, match="state of the type"):
        online_of().init(fm.SGD(0.1).init(PARAMS))


def test_calls_one_after_the_other_share_their_memory() -> None:
    online = online_of()
    state = online.init(PARAMS)
    for _ in range(20):
        state, _ = online.step(state, X, TARGET)
    assert len(online.steps._usual._desks) == 1


def test_an_expression_that_changes_is_not_followed_in_silence() -> None:
    scale = {"of": 1.0}

    class Scaled(fm.Elementwise):
        def value(self, xp, s):
            return scale["of"] * s

        def derivative(self, xp, s, y):
            return scale["of"] + 0 * s

    online = fm.Online(fm.Sequential(fm.Linear(3, 2), Scaled()), fm.MeanSquaredError(), fm.SGD(0.1))
    state = online.init(online.network.init(fm.random.key(0)))
    online.step(state, X, TARGET)
    scale["of"] = 2.0
    with pytest.raises(ValueError, match="has changed"):
        online.step(state, X, TARGET)


def test_steps_are_made_by_the_policy_that_is_handed_in() -> None:
    optimizer = fm.SGD(0.1)
    state = optimizer.init(NETWORK.init(fm.random.key(0)))
    for most, kind in ((0, torch.Tensor), (1 << 20, ctypes.Array)):
        policy = Policy(most_bytes_of_ctypes=most)
        steps = engines.fused_steps(NETWORK, fm.MeanSquaredError(), optimizer, None, torch.float32, policy)
        assert isinstance(steps.numbers(state), kind)
