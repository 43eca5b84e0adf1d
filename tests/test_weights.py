"""Weights of samples, in training and in what is measured."""

from typing import Any

import pytest
import torch
from torch.nn import functional

import functional_mlp as fm
from functional_mlp import pytree
from tests.helpers import assert_close, assert_same_bits, draw, oracle

NETWORK = fm.Sequential(fm.Linear(2, 6), fm.Tanh(), fm.Residual(fm.Linear(6, 6, bias=False)), fm.Linear(6, 3))
KEY = fm.random.key(0)
ROWS = 23
X = draw(ROWS, 2)
CLASSES = torch.randint(3, (ROWS,), generator=torch.Generator().manual_seed(1))
WEIGHTS = draw(ROWS, seed=2).abs() + 0.1
PARAMS = NETWORK.init(KEY.split()[0], dtype=torch.float64)

# For each loss its targets, and torch's loss of each sample.
TASKS: dict[fm.Loss, tuple[torch.Tensor, Any]] = {
    fm.MeanSquaredError(): (
        draw(ROWS, 3, seed=3),
        lambda outputs, targets: functional.mse_loss(outputs, targets, reduction="none").mean(1),
    ),
    fm.Huber(0.5): (
        draw(ROWS, 3, seed=4),
        lambda outputs, targets: functional.huber_loss(outputs, targets, reduction="none", delta=0.5).mean(1),
    ),
    fm.PoissonDeviance(): (
        draw(ROWS, 3, seed=6).square(),
        lambda outputs, targets: (
            functional.poisson_nll_loss(outputs, targets, reduction="none") + torch.xlogy(targets, targets) - targets
        ).mean(1),
    ),
    fm.BinaryCrossEntropy(): (
        torch.rand(ROWS, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5)).round(),
        lambda outputs, targets: functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none").mean(
            1
        ),
    ),
    fm.CrossEntropy(label_smoothing=0.1): (
        CLASSES,
        lambda outputs, targets: functional.cross_entropy(outputs, targets, reduction="none", label_smoothing=0.1),
    ),
    fm.CrossEntropy(): (
        functional.one_hot(CLASSES, 3).double(),
        lambda outputs, targets: functional.cross_entropy(outputs, targets, reduction="none"),
    ),
}

both_engines = pytest.mark.parametrize("engine", ["reference", "fused"])
every_task = pytest.mark.parametrize("loss", TASKS, ids=repr)


def weighted(loss: fm.Loss, weights: Any = WEIGHTS) -> fm.Dataset:
    return fm.Dataset(X, TASKS[loss][0], weights)


def by_hand(loss: fm.Loss, data: fm.Dataset, epochs: int, batch_size: int) -> tuple[Any, list[float]]:
    """The params that torch's optimizer and losses come to, batch by batch, and the mean loss of each epoch."""
    leaves = [leaf.clone().requires_grad_() for leaf in pytree.leaves(PARAMS)]
    params = pytree.unflatten(PARAMS, leaves)
    optimizer, losses = torch.optim.SGD(leaves, lr=0.05), []
    for epoch in range(epochs):
        total = 0.0
        for rows in fm.random.permutation(KEY.split()[1].fold_in(epoch), len(data)).split(batch_size):
            each = TASKS[loss][1](oracle(NETWORK, params, data.inputs[rows]), data.targets[rows])
            sum_of_losses = (data.weights[rows] * each).sum()
            optimizer.zero_grad()
            (sum_of_losses / len(rows)).backward()
            optimizer.step()
            total += sum_of_losses.item()
        losses.append(total / len(data))
    return pytree.map(lambda leaf: leaf.detach(), params), losses


