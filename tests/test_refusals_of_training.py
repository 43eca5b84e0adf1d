"""What training does not take is refused before it begins, in words that say what to do."""

import math
from typing import Any

import attrs
import pytest
import torch

import functional_mlp as fm
from functional_mlp import pytree, schedules
from tests.helpers import KEY, check_refused, draw, refusal, unusable_tensors
from tests.runs import DATA, LOSS, NETWORK, SGD, fit

PARAMS = NETWORK.init(KEY, dtype=torch.float64)
OPTIMIZER_STATE = SGD.init(PARAMS)
STATE = fm.TrainState(OPTIMIZER_STATE, KEY, 2)
WIDE = fm.Linear(3, 2)
INDICES = fm.Dataset(DATA.inputs, DATA.labels)


@attrs.frozen(repr=False)
class RateList(fm.SGD):
    rates: list[float]


@attrs.frozen(repr=False)
class WeightList(fm.MeanSquaredError):
    weights: list[float]


def epoch(**changes: Any) -> object:
    arguments = {"network": NETWORK, "loss": LOSS, "state": STATE, "data": DATA, "optimizer": SGD} | changes
    return fm.train_epoch(**arguments)


def evaluate(**changes: Any) -> object:
    return fm.evaluate(**{"network": NETWORK, "loss": LOSS, "params": PARAMS, "data": DATA} | changes)


def unusual_params() -> list[Any]:
    """Params that do not fit the network, each with what the message must say."""
    first, _, last = PARAMS
    return [
        ("too few", PARAMS[:2], ["params[2].weight is missing"]),
        ("too many", (*PARAMS, first), ["params[3].weight is unexpected"]),
        (
            "transposed",
            (fm.LinearParams(first.weight.T, first.bias), (), last),
            ["params[0].weight", "(6, 2)", "(2, 6)"],
        ),
        ("without bias", (first, (), fm.LinearParams(last.weight, None)), ["params[2].bias is missing"]),
        ("to broadcast", (fm.LinearParams(first.weight, first.bias[:1]), (), last), ["params[0].bias", "(6,)", "(1,)"]),
        ("of another dtype", pytree.map(lambda p: p.float(), PARAMS), ["params[0].weight", "float32", "float64"]),
    ]


@pytest.mark.parametrize("run", [fit, epoch, evaluate], ids=["fit", "train_epoch", "evaluate"])
@pytest.mark.parametrize(("params", "fragments"), [pytest.param(*rest, id=name) for name, *rest in unusual_params()])
def test_params_that_do_not_fit_are_refused_by_path(run, params, fragments) -> None:
    changes = {"params": params}
    if run is epoch:
        changes = {"state": fm.TrainState(SGD.init(params), KEY, 0)}
    check_refused(lambda: run(**changes), ValueError, fragments)


