"""`fit_ensemble`, its result, and what ensembles say together."""

import math
import time
import warnings
from typing import Any

import attrs
import pytest
import torch

import functional_mlp as fm
from functional_mlp import engine, pytree
from functional_mlp.engine.members.running import MembersRun
from functional_mlp.engine.policy import MEASURED, Policy
from tests.engine.modes import fit_together, job

NETWORK = fm.Sequential(fm.Linear(2, 5), fm.Tanh(), fm.Linear(5, 2))
LOSS = fm.MeanSquaredError()
DATA = fm.datasets.disk(fm.random.key(0), 20)
KEYS = fm.random.key(1).split(3)
ENGINES = ["reference", "fused"]


def fit(**changes: Any) -> fm.EnsembleResult:
    arguments: dict[str, Any] = {
        "network": NETWORK, "loss": LOSS, "optimizer": fm.SGD(0.1), "data": DATA, "keys": KEYS, "epochs": 2,
    }  # fmt: skip
    arguments |= changes
    first = [arguments.pop(name) for name in ("network", "loss", "optimizer", "data")]
    return fm.fit_ensemble(*first, **arguments)


def losses(result: fm.EnsembleResult) -> list[tuple[float, ...]]:
    return [member.history.train_loss for member in result.members]


# The result


@pytest.mark.parametrize("engine_name", ENGINES)
def test_params_are_the_stacked_trees_of_the_members(engine_name):
    result = fit(engine=engine_name)
    assert [tuple(leaf.shape) for leaf in pytree.leaves(result.params)] == [(3, 5, 2), (3, 5), (3, 2, 5), (3, 2)]
    for index in range(3):
        assert pytree.equal(fm.ensemble.member(result.params, index), result.member(index).params)
    assert len(result) == 3
    assert result.diverged_at == (None, None, None)
    assert not result.interrupted


@pytest.mark.parametrize("engine_name", ENGINES)
def test_a_member_starts_from_the_params_of_fit_to_the_bit(engine_name):
    keys = fm.random.key(6).split(17)
    frozen = fit(engine=engine_name, keys=keys, schedule=lambda epoch: 0.0)
    for key, member in zip(keys, frozen.members, strict=True):
        assert pytree.equal(member.params, NETWORK.init(key.split()[0]))


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("optimizer", [fm.SGD(0.1), fm.Momentum(0.1), fm.Adam(0.1)], ids=repr)
@pytest.mark.parametrize("members", [3, 16])
def test_a_member_is_validated_with_its_own_params(engine_name, optimizer, members):
    """Not with what its optimizer remembers, and not with those of another member."""
    validation = fm.datasets.disk(fm.random.key(8), 30)
    keys = fm.random.key(6).split(members)
    result = fit(engine=engine_name, optimizer=optimizer, keys=keys, validation=validation)
    for member in result.members:
        expected = fm.evaluate(NETWORK, LOSS, member.params, validation)
        assert member.history.validation_loss[-1] == pytest.approx(expected.loss, rel=1e-4)
        assert abs(member.history.validation_accuracy[-1] - expected.accuracy) < 1.5 / 30  # a row may be undecided


def test_the_seconds_of_a_group_are_no_more_than_its_training_took():
    started = time.perf_counter()
    result = fit(engine="reference", epochs=5)
    took = time.perf_counter() - started
    seconds = [each for member in result.members for each in member.history.seconds]
    assert len(seconds) == 3 * 5
    assert min(seconds) >= 0
    assert sum(seconds) <= took


@pytest.mark.parametrize("engine_name", ENGINES)
def test_a_member_goes_on_where_it_ended(engine_name):
    both = fit(engine=engine_name, epochs=4)
    half = fit(engine=engine_name, epochs=2)
    for member, whole in zip(half.members, both.members, strict=True):
        gone_on = fm.fit(NETWORK, LOSS, fm.SGD(0.1), DATA, state=member.state, epochs=4)
        assert gone_on.history.train_loss == pytest.approx(whole.history.train_loss[2:], rel=1e-5)