# The fused engine makes its code for each batch size in another way: samples, whole batches, batches in pieces.
@both_engines
@every_task
@pytest.mark.parametrize(("batch_size", "epochs"), [(1, 9), (7, 2), (23, 2)])
def test_training_is_that_of_torch(loss: fm.Loss, batch_size: int, epochs: int, engine: Any) -> None:
    """Over 207 updates of single samples, and a few batches; alone, and as a member of an ensemble."""
    data = weighted(loss)
    params, losses = by_hand(loss, data, epochs, batch_size)
    common = {"epochs": epochs, "batch_size": batch_size, "engine": engine}
    alone = fm.fit(NETWORK, loss, fm.SGD(0.05), data, key=KEY, **common)
    assert_close(alone.params, params)
    assert alone.history.train_loss == pytest.approx(losses, rel=1e-10)
    others = [fm.Dataset(X, TASKS[loss][0], weights) for weights in (WEIGHTS.flip(0), None)]
    together = fm.fit_ensemble(
        NETWORK, loss, fm.SGD(0.05), [data, *others * 9], keys=[KEY, *fm.random.key(5).split(18)], **common
    )
    assert_close(together.member(0).params, params)
    assert together.member(0).history.train_loss == pytest.approx(losses, rel=1e-10)
    assert together.member(0).history.train_accuracy == pytest.approx(
        alone.history.train_accuracy, rel=1e-12, nan_ok=True
    )


def test_a_class_weight_is_that_of_torch() -> None:
    """torch divides the weighted sum by the sum of the batch's weights: the same where the batch is all the data."""
    of_class = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    outputs = NETWORK.apply(PARAMS, X)
    expected = functional.cross_entropy(outputs, CLASSES, weight=of_class)
    found = fm.evaluate(NETWORK, fm.CrossEntropy(), PARAMS, fm.Dataset(X, CLASSES, of_class[CLASSES]))
    assert found.loss == pytest.approx(expected.item(), rel=1e-12)


@both_engines
@every_task
def test_a_whole_weight_counts_as_so_many_rows(loss: fm.Loss, engine: Any) -> None:
    counts = torch.arange(ROWS) % 4
    targets = TASKS[loss][0]
    rows = torch.arange(ROWS).repeat_interleave(counts)
    repeated = fm.Dataset(X[rows], targets[rows])
    runs = [
        fm.fit(NETWORK, loss, fm.Adam(0.01), data, key=KEY, epochs=20, batch_size=100, engine=engine, validation=data)
        for data in (weighted(loss, counts), repeated)
    ]
    assert_close(runs[0].params, runs[1].params, 1e-12)
    for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
        ours, theirs = (getattr(run.history, name) for run in runs)
        assert ours == pytest.approx(theirs, rel=1e-12, nan_ok=True)
    measured = [fm.evaluate(NETWORK, loss, PARAMS, data, engine=engine) for data in (weighted(loss, counts), repeated)]
    assert measured[0].loss == pytest.approx(measured[1].loss, rel=1e-12)
    assert measured[0].accuracy == pytest.approx(measured[1].accuracy, rel=1e-12, nan_ok=True)


@both_engines
@pytest.mark.parametrize("batch_size", [1, 7])
def test_only_ratios_matter(engine: Any, batch_size: int) -> None:
    whole = torch.arange(1.0, ROWS + 1)
    common = {"key": KEY, "epochs": 2, "batch_size": batch_size, "engine": engine}
    for inputs in (X, X.float()):
        runs = [
            fm.fit(NETWORK, fm.CrossEntropy(), fm.SGD(0.05), fm.Dataset(inputs, CLASSES, weights), **common)
            for weights in (
                whole,
                7 * whole,
                (7 * whole).int().numpy(),
                1e-300 * whole.double(),
                1e300 * whole.double(),
            )
        ]
        for run in runs[1:3]:
            assert_same_bits(run.state, runs[0].state)
        for run in runs[3:]:
            assert_close(run.params, runs[0].params, 1e-12 if inputs.dtype == torch.float64 else 1e-5)


@both_engines
def test_equal_weights_are_as_none(engine: Any) -> None:
    common = {"key": KEY, "epochs": 2, "batch_size": 7, "engine": engine}
    runs = [
        fm.fit(NETWORK, fm.CrossEntropy(), fm.SGD(0.05), fm.Dataset(X, CLASSES, weights), **common)
        for weights in (None, torch.full((ROWS,), 0.3))
    ]
    assert_same_bits(runs[0].state, runs[1].state)
    assert runs[0].history.train_accuracy == runs[1].history.train_accuracy


