"""A checkpoint knows the code of a user's own classes, and tells those of one name apart by what they do."""

import textwrap
from pathlib import Path
from typing import Any

import pytest

import functional_mlp as fm
from functional_mlp.checkpoint.code import changed, digests_of
from tests.checkpoint.cases import assert_same_run, fit

LAYER = """
class Own(fm.Layer):
    def apply(self, params, x):
        return torch.relu(x) * 2
    def vjp(self, params, x, grad_out):
        return (), (x > 0) * grad_out * 2
"""
LOSS = """
FACTOR = 2.0
def squared(s):
    return s * s
class Own(fm.Loss):
    def sample_value(self, xp, prediction, target):
        return xp.sum(squared(prediction - target))
    def sample_grad(self, xp, prediction, target):
        return FACTOR * (prediction - target)
"""
OPTIMIZER = """
class Own(fm.SGD):
    def rule(self, xp, step, learning_rate, param, grad):
        return super().rule(xp, step, 0.5 * learning_rate, param, grad)
"""
SCHEDULE = """
@attrs.frozen(repr=False)
class Own(fm.schedules.Schedule):
    rate: float = 0.5
    def factor(self, epoch):
        return self.rate if epoch in {7, 8} else 1.0
"""
# What is saved with each, and what is changed: of the code, so that it does something else, or only looks otherwise.
CHANGED = {
    "layer": (LAYER, "relu(x) * 2", "relu(x) * 3"),
    "layer's torch": (LAYER, "torch.relu", "torch.tanh"),
    "loss": (LOSS, "2.0", "1.0"),
    "function of a loss": (LOSS, "s * s", "s * s * s"),
    "optimizer": (OPTIMIZER, "0.5", "0.25"),
    "schedule": (SCHEDULE, "{7, 8}", "{7, 9}"),
}
SAME = {
    "comment": (LOSS, "2.0\n", "2.0  # twice\n"),
    "lines": (OPTIMIZER, "class", "\n\nclass"),
    "docstring": (LAYER, "(self, params, x):\n", "(self, params, x):\n        'Twice the positive part.'\n"),
}


def made(source: str) -> Any:
    """The class of a source, and what `fit` is to be given with it."""
    names: dict[str, Any] = {"__name__": "mine"}
    exec("import attrs, torch, functional_mlp as fm\n" + textwrap.dedent(source), names)
    return names["Own"]


def arguments(own: Any) -> dict[str, Any]:
    if issubclass(own, fm.Layer):
        return {"network": fm.Sequential(fm.Linear(2, 3), own(), fm.Linear(3, 2))}
    if issubclass(own, fm.Loss):
        return {"loss": own()}
    return {"optimizer": own(0.01)} if issubclass(own, fm.Optimizer) else {"schedule": own()}


@pytest.mark.parametrize("case", CHANGED)
def test_a_class_whose_code_has_changed_is_told_apart(case: str, tmp_path: Path) -> None:
    source, before, after = CHANGED[case]
    path = tmp_path / "model.safetensors"
    own, other = made(source), made(source.replace(before, after, 1))

    def train(cls: Any, epochs: int, **options: Any) -> fm.FitResult:
        checkpoint = fm.Checkpoint(path, registry=fm.Registry(cls), **options)
        return fit(epochs=epochs, checkpoint=checkpoint, **arguments(cls))

    train(own, 1)
    with pytest.raises(fm.CheckpointError, match=r"code of Own is another there .*allow=\('code',\)") as caught:
        train(other, 2)
    assert caught.value.differs == ("code",)
    assert_same_run(train(made(source), 2), fit(epochs=2, **arguments(own)))
    assert train(other, 3, allow=("code",)).state.epoch == 3
    assert train(other, 4).state.epoch == 4


@pytest.mark.parametrize("case", SAME)
def test_what_does_the_same_has_the_same_digest(case: str) -> None:
    source, before, after = SAME[case]
    assert before in source
    own, other = (digests_of(arguments(made(text))) for text in (source, source.replace(before, after, 1)))
    assert own == other
    assert [*own] == ["Own"]


def test_digests_of_two_versions_of_python_are_not_compared() -> None:
    assert changed({"Own": "cpython-311 aa", "Other": "cpython-311 aa"}, {"Own": "cpython-312 bb"}) == []
    assert changed({"Own": "cpython-311 aa"}, {"Own": "cpython-311 bb"}) == ["Own"]
    assert changed({"Own": ""}, {"Own": "cpython-311 bb"}) == []  # from a file that somebody has made up


def test_an_older_way_of_digesting_is_not_compared() -> None:
    (now,) = digests_of({"loss": made(LOSS)()}).values()
    version, _ = now.split()
    older = version.partition("/")[0]  # as files of the first way have it
    assert changed({"Own": f"{older} aa"}, {"Own": now}) == []
    assert changed({"Own": f"{version} aa"}, {"Own": now}) == ["Own"]


def test_classes_of_one_name_are_each_looked_at() -> None:
    one, other, third = (made(LAYER.replace("* 2", f"* {by}"))() for by in (2, 3, 4))
    digests = [
        digests_of({"network": each})["Own"] for each in ((one, other), (other, one), (one, third), (one, other, third))
    ]
    assert len(set(digests)) == 4
    assert digests_of({"network": (one, one)}) == digests_of({"network": one})