def test_the_same_ensemble_gives_the_same_bits():
    first, second = fit(keys=fm.random.key(3).split(19)), fit(keys=fm.random.key(3).split(19))
    assert pytree.equal(first.params, second.params)
    assert losses(first) == losses(second)


def test_nothing_that_is_handed_in_changes():
    params = fm.ensemble.stack([NETWORK.init(key) for key in KEYS])
    before = pytree.map(torch.clone, params)
    for name in ENGINES:
        result = fit(params=params, engine=name)
        assert pytree.equal(params, before)
        assert not pytree.equal(result.params, before)


def test_a_network_without_parameters_is_trained_as_well():
    result = fit(network=fm.Identity(), engine="reference", epochs=1)
    assert losses(result)[0] == pytest.approx(fm.fit(fm.Identity(), LOSS, fm.SGD(0.1), DATA, key=KEYS[0], epochs=1)
                                              .history.train_loss)  # fmt: skip


# Divergence and interruption


@pytest.mark.parametrize("engine_name", ENGINES)
def test_a_member_that_diverges_stops_alone(engine_name):
    keys = fm.random.key(4).split(17)
    optimizers = [fm.SGD(1e4 if index == 5 else 0.05) for index in range(17)]
    with pytest.warns(RuntimeWarning, match=r"1 of 17 members diverged.*member 5 in epoch \d") as caught:
        result = fit(keys=keys, optimizer=optimizers, engine=engine_name, epochs=4)
    assert caught[0].filename == __file__
    with pytest.warns(RuntimeWarning, match="diverged"):
        alone = fm.fit(NETWORK, LOSS, optimizers[5], DATA, key=keys[5], epochs=4, engine="reference")
    assert result.diverged_at[5] == alone.diverged_at
    assert result.member(5).state.epoch == alone.state.epoch
    assert len(result.member(5).history) == len(alone.history)
    assert all(leaf.isfinite().all() for leaf in pytree.leaves(result.params))
    for index in (0, 4, 6, 16):
        lone = fm.fit(NETWORK, LOSS, optimizers[index], DATA, key=keys[index], epochs=4, engine="reference")
        assert result.member(index).history.train_loss == pytest.approx(lone.history.train_loss, rel=1e-4)
    assert all(math.isfinite(loss) for loss in result.history.mean().train_loss)


@pytest.mark.parametrize("batch_size", [1, len(DATA)])
@pytest.mark.parametrize("members", [3, 17])
def test_results_do_not_depend_on_how_many_epochs_are_taken_together(members, batch_size):
    """Members diverge first, last and amid such epochs; with one batch an epoch, their params do so before a loss."""
    rules = [fm.SGD([0.05, 1e300, 30.0][index % 3]) for index in range(members)]
    own = job(
        NETWORK,
        LOSS,
        [(rule, DATA, key) for rule, key in zip(rules, fm.random.key(4).split(members), strict=True)],
        schedule=[lambda epoch, quiet=index % 7: float(epoch >= quiet) for index in range(members)],
        batch_size=batch_size,
        epochs=12,
    )
    one_by_one = fit_together(own, Policy(most_epochs_per_call=1))
    assert {None} < {result.diverged_at for result in one_by_one}
    for at_once in (2, 5, 12):
        together = fit_together(own, Policy(most_epochs_per_call=at_once))
        for expected, actual in zip(one_by_one, together, strict=True):
            assert actual.diverged_at == expected.diverged_at
            assert pytree.equal(actual.state, expected.state)
            records = [
                [attrs.evolve(record, seconds=0.0) for record in result.history.records()]
                for result in (expected, actual)
            ]
            assert repr(records[0]) == repr(records[1])


