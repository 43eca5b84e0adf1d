"""What is saved comes back with the same bits, or is refused."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

import functional_mlp as fm
from tests.checkpoint import cases
from tests.checkpoint.cases import rewritten
from tests.helpers import check_refused, random_network, refusal
from tests.tables import OPTIMIZERS

DATA = Path(__file__).parent.parent / "data"


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_a_run_comes_back_to_the_bit(tmp_path: Path, optimizer: fm.Optimizer, dtype: torch.dtype) -> None:
    data = fm.datasets.disk(fm.random.key(1), 10, dtype=dtype)
    result = cases.fit(optimizer=optimizer, data=data, validation=None, epochs=2)
    cases.save(tmp_path / "a", result, optimizer=optimizer)
    saved = fm.load(tmp_path / "a", network=cases.NETWORK, optimizer=optimizer, loss=cases.LOSS)
    cases.assert_same_run(saved, result)
    assert type(saved.state.optimizer_state) is type(result.state.optimizer_state)
    assert fm.pytree.equal(saved.params, result.params)
    assert (saved.network, saved.optimizer, saved.loss) == (cases.NETWORK, optimizer, cases.LOSS)
    assert [math.isnan(loss) for loss in saved.history.validation_loss] == [True, True]


@pytest.mark.parametrize("seed", range(10))
def test_any_network_comes_back(tmp_path: Path, seed: int) -> None:
    network = random_network(seed)
    params = network.init(cases.KEY, dtype=(torch.float16, torch.float32)[seed % 2])
    fm.save(tmp_path / "a", params, network=network, optimizer=fm.SGD(0.1))
    saved = fm.load(tmp_path / "a")
    assert saved.network == network
    assert fm.pytree.equal(saved.params, params)
    assert (saved.state, saved.loss, saved.history, saved.extra) == (None, None, None, None)


def test_every_bit_of_a_number_survives(tmp_path: Path) -> None:
    params, network = cases.special_params(), fm.Sequential(fm.Linear(2, 4))
    for rate in (0.1, 5e-324, 1.7976931348623157e308, 1 / 3):
        state = attrs.evolve(fm.SGD(0.1).init(params), learning_rate=rate, step=2**62)
        train_state = fm.TrainState(state, cases.KEY, 2**40)
        fm.save(tmp_path / "a", train_state, network=network, optimizer=fm.SGD(0.1))
        saved = fm.load(tmp_path / "a").state
        assert fm.pytree.equal(saved, train_state)
        assert saved.optimizer_state.learning_rate.hex() == rate.hex()
        assert (saved.optimizer_state.step, saved.epoch, saved.key) == (2**62, 2**40, cases.KEY)


def test_awkward_memory_is_saved_as_the_numbers_it_shows(tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    weights = [whole[:2, :3], whole.T[:2, 1:4], whole[0, 0].expand(2, 3), whole[::2, ::2]]
    network = fm.Sequential(*(fm.Linear(3, 2, bias=False), fm.Linear(2, 3, bias=False)) * 2)
    shaped = [weights[0], weights[1].T, weights[2].requires_grad_(), weights[3].T]
    params = tuple(fm.LinearParams(weight, None) for weight in shaped)
    fm.save(tmp_path / "a", params, network=network, optimizer=fm.SGD(0.1))
    for loaded, original in zip(fm.load(tmp_path / "a").params, params, strict=True):
        assert torch.equal(loaded.weight, original.weight)
        assert not loaded.weight.requires_grad


def test_the_same_state_gives_the_same_file(tmp_path: Path) -> None:
    result = cases.fit()
    for name in "ab":
        cases.save(tmp_path / name, result, extra={"classes": ["a", "b"]})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_loaded_file_saves_to_the_same_bytes(tmp_path: Path) -> None:
    cases.save(tmp_path / "a", cases.fit())
    saved = fm.load(tmp_path / "a")
    kept = {"network": saved.network, "optimizer": saved.optimizer, "loss": saved.loss, "history": saved.history}
    fm.save(tmp_path / "b", saved.state, **kept)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("extra", [None, {}, {"a": [1, 2.5, "ö\ud800", None, True]}, [{"type": "Linear"}], "digest"])
def test_extra_comes_back(tmp_path: Path, extra: Any) -> None:
    fm.save(tmp_path / "a", (), network=fm.Tanh(), optimizer=fm.SGD(0.1), extra=extra)
    assert fm.load(tmp_path / "a").extra == extra


def test_layers_of_ones_own_are_saved_and_loaded(tmp_path: Path) -> None:
    @attrs.frozen
    class Foreign:
        """No `Layer`, but it has the functions of one."""

        size: int

        def init(self, key: Any, *, dtype: Any = torch.float32, device: Any = None) -> Any:
            return {"β": torch.ones(self.size, dtype=dtype, device=device), "none": None}

        def apply(self, params: Any, x: Any) -> Any:
            return params["β"] * x

        def vjp(self, params: Any, x: Any, grad_out: Any) -> Any:
            return {"β": x * grad_out, "none": None}, params["β"] * grad_out

    registry = fm.Registry(cases.Softsign, Foreign)
    network = fm.Sequential(fm.Linear(2, 3), cases.Softsign(), Foreign(3))
    for layer in (network, Foreign(2)):
        params = layer.init(cases.KEY)
        fm.save(tmp_path / "a", params, network=layer, optimizer=fm.SGD(0.1), registry=registry)
        saved = fm.load(tmp_path / "a", network=layer, registry=registry)
        assert saved.network == layer
        assert fm.pytree.equal(saved.params, params)
        with pytest.raises(fm.CheckpointError, match="pass your own class of that name in registry"):
            fm.load(tmp_path / "a")


@attrs.frozen(repr=False)
class Forgetful(fm.Elementwise):
    """Its field's type does not say what it holds."""

    size: Any = (1, 2)


