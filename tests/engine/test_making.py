"""Where no native code can be made, the reference engine trains, one warning says why, and nothing crashes."""

import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable

import pytest
import torch

import functional_mlp as fm
from functional_mlp.engine import making, native
from functional_mlp.engine.functions import compiled
from functional_mlp.engine.llvm import target as machine

KEY = fm.random.key(0)
NETWORK = fm.Sequential(fm.Linear(2, 3), fm.Tanh(), fm.Linear(3, 2))
LOSS, OPTIMIZER = fm.MeanSquaredError(), fm.SGD(0.1)
DATA = fm.datasets.disk(KEY, 20)

# Each makes the engine impossible in a process of its own, before the library is used.
OBSTACLES = {
    "missing": """
        sys.modules["llvmlite"] = None
    """,
    "broken": """
        class BrokenFinder:
            def find_spec(self, name, path=None, target=None):
                if name == "llvmlite":
                    raise OSError("Could not find/load shared object file")
        sys.meta_path.insert(0, BrokenFinder())
    """,
    "no executable memory": """
        import ctypes
        PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
        if not sys.platform.startswith("linux") or ctypes.CDLL(None).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0):
            print("cannot forbid executable memory here")
            sys.exit()
    """,
    "unknown processor": """
        from llvmlite import binding
        def no_target(triple):
            raise RuntimeError("No available targets are compatible with triple")
        binding.Target.from_triple = no_target
        os.environ["FUNCTIONAL_MLP_CACHE"] = "off"
    """,
    "no host features": """
        from llvmlite import binding
        def no_features():
            raise RuntimeError("failed to get host cpu features.")
        binding.get_host_cpu_features = no_features
    """,
    "refused code": """
        from llvmlite import binding
        def refuse(text):
            raise RuntimeError("immarg operand has non-immediate parameter")
        binding.parse_assembly = refuse
        os.environ["FUNCTIONAL_MLP_CACHE"] = "off"
    """,
}
REASONS = {
    "missing": "llvmlite cannot be loaded",
    "broken": "Could not find/load shared object file",
    "no executable memory": "cannot allocate executable memory",
    "unknown processor": "No available targets",
    "no host features": "failed to get host cpu features",
    "refused code": "immarg operand has non-immediate parameter",
}

PROGRAM = """
    import os, sys, warnings
    OBSTACLE
    import functional_mlp as fm

    key, loss, optimizer = fm.random.key(0), fm.MeanSquaredError(), fm.SGD(0.1)
    network = fm.Sequential(fm.Linear(2, 3), fm.Tanh(), fm.Linear(3, 2))
    data = fm.datasets.disk(key, 20)

    def calls(engine):
        params = network.init(key)
        yield lambda: fm.fit(network, loss, optimizer, data, key=key, epochs=2, engine=engine).state
        state = fm.TrainState(optimizer.init(params), key, 0)
        yield lambda: fm.train_epoch(network, loss, state, data, optimizer=optimizer, engine=engine)
        keys = key.split(8)
        yield lambda: fm.fit_ensemble(network, loss, optimizer, data, keys=keys, epochs=2, engine=engine).params
        yield lambda: fm.predict(network, params, data.inputs, engine=engine)
        yield lambda: fm.evaluate(network, loss, params, data, engine=engine).loss

    def refusal(call):
        try:
            call()
        except ValueError as error:
            return str(error)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for auto, reference in zip(calls("auto"), calls("reference")):
            got, expected = auto(), reference()
            for one, other in zip(fm.pytree.leaves(got), fm.pytree.leaves(expected), strict=True):
                assert abs(one - other).max() < 1e-5 if hasattr(one, "max") else one == other
        reason = fm.engine.explain(network, loss, optimizer)
        for fused in calls("fused"):
            assert reason in refusal(fused), refusal(fused)
        assert reason in refusal(lambda: fm.engine.compile(network, loss, optimizer, batch_size=2))
    print(len(caught), [w.category.__name__ for w in caught], reason in str(caught[0].message))
    print(reason)
"""