@both_engines
def test_a_row_of_weight_0_changes_nothing_at_batch_size_1(engine: Any) -> None:
    weights = WEIGHTS.clone()
    weights[::2] = 0
    run = fm.fit(
        NETWORK, fm.CrossEntropy(), fm.SGD(0.05), fm.Dataset(X, CLASSES, weights), key=KEY, epochs=1, engine=engine
    )
    order = fm.random.permutation(KEY.split()[1].fold_in(0), ROWS)
    data, loss, optimizer = fm.Dataset(X, CLASSES, weights), fm.CrossEntropy(), fm.SGD(0.05)
    epoch = fm.engine.compile(NETWORK, loss, optimizer, batch_size=1, dtype=torch.float64)
    state, _ = epoch(optimizer.init(PARAMS), data, order[order % 2 == 1])
    assert_close(run.params, state.params, 1e-14)


@both_engines
@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_row_of_weight_0_may_have_an_infinite_loss(engine: Any, batch_size: int) -> None:
    data = fm.Dataset(torch.tensor([[1.0], [3e38]]), torch.tensor([[1.5], [0.0]]), torch.tensor([1, 0]))
    row = fm.Dataset(data.inputs[:1], data.targets[:1])
    network, loss, optimizer = fm.Linear(1, 1), fm.MeanSquaredError(), fm.SGD(0.1 / (3 - batch_size))
    params = fm.LinearParams(torch.tensor([[1.0]]), torch.zeros(1))
    assert fm.evaluate(network, loss, params, data, engine=engine).loss == 0.25
    common = {"epochs": 3, "batch_size": batch_size, "engine": engine}
    pairs = ((optimizer, data), (fm.SGD(0.1), row))  # the weights, of mean 1, are 2 and 0
    runs = [fm.fit(network, loss, *own, key=KEY, params=params, validation=own[1], **common) for own in pairs]
    stacked = fm.ensemble.stack([params] * 20)
    runs.append(fm.fit_ensemble(network, loss, optimizer, data, keys=[KEY] * 20, params=stacked, **common).member(0))
    for run in (runs[0], runs[2]):
        assert_close(run.params, runs[1].params, 1e-6)
        assert run.history.train_loss == pytest.approx(runs[1].history.train_loss, rel=1e-5)
    assert runs[0].history.validation_loss == pytest.approx(runs[1].history.validation_loss, rel=1e-5)


@both_engines
def test_weights_of_validation_data_count_there_alone(engine: Any) -> None:
    common = {"key": KEY, "epochs": 2, "batch_size": 7, "engine": engine}
    data, held_out = fm.Dataset(X, CLASSES), fm.Dataset(X, CLASSES, WEIGHTS)
    loss = fm.CrossEntropy()
    plain, run = (fm.fit(NETWORK, loss, fm.SGD(0.05), data, validation=own, **common) for own in (None, held_out))
    assert_same_bits(run.state, plain.state)
    expected = fm.evaluate(NETWORK, loss, run.params, held_out)
    assert run.history.validation_loss[-1] == pytest.approx(expected.loss, rel=1e-12)
    assert run.history.validation_accuracy[-1] == pytest.approx(expected.accuracy, rel=1e-12)
    right = (NETWORK.apply(run.params, X).argmax(1) == CLASSES).double()
    assert expected.accuracy == pytest.approx(((WEIGHTS * right).sum() / WEIGHTS.sum()).item(), rel=1e-12)


def test_the_mean_of_members_is_measured_with_weights() -> None:
    members = [NETWORK.init(key, dtype=torch.float64) for key in KEY.split(3)]
    data = fm.Dataset(X, CLASSES, WEIGHTS)
    found = fm.ensemble.evaluate(NETWORK, fm.CrossEntropy(), fm.ensemble.stack(members), data)
    outputs = torch.stack([NETWORK.apply(member, X) for member in members]).mean(0)
    each = functional.cross_entropy(outputs, CLASSES, reduction="none")
    assert found.loss == pytest.approx(((WEIGHTS * each).sum() / WEIGHTS.sum()).item(), rel=1e-12)
    assert found.members[1] == fm.evaluate(NETWORK, fm.CrossEntropy(), members[1], data)