STATE = cases.fit(epochs=1).state
WITHOUT_SLOT = attrs.evolve(STATE, optimizer_state=attrs.evolve(STATE.optimizer_state, second_moment=()))


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        refusal("params of another network", lambda: save_bad(fm.Linear(2, 2).init(cases.KEY)), ValueError, "params"),
        refusal("a result", lambda: save_bad(cases.fit(epochs=1)), TypeError, "must be a torch.Tensor"),
        refusal("another optimizer", lambda: save_bad(STATE, optimizer=fm.SGD(0.1)), TypeError, "OptimizerState"),
        refusal("slots unlike the params", lambda: save_bad(WITHOUT_SLOT), ValueError, "second_moment"),
        refusal("a class for a network", lambda: save_bad(STATE, network=fm.Tanh), TypeError, "call it"),
        refusal("no loss", lambda: save_bad(STATE, loss="mse"), TypeError, "save: loss"),
        refusal("no history", lambda: save_bad(STATE, history=[0.1]), TypeError, "save: history"),
        refusal("no optimizer", lambda: save_bad(STATE, optimizer=None), TypeError, "save: optimizer"),
        refusal("no registry", lambda: save_bad(STATE, registry=[fm.Tanh]), TypeError, "save: registry"),
        refusal("a tensor in extra", lambda: save_bad(STATE, extra=torch.ones(1)), TypeError, "extra must be made of"),
        refusal("a tuple in extra", lambda: save_bad(STATE, extra=(1, 2)), TypeError, "would come back as [1, 2]"),
        refusal("a number as a key", lambda: save_bad(STATE, extra={1: 2}), TypeError, "would come back as"),
        refusal("NaN in extra", lambda: save_bad(STATE, extra=[math.nan]), TypeError, "finite numbers"),
        refusal("no registration", lambda: save_bad((), network=cases.Softsign()), ValueError, "pass registry="),
        refusal(
            "a field that comes back as another",
            lambda: save_bad((), network=Forgetful(), registry=fm.Registry(Forgetful)),
            ValueError,
            "Forgetful() would be loaded as Forgetful(size=[1, 2])",
        ),
    ],
)  # fmt: skip
def test_what_could_not_be_loaded_is_not_saved(call: Any, error: type[Exception], fragments: Any) -> None:
    check_refused(call, error, fragments)


def save_bad(state: Any, **changes: Any) -> None:
    values: dict[str, Any] = {"network": cases.NETWORK, "optimizer": cases.OPTIMIZER}
    fm.save("/nowhere/model.safetensors", state, **values | changes)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "model.safetensors"
    cases.save(path, cases.fit(epochs=2))
    return path.read_bytes()