def test_results_do_not_depend_on_how_long_a_native_call_is():
    members = [(fm.SGD(0.1), DATA, key) for key in fm.random.key(4).split(17)]
    expected, actual = (
        fit_together(job(NETWORK, LOSS, members, epochs=3, batch_size=10), policy)
        for policy in (MEASURED, Policy(vector_operations_per_call=0))
    )
    for one, other in zip(expected, actual, strict=True):
        assert pytree.equal(one.state, other.state)
        assert one.history.train_loss == other.history.train_loss


def test_ctrl_c_ends_with_what_was_learnt():
    def interrupt(done: float) -> None:
        if done > 0:
            raise KeyboardInterrupt

    result = fit(epochs=100_000, progress=interrupt, keys=fm.random.key(2).split(17))
    assert result.interrupted
    assert max(len(member.history) for member in result.members) > 0
    for member in result.members:
        assert member.state.epoch < 100_000
        assert len(member.history) == member.state.epoch


def test_progress_counts_epochs():
    seen: list[float] = []
    fit(epochs=3, progress=seen.append)
    assert seen[-1] == 3
    assert seen == sorted(seen)


def test_an_error_in_a_member_ends_the_training():
    @attrs.frozen(repr=False)
    class Failing(fm.Layer):
        in_features = 2
        out_features = 2

        def apply(self, params, x):
            if x.ndim == 2 and len(x) > 1:
                raise RuntimeError("no batches")
            return x

        def vjp(self, params, x, grad_out):
            return (), grad_out

    with pytest.raises(RuntimeError, match="no batches"):
        fit(network=Failing(), engine="reference", batch_size=5)


# What cannot be stacked or fused


@attrs.frozen(repr=False)
class Scale(fm.Layer):
    """A layer that is neither linear nor elementwise, for the ensemble to loop over."""

    in_features = out_features = 2

    def init(self, key, *, dtype=torch.float32, device=None):
        return torch.ones((), dtype=dtype, device=device)

    def apply(self, params, x):
        return params * x

    def vjp(self, params, x, grad_out):
        return (x * grad_out).sum(), params * grad_out


def test_members_are_trained_one_by_one_where_layers_cannot_be_batched():
    network = fm.Sequential(fm.Linear(2, 2), Scale())
    result = fit(network=network, batch_size=3)
    for key, member in zip(KEYS, result.members, strict=True):
        lone = fm.fit(network, LOSS, fm.SGD(0.1), DATA, key=key, epochs=2, batch_size=3)
        assert pytree.equal(member.params, lone.params)
    with pytest.raises(ValueError, match=r"engine='fused' cannot run member 0: .*Scale"):
        fit(network=network, engine="fused")


@attrs.frozen(repr=False)
class Branching(fm.Optimizer):
    """An optimizer that branches on one of its numbers, which must then be the same for all members of a group."""

    sign: float = 1.0

    def rule(self, xp, step, learning_rate, param, grad):
        return (param - learning_rate * grad if self.sign > 0 else param + learning_rate * grad,)


@pytest.mark.parametrize("engine_name", ENGINES)
def test_an_optimizer_of_ones_own_may_branch_on_its_numbers(engine_name):
    keys = fm.random.key(5).split(16)
    optimizers = [Branching(0.01, sign=1.0 if index % 2 else -1.0) for index in range(16)]
    result = fit(keys=keys, optimizer=optimizers, engine=engine_name)
    for index in (0, 1):
        lone = fm.fit(NETWORK, LOSS, optimizers[index], DATA, key=keys[index], epochs=2, engine="reference")
        assert result.member(index).history.train_loss == pytest.approx(lone.history.train_loss, rel=1e-5)


@attrs.frozen(repr=False)
class OwnUpdate(fm.SGD):
    """An optimizer that is more than its rule."""

    def update(self, state, grads):
        return super().update(state, grads)


def test_the_member_that_cannot_be_fused_is_named_by_its_number():
    optimizers = [OwnUpdate(0.1)] * 3
    with pytest.raises(ValueError, match=r"engine='fused' cannot run member 0: OwnUpdate"):
        fit(optimizer=optimizers, engine="fused")
    with pytest.raises(ValueError, match=r"engine='fused' cannot run member 2: RateBound"):
        fit(optimizer=[RateBound(0.1), RateBound(0.1), RateBound(0.2)], engine="fused")