@both_engines
def test_train_epoch_and_a_compiled_epoch_are_the_step_of_fit(engine: Any) -> None:
    loss, optimizer, data = fm.CrossEntropy(), fm.Momentum(0.05), fm.Dataset(X, CLASSES, WEIGHTS)
    whole = fm.fit(NETWORK, loss, optimizer, data, key=KEY, epochs=1, batch_size=4, engine=engine)
    start = fm.TrainState(optimizer.init(PARAMS), KEY.split()[1], 0)
    state, mean_loss = fm.train_epoch(NETWORK, loss, start, data, optimizer=optimizer, batch_size=4, engine=engine)
    assert_same_bits(state, whole.state)
    assert mean_loss == whole.history.train_loss[0]
    if engine == "fused":
        epoch = fm.engine.compile(NETWORK, loss, optimizer, batch_size=4, dtype=torch.float64)
        compiled = epoch(optimizer.init(PARAMS), data, fm.random.permutation(start.key.fold_in(0), ROWS))
        assert_same_bits(compiled[0], whole.state.optimizer_state)
        assert compiled[1] == mean_loss


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_computes_with_weights_of_float32(dtype: torch.dtype) -> None:
    data = fm.Dataset(X.to(dtype), CLASSES, WEIGHTS)
    assert data.weights is not None
    assert data.weights.dtype == torch.float32
    run = fm.fit(NETWORK, fm.CrossEntropy(), fm.SGD(0.05), data, key=KEY, epochs=2, batch_size=7)
    wide = fm.fit(
        NETWORK, fm.CrossEntropy(), fm.SGD(0.05), fm.Dataset(data.inputs.double(), CLASSES, WEIGHTS), key=KEY, epochs=2,
        batch_size=7, params=pytree.map(lambda leaf: leaf.double(), NETWORK.init(KEY.split()[0], dtype=dtype)),
    )  # fmt: skip
    assert_close(pytree.map(lambda leaf: leaf.double(), run.params), wide.params, 0.05)


def test_a_checkpoint_knows_the_weights(tmp_path: Any) -> None:
    def train(epochs: int, weights: Any, **options: Any) -> fm.FitResult:
        checkpoint = fm.Checkpoint(tmp_path / "run.safetensors", **options)
        data = fm.Dataset(X, CLASSES, weights)
        return fm.fit(NETWORK, fm.CrossEntropy(), fm.SGD(0.1), data, key=KEY, epochs=epochs, checkpoint=checkpoint)

    train(1, WEIGHTS)
    unbroken = fm.fit(NETWORK, fm.CrossEntropy(), fm.SGD(0.1), fm.Dataset(X, CLASSES, WEIGHTS), key=KEY, epochs=2)
    assert_same_bits(train(2, WEIGHTS).state, unbroken.state)
    for other in (None, WEIGHTS.flip(0)):
        with pytest.raises(fm.CheckpointError, match="data is 23 rows of 2, digest"):
            train(3, other)
    train(3, None, allow=("data",))


def test_a_checkpoint_knows_the_ratios_of_weights_and_no_more(tmp_path: Any) -> None:
    def train(name: str, weights: Any) -> None:
        data, checkpoint = fm.Dataset(X, CLASSES, weights), fm.Checkpoint(tmp_path / name)
        fm.fit(NETWORK, fm.CrossEntropy(), fm.SGD(0.1), data, key=KEY, epochs=1, checkpoint=checkpoint)

    for weights in (WEIGHTS, 7 * WEIGHTS, WEIGHTS / 3):
        train("weighted", weights)
    for weights in (None, torch.full((ROWS,), 0.3), torch.ones(ROWS)):
        train("equal", weights)


def test_balanced_weights_give_each_class_the_same_sum() -> None:
    labels = torch.tensor([0, 4, 4, 4, 4, 4, 2, 2])
    weights = fm.datasets.balanced_weights(labels)
    sums = [weights[labels == label].sum().item() for label in (0, 2, 4)]
    assert sums == pytest.approx([len(labels) / 3] * 3, rel=1e-15)
    assert weights.mean().item() == pytest.approx(1, rel=1e-15)
    for given in (labels.to(torch.int8), labels.numpy(), labels.numpy().astype("uint16")):
        assert_same_bits(fm.datasets.balanced_weights(given), weights)
    assert fm.datasets.balanced_weights(torch.tensor([True, False, False])).tolist() == [1.5, 0.75, 0.75]