@pytest.mark.parametrize("name", OBSTACLES)
def test_the_reference_steps_in_where_code_cannot_be_made(name: str) -> None:
    code = textwrap.dedent(PROGRAM).replace("OBSTACLE", textwrap.dedent(OBSTACLES[name]))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    if done.stdout.startswith("cannot forbid"):
        pytest.skip("this system has no way to forbid executable memory")
    assert done.returncode == 0, done.stderr
    outcome, reason = done.stdout.splitlines()
    assert outcome == "1 ['RuntimeWarning'] True"
    assert REASONS[name] in reason


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes LLVM refuse every code that holds a text."""
    monkeypatch.setenv("FUNCTIONAL_MLP_CACHE", "off")
    monkeypatch.setattr(making, "_failures", {})
    assemble = machine.assemble

    def refuse(part: str) -> None:
        def attempt(text: str, target: machine.Target) -> bytes:
            if part in text:
                raise RuntimeError(f"there is {part!r} in it\nand more")
            return assemble(text, target)

        monkeypatch.setattr(machine, "assemble", attempt)

    compiled.cache_clear()
    making._warn.cache_clear()
    return refuse


def fit(engine: str, batch_size: int = 1) -> fm.FitResult:
    return fm.fit(NETWORK, LOSS, OPTIMIZER, DATA, key=KEY, epochs=1, batch_size=batch_size, engine=engine)


def test_a_code_that_llvm_refuses_is_tried_once_and_explained_from_then_on(refused) -> None:
    assert native._failure_of_probe(machine.host()) is None
    refused("epochs")
    assert fm.engine.explain(NETWORK, LOSS, OPTIMIZER) is None
    with pytest.warns(RuntimeWarning, match=r"takes its place: llvmlite .* \(RuntimeError: there is 'epochs' in it\)"):
        result = fit("auto")
    assert fm.pytree.equal(result.state, fit("reference").state)
    assert "there is 'epochs' in it" in str(fm.engine.explain(NETWORK, LOSS, OPTIMIZER))
    refused("nothing of the kind")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fm.pytree.equal(fit("auto", batch_size=4).state, fit("reference", batch_size=4).state)
    with pytest.raises(ValueError, match="engine='fused' cannot run this: llvmlite"):
        fit("fused")


@pytest.mark.parametrize("members", [1, 16])
def test_a_run_whose_validation_llvm_refuses_is_the_references(refused, members: int) -> None:
    assert native._failure_of_probe(machine.host()) is None

    def figures(engine: str) -> list[tuple[float, ...]]:
        result = fm.fit_ensemble(
            NETWORK, LOSS, OPTIMIZER, DATA, keys=KEY.split(members), epochs=2, validation=DATA, engine=engine
        )
        return [member.history.validation_loss for member in result.members]

    refused("evaluate")
    with pytest.warns(RuntimeWarning, match="takes its place"):
        found = figures("auto")
    for own, expected in zip(found, figures("reference"), strict=True):
        assert own == pytest.approx(expected, rel=1e-5)


def test_passes_forward_whose_code_llvm_refuses_are_the_references(refused) -> None:
    assert native._failure_of_probe(machine.host()) is None
    refused("define")
    params, rows = NETWORK.init(KEY), fm.Dataset(torch.zeros(4000, 2), torch.zeros(4000, 2))
    for forward in (
        lambda engine: fm.predict(NETWORK, params, rows.inputs, engine=engine),
        lambda engine: fm.evaluate(NETWORK, LOSS, params, rows, engine=engine),
    ):
        assert fm.pytree.equal(forward("auto"), forward("reference"))
        with pytest.raises(ValueError, match="engine='fused' cannot run this: llvmlite"):
            forward("fused")


def test_a_network_that_no_machine_can_fuse_is_no_cause_for_a_warning() -> None:
    class Halved(fm.Layer):
        in_features = out_features = None

        def init(self, key, *, dtype=None, device=None):
            return ()

        def apply(self, params, x):
            return x / 2

        def vjp(self, params, x, grad_out):
            return (), grad_out / 2

    network = fm.Sequential(fm.Linear(2, 2), Halved())
    fm.fit(network, LOSS, OPTIMIZER, DATA, key=KEY, epochs=1)


def test_code_without_the_function_asked_for_is_an_error() -> None:
    target = machine.host()
    code = machine.MachineCode(machine.assemble("define void @f() { ret void }", target), target)
    assert code.address("f")
    with pytest.raises(RuntimeError, match="the loaded code has no 'g'"):
        code.address("g")