@attrs.frozen(repr=False)
class RateBound(fm.SGD):
    """An optimizer whose rule calls torch for some rates only."""

    def rule(self, xp, step, learning_rate, param, grad):
        return (torch.sub(param, learning_rate * grad) if self.learning_rate > 0.15 else param - learning_rate * grad,)


def test_groups_are_made_where_they_pay():
    from functional_mlp.ensemble.arguments import job_of_ensemble
    from functional_mlp.ensemble.groups import grouped

    def runs(members: int, network: fm.Layer) -> list[int]:
        ensemble = job_of_ensemble(
            network, LOSS, fm.SGD(0.1), DATA, keys=fm.random.key(0).split(members), epochs=1, batch_size=1,
            schedule=None, validation=None, params=None, engine="fused",
        )  # fmt: skip
        groups, fused = grouped(ensemble)
        assert fused
        return [len(group.numbers) if isinstance(group.start(), MembersRun) else 0 for group in groups]

    assert runs(2, NETWORK) in ([0, 0], [2])  # where a vector has two lanes
    assert sum(runs(33, NETWORK)) == 33
    assert runs(9, fm.Sequential(fm.Linear(2, 400), fm.ReLU(), fm.Linear(400, 400), fm.Linear(400, 2))) == [0] * 9
    assert runs(33, fm.Sequential(fm.Linear(2, 7), *[fm.Tanh()] * 100, fm.Linear(7, 2))) == [0] * 33


# History


def test_history_has_means_and_bands():
    result = fit(validation=DATA)
    history = result.history
    assert len(history) == 2
    for name in ("train_loss", "validation_accuracy"):
        figures = torch.tensor([getattr(member.history, name) for member in result.members], dtype=torch.float64)
        assert getattr(history.mean(), name) == pytest.approx(figures.mean(0).tolist())
        assert getattr(history.std(), name) == pytest.approx(figures.std(0).tolist())
        low, high = history.band(2.0)
        assert getattr(low, name) == pytest.approx((figures.mean(0) - 2 * figures.std(0)).tolist())
        assert getattr(high, name) == pytest.approx((figures.mean(0) + 2 * figures.std(0)).tolist())
    assert history.member(1) == result.member(1).history
    assert all(math.isnan(loss) for loss in fit().history.mean().validation_loss)


def test_the_band_of_one_member_has_no_width():
    history = fit(keys=KEYS[:1]).history
    assert history.std().train_loss == (0.0, 0.0)
    assert history.mean().train_loss == history.member(0).train_loss


# Trees and predictions


def test_unstack_is_the_inverse_of_stack():
    trees = [NETWORK.init(key) for key in KEYS]
    for tree, again in zip(trees, fm.ensemble.unstack(fm.ensemble.stack(trees)), strict=True):
        assert pytree.equal(tree, again)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fm.ensemble.stack([]), ValueError, "at least one tree, got"),
        (lambda: fm.ensemble.stack([(1.0,)]), TypeError, r"trees\[0\]\[0\] must be a torch.Tensor"),
        (lambda: fm.ensemble.stack([torch.zeros(2), torch.zeros(3)]), ValueError, r"trees\[1\] must have the shape"),
        (lambda: fm.ensemble.unstack(()), ValueError, "at least one tensor"),
        (lambda: fm.ensemble.unstack(torch.tensor(1.0)), ValueError, "leading axis over the members, got a 0-d"),
        (lambda: fm.ensemble.unstack((torch.zeros(2), torch.zeros(3))), ValueError, r"\[1\] must have 2 members"),
        (lambda: fm.ensemble.member(torch.zeros(2, 1), 2), ValueError, "below the number of members, 2, got 2"),
        (lambda: fm.ensemble.member(torch.zeros(2, 1), True), TypeError, "index must be an integer"),
        (lambda: fm.ensemble.predict(NETWORK, STACKED, DATA.inputs, average="mean"), ValueError, "'outputs' or"),
    ],
)
def test_trees_and_predictions_refuse_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