def rename(header: dict[str, Any], old: str, new: str) -> None:
    header[new] = header.pop(old)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda header, document: document.update(format=2), "is of the format 2, and functional_mlp"),
        (lambda header, document: document.update(format="1"), "load it with a newer version"),
        (lambda header, document: document.pop("network"), "network"),
        (lambda header, document: document.pop("extra"), "extra"),
        (lambda header, document: document.update(more=1), "more"),
        (lambda header, document: document.update(loss={"type": "ReLU"}), "ReLU stands where a Loss belongs"),
        (lambda header, document: document["progress"].update(step=-1), "state.step must be"),
        (lambda header, document: document["progress"].update(epoch=-1), "epoch must be"),
        (lambda header, document: document["progress"].update(epoch=1.5), "where a int belongs"),
        (lambda header, document: document["progress"].update(learning_rate=1e400), "Infinity is no JSON"),
        (lambda header, document: document["progress"].update(learning_rate=-1), "state.learning_rate"),
        (lambda header, document: document["progress"].update(key={"digest": "00"}), "Key takes 16 bytes"),
        (lambda header, document: document["progress"].update(key={"digest": 3}), "fromhex"),
        (lambda header, document: document.update(progress=None), "are missing and ['slots.first_moment"),
        (lambda header, document: document.update(optimizer={"type": "SGD", "learning_rate": 0.1}), "too many"),
        (lambda header, document: rename(header, "params[0].weight", "params[9].weight"), "params[0].weight"),
        (lambda header, document: rename(header, "history.seconds", "history.minutes"), "minutes"),
        (lambda header, document: header["history.seconds"].update(shape=[1, 2]), "differ in length"),
        (lambda header, document: document["network"]["layers"][0].update(in_features=2**60), "its tensors hold"),
        (lambda header, document: document["network"]["layers"][0].update(in_features=3), "must have the shape"),
        (lambda header, document: document["network"]["layers"].pop(), "too many"),
    ],
)  # fmt: skip
def test_a_file_that_describes_no_run_is_refused(tmp_path: Path, content: bytes, change: Any, reason: str) -> None:
    (tmp_path / "a").write_bytes(rewritten(content, change))
    with pytest.raises(fm.CheckpointError) as caught:
        fm.load(tmp_path / "a")
    assert reason in str(caught.value)


def test_another_network_than_expected_is_refused_with_the_differences(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(fm.CheckpointError) as caught:
        fm.load(tmp_path / "a", network=fm.Sequential(fm.Linear(2, 5, bias=False), fm.Tanh(), cases.NETWORK[2]))
    assert caught.value.reason == (
        "network.layers[0].bias is True, expected False; network.layers[1] is Residual, expected Tanh"
    )
    with pytest.raises(fm.CheckpointError, match=r"optimizer.learning_rate is 0.01, expected 0.02"):
        fm.load(tmp_path / "a", optimizer=fm.AdamW(0.02))
    with pytest.raises(fm.CheckpointError, match="loss is CrossEntropy, expected MeanSquaredError"):
        fm.load(tmp_path / "a", loss=fm.MeanSquaredError())


@pytest.mark.parametrize("path", sorted(DATA.glob("format_*.safetensors")), ids=lambda path: path.name)
def test_files_of_every_format_stay_loadable(path: Path) -> None:
    """Each holds what `python -m tests.checkpoint.make_format_file` saved when its format was new."""
    saved = fm.load(path)
    layers = (fm.Linear(2, 3, weight_init=fm.initializers.uniform(-1, 1)), fm.GELU("tanh"), fm.Linear(3, 2, bias=False))
    assert saved.network == fm.Sequential(*layers)
    assert (saved.optimizer, saved.loss) == (fm.Momentum(0.1, beta=0.5), fm.MeanSquaredError())
    assert (saved.state.epoch, saved.state.key) == (3, fm.random.key(7).split()[1])
    assert (saved.state.optimizer_state.step, saved.state.optimizer_state.learning_rate) == (15, 0.1 * 0.9**2)
    assert saved.params[0].weight.tolist() == [
        [0.4430041015148163, 0.8367757201194763],
        [-0.9071481823921204, -0.11218658834695816],
        [-0.5197921395301819, -0.2385205179452896],
    ]
    assert saved.state.optimizer_state.velocity[2].weight.shape == (2, 3)
    assert len(saved.history) == 3
    assert saved.extra == {"classes": ["outside", "inside"]}


def test_saving_is_loaded_when_it_is_used() -> None:
    code = (
        "import sys, functional_mlp as fm\n"
        "print(sorted({'cattrs', 'safetensors', 'functional_mlp.checkpoint'} & set(sys.modules)))\n"
        "print(fm.save.__name__, fm.checkpoint.load.__name__, 'safetensors' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "save load True"]