@pytest.mark.parametrize("run", [fit, epoch, evaluate], ids=["fit", "train_epoch", "evaluate"])
@pytest.mark.parametrize(
    ("changes", "error", "fragments"),
    [
        pytest.param({"network": fm.ReLU}, TypeError, ["network", "class ReLU", "call it"], id="network class"),
        pytest.param({"network": None}, TypeError, ["network", "None"], id="no network"),
        pytest.param({"network": torch.nn.Linear(2, 2)}, TypeError, ["network", "functional_mlp.Layer"], id="module"),
        pytest.param(
            {"loss": fm.MeanSquaredError},
            TypeError,
            ["loss must be a Loss, got the class MeanSquaredError: call it to make one"],
            id="loss class",
        ),
        pytest.param({"loss": torch.nn.MSELoss()}, TypeError, ["loss", "a Loss", "MSELoss"], id="torch's loss"),
        pytest.param({"data": DATA.inputs}, TypeError, ["data", "a Dataset", "(25, 2)"], id="a tensor for data"),
        pytest.param({"data": (DATA.inputs, DATA.targets)}, TypeError, ["data", "a Dataset", "a tuple"], id="a pair"),
        pytest.param({"data": INDICES}, ValueError, ["targets", "float"], id="class indices for MSE"),
        pytest.param(
            {"data": fm.Dataset(DATA.inputs, DATA.targets[:, :1])}, ValueError, ["(25, 2)", "(25, 1)"], id="one output"
        ),
        pytest.param(
            {"data": fm.Dataset(DATA.inputs, DATA.labels + 1), "loss": fm.CrossEntropy()},
            ValueError,
            ["between 0 and 1", "2"],
            id="labels out of range",
        ),
        pytest.param(
            {"data": fm.Dataset(draw(5, 3), draw(5, 2))},
            ValueError,
            ["Linear(in_features=2, out_features=6)", "3)", "must be 2"],
            id="width",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(run, changes, error, fragments) -> None:
    check_refused(lambda: run(**changes), error, fragments)


@pytest.mark.parametrize("run", [fit, epoch], ids=["fit", "train_epoch"])
@pytest.mark.parametrize(
    ("changes", "error", "fragments"),
    [
        pytest.param(
            {"optimizer": fm.SGD},
            TypeError,
            ["optimizer must be an Optimizer, got the class SGD: call it"],
            id="optimizer class",
        ),
        pytest.param({"optimizer": 0.1}, TypeError, ["optimizer", "an Optimizer", "0.1"], id="optimizer number"),
        pytest.param(
            {"optimizer": RateList(0.1, [1])}, TypeError, ["optimizer", "hashable"], id="unhashable optimizer"
        ),
        pytest.param({"loss": WeightList([1.0, 2.0])}, TypeError, ["loss", "hashable"], id="unhashable loss"),
        pytest.param({"batch_size": 0}, ValueError, ["batch_size", "positive integer", "0"], id="batch of 0"),
        pytest.param({"batch_size": -4}, ValueError, ["batch_size", "positive integer", "-4"], id="batch of -4"),
        pytest.param({"batch_size": True}, TypeError, ["batch_size", "True, a bool"], id="batch of True"),
        pytest.param({"batch_size": 2.0}, TypeError, ["batch_size", "2.0, a float"], id="batch of 2.0"),
        pytest.param({"batch_size": "4"}, TypeError, ["batch_size", "'4', a str"], id="batch of a string"),
        pytest.param({"batch_size": None}, TypeError, ["batch_size", "None"], id="no batch"),
        pytest.param({"schedule": 0.9}, TypeError, ["schedule", "callable", "0.9"], id="schedule number"),
        pytest.param(
            {"schedule": lambda epoch: "1"}, TypeError, ["schedule(", "number", "'1'"], id="factor of a string"
        ),
        pytest.param(
            {"schedule": lambda epoch: math.nan}, ValueError, ["schedule(", "finite", "nan"], id="factor of NaN"
        ),
        pytest.param({"schedule": lambda epoch: -1}, ValueError, ["schedule(", "[0.0", "-1"], id="negative factor"),
        pytest.param({"engine": "gpu"}, ValueError, ["engine", "'reference'", "'gpu'"], id="unknown engine"),
        pytest.param({"engine": None}, ValueError, ["engine", "'reference'", "None"], id="no engine"),
    ],
)
def test_bad_settings_are_refused(run, changes, error, fragments) -> None:
    check_refused(lambda: run(**changes), error, fragments)


ADAM_STATE = fm.TrainState(fm.Adam(0.1).init(PARAMS), KEY, 2)


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        refusal("epochs of 0", lambda: fit(epochs=0), ValueError, "epochs", "positive integer", "0"),
        refusal("epochs of True", lambda: fit(epochs=True), TypeError, "epochs", "True, a bool"),
        refusal("epochs of 1.5", lambda: fit(epochs=1.5), TypeError, "epochs", "1.5, a float"),
        refusal("epochs of a string", lambda: fit(epochs="3"), TypeError, "epochs", "'3', a str"),
        refusal("key of an int", lambda: fit(key=0), TypeError, "key", "Key", "0, an int", "random.key(seed)"),
        refusal("no key", lambda: fit(key=None), TypeError, "key is missing", "random.key(seed)"),
        refusal("fewer epochs", lambda: fit(state=STATE, epochs=1), ValueError, "epochs", "total", "2", "got 1"),
        refusal("params and state", lambda: fit(state=STATE, params=PARAMS), ValueError, "params or state", "not both"),
        refusal("optimizer state", lambda: fit(state=OPTIMIZER_STATE), TypeError, "TrainState", "OptimizerState"),
        refusal("result for state", lambda: fit(state=fit(), epochs=9), TypeError, "TrainState", "FitResult", ".state"),
        refusal("state of Adam for SGD", lambda: fit(state=ADAM_STATE), TypeError, "SGD(0.05)", "AdamState"),
        refusal("no optimizer state", lambda: fit(state=fm.TrainState(None, KEY, 0)), TypeError, "SGD(0.05)", "None"),
        refusal("state of Adam for an epoch", lambda: epoch(state=ADAM_STATE), TypeError, "SGD(0.05)", "AdamState"),
        refusal("epoch without state", lambda: epoch(state=None), TypeError, "TrainState", "None"),
        refusal("params of floats", lambda: fit(params=(1.0,)), TypeError, "params[0]", "1.0, a float"),
        refusal(
            "validation tensor", lambda: fit(validation=DATA.inputs), TypeError, "validation", "a Dataset", "(25, 2)"
        ),
        refusal(
            "validation of another width",
            lambda: fit(validation=fm.Dataset(draw(5, 3), draw(5, 2))),
            ValueError,
            "Linear(in_features=2",
            "3)",
        ),
        refusal(
            "validation of another dtype",
            lambda: fit(validation=fm.datasets.disk(KEY, 5)),
            ValueError,
            "params[0].weight",
            "torch.float32",
            "torch.float64",
        ),
        refusal(
            "predict width",
            lambda: fm.predict(NETWORK, PARAMS, draw(4, 3)),
            ValueError,
            "Linear(in_features=2",
            "(4, 3)",
        ),
        refusal("predict nothing", lambda: fm.predict(None, PARAMS, draw(4, 2)), TypeError, "network", "None"),
        refusal("classify 0-d", lambda: fm.classify(NETWORK, PARAMS, draw()), ValueError, "0-d", "features"),
        *(
            refusal(f"predict {kind}", lambda bad=bad: fm.predict(NETWORK, PARAMS, bad), ValueError, "inputs", name)
            for kind, (bad, name) in unusable_tensors((4, 2)).items()
        ),
        refusal("schedule class", lambda: fit(schedule=schedules.constant), TypeError, "schedule", "class constant"),
        refusal("callback that is no sequence", lambda: fit(callbacks=print), TypeError, "callbacks", "sequence"),
        refusal("callback of a number", lambda: fit(callbacks=[1]), TypeError, "callbacks[0]", "1, an int"),
        refusal("progress of a number", lambda: fit(progress=1), TypeError, "progress", "1, an int"),
        refusal(
            "state's key", lambda: fit(state=attrs.evolve(STATE, key=0)), TypeError, "state.key", "Key", "0, an int"
        ),
        refusal(
            "epoch's key", lambda: epoch(state=attrs.evolve(STATE, key=0)), TypeError, "state.key", "Key", "0, an int"
        ),
        refusal("state's epoch", lambda: fit(state=attrs.evolve(STATE, epoch=-2)), ValueError, "state.epoch", "-2"),
        refusal(
            "epoch's epoch", lambda: epoch(state=attrs.evolve(STATE, epoch="2")), TypeError, "state.epoch", "'2', a str"
        ),
    ],
)
def test_bad_input_is_refused(call, error, fragments) -> None:
    check_refused(call, error, fragments)