STACKED = fm.ensemble.stack([NETWORK.init(key) for key in KEYS])


@pytest.mark.parametrize("average", ["outputs", "probabilities"])
def test_predictions_are_means_and_spreads_over_the_members(average):
    outputs = torch.stack([NETWORK.apply(params, DATA.inputs) for params in fm.ensemble.unstack(STACKED)])
    outputs = outputs.softmax(-1) if average == "probabilities" else outputs
    mean = fm.ensemble.predict(NETWORK, STACKED, DATA.inputs, average=average)
    torch.testing.assert_close(mean, outputs.mean(0))
    torch.testing.assert_close(fm.ensemble.spread(NETWORK, STACKED, DATA.inputs, average=average), outputs.std(0))
    for loss in (LOSS, fm.CrossEntropy()):
        metrics = fm.ensemble.evaluate(NETWORK, loss, STACKED, DATA, average=average)
        as_logits = average == "probabilities" and isinstance(loss, fm.CrossEntropy)
        expected = loss.value(mean.log() if as_logits else mean, DATA.targets).item()
        assert metrics.loss == pytest.approx(expected)
        assert metrics.accuracy == (mean.argmax(1) == DATA.labels).double().mean().item()
        members = [fm.evaluate(NETWORK, loss, params, DATA) for params in fm.ensemble.unstack(STACKED)]
        assert metrics.members == tuple(members)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize(
    "targets", [torch.tensor([1, 0]), torch.tensor([[0.25, 0.75], [0.0, 1.0]])], ids=["hard", "soft"]
)
def test_probabilities_too_small_for_the_dtype_have_finite_logarithms(dtype, targets):
    logits = torch.tensor([[200.0, -200.0], [60.0, -60.0], [-1.0, 2.0]], dtype=dtype)
    stacked = fm.ensemble.stack([fm.LinearParams(own.diag(), torch.zeros_like(own)) for own in logits])
    data = fm.Dataset(torch.ones(2, 2, dtype=dtype), targets.to(dtype) if targets.is_floating_point() else targets)
    metrics = fm.ensemble.evaluate(fm.Linear(2, 2), fm.CrossEntropy(), stacked, data, average="probabilities")
    log_mean = logits.double().log_softmax(1).logsumexp(0) - math.log(3)
    exact = torch.nn.functional.cross_entropy(
        log_mean.expand(2, 2), targets.double() if targets.is_floating_point() else targets
    )
    assert metrics.loss == pytest.approx(exact.item(), rel=1e-6)
    certain = fm.ensemble.stack([fm.LinearParams(logits[0].diag(), torch.zeros_like(logits[0]))] * 2)
    alike = fm.ensemble.evaluate(fm.Linear(2, 2), fm.CrossEntropy(), certain, data, average="probabilities")
    assert alike.loss == pytest.approx(alike.members[0].loss)


def test_one_member_has_no_spread():
    one = fm.ensemble.stack([NETWORK.init(KEYS[0])])
    assert not fm.ensemble.spread(NETWORK, one, DATA.inputs).any()


# Bad input


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"keys": KEYS[0]}, TypeError, "keys must be a sequence of keys, one a member, got Key"),
        ({"keys": ()}, ValueError, "at least one key, got none"),
        ({"keys": (KEYS[0], 1)}, TypeError, r"keys\[1\] must be a Key, got 1"),
        ({"optimizer": [fm.SGD(0.1)] * 2}, ValueError, "optimizer must be one for all or 3, one a key, got 2"),
        ({"optimizer": [fm.SGD(0.1), fm.SGD(0.1), 0.1]}, TypeError, r"optimizer\[2\] must be an Optimizer, got 0.1"),
        ({"optimizer": 0.1}, TypeError, "optimizer must be an Optimizer, got 0.1"),
        ({"optimizer": [fm.SGD(0.1), fm.Adam(0.1), fm.SGD(0.1)]}, TypeError, "of one kind, got SGD.* for member 1, Ad"),
        ({"data": [DATA] * 4}, ValueError, "data must be one for all or 3, one a key, got 4"),
        ({"data": DATA.inputs}, TypeError, "data must be a Dataset"),
        ({"data": [DATA, DATA, fm.datasets.disk(KEYS[0], 9, dtype=torch.float64)]}, ValueError, r"data\[2\].*dtype"),
        ({"validation": [DATA]}, ValueError, "validation must be one for all or 3"),
        ({"epochs": 0}, ValueError, "epochs must be a positive integer"),
        ({"batch_size": True}, TypeError, "batch_size must be a positive integer"),
        ({"engine": "fast"}, ValueError, "engine must be 'auto', 'reference' or 'fused'"),
        ({"loss": "mse"}, TypeError, "loss must be a Loss"),
        ({"schedule": fm.schedules.constant}, TypeError, "got the class constant"),
        ({"schedule": [fm.schedules.constant()] * 2}, ValueError, "schedule must be one for all or 3"),
        ({"schedule": [0.9] * 3}, TypeError, "schedule must be a callable value or a list of one each, got 0.9"),
        ({"schedule": lambda epoch: -1.0}, ValueError, r"schedule\(0\) must be"),
        ({"params": NETWORK.init(KEYS[0])}, ValueError, "params"),
        ({"params": fm.ensemble.stack([NETWORK.init(KEYS[0])] * 2)}, ValueError, "leading axis of 3 members.* got 2"),
        ({"params": fm.ensemble.stack([NETWORK[:1].init(KEYS[0])] * 3)}, ValueError, "params of member 0.*missing"),
        ({"network": fm.Linear(3, 2)}, ValueError, "the last dimension must be 3"),
        ({"network": fm.Linear(2, 3)}, ValueError, "targets must have the shape of predictions"),
        ({"progress": 1}, TypeError, "progress must be True or callable"),
    ],
)
def test_fit_ensemble_refuses_bad_input(changes, error, message):
    with pytest.raises(error, match=message):
        fit(**changes)


def test_a_result_has_no_member_beyond_the_last():
    with pytest.raises(ValueError, match="below the number of members, 3, got 3"):
        fit().member(3)


def test_the_engine_can_say_no():
    assert engine.explain(fm.Sequential(fm.Linear(2, 2), Scale()), LOSS, fm.SGD(0.1)) is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(data=fm.datasets.disk(KEYS[0], 9, dtype=torch.float16), epochs=1)


class Halves(fm.Elementwise):
    """A network without linear layers, for it says how many features it takes."""

    @property
    def in_features(self) -> int:
        return 2

    def value(self, xp, s):
        return s / 2

    def derivative(self, xp, s, y):
        return 0.5


def test_networks_without_linear_layers() -> None:
    data = fm.datasets.disk(fm.random.key(0), 20)
    keys = fm.random.key(1).split(20)
    result = fm.fit_ensemble(Halves(), fm.MeanSquaredError(), fm.SGD(0.1), data, keys=keys, epochs=2)
    lone = fm.fit(Halves(), fm.MeanSquaredError(), fm.SGD(0.1), data, key=keys[0], epochs=2)
    assert result.member(0).history.train_loss == pytest.approx(lone.history.train_loss)


@pytest.mark.parametrize("loss", [fm.BinaryCrossEntropy(), fm.PoissonDeviance()], ids=repr)
def test_losses_whose_outputs_are_no_scores_of_classes_have_no_probabilities(loss: fm.Loss) -> None:
    network = fm.Linear(1, 1)
    params = fm.ensemble.stack([network.init(key) for key in fm.random.key(0).split(2)])
    data = fm.Dataset(torch.zeros(3, 1), torch.ones(3, 1))
    with pytest.raises(ValueError, match="is of classes"):
        fm.ensemble.evaluate(network, loss, params, data, average="probabilities")
