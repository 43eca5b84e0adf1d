"""Values as JSON: every class of the library, classes of a user's own, and what is refused."""

import json
from typing import Any

import attrs
import pytest

import functional_mlp as fm
from functional_mlp import optimizers, schedules, value
from functional_mlp.checkpoint.values import Registry, check_sizes, converter, differences
from tests.checkpoint.cases import Softsign
from tests.tables import INITIALIZERS, LAYERS, LOSSES, OPTIMIZERS

OF_INITIALIZERS = [fm.Linear(2, 3, weight_init=init, bias_init=init) for init in INITIALIZERS]

OURS = Registry()


def through_json(original: Any, registry: Registry = OURS, kind: type = value.Value) -> Any:
    convert = converter(registry)
    return convert.structure(json.loads(json.dumps(convert.unstructure(original))), kind)


@pytest.mark.parametrize("original", [*LAYERS, *OF_INITIALIZERS, *LOSSES, *OPTIMIZERS], ids=repr)
def test_every_value_comes_back_as_it_was(original: Any) -> None:
    restored = through_json(original)
    assert restored == original
    assert repr(restored) == repr(original)


def test_every_class_of_the_library_has_a_name() -> None:
    """Schedules are no part of a checkpoint, and of families of initializers only the members are saved."""

    def subclasses(cls: type) -> set[type]:
        return {cls}.union(*map(subclasses, cls.__subclasses__()))

    ours = {cls for cls in subclasses(value.Value) if cls.__module__.startswith("functional_mlp.")}
    ours -= subclasses(schedules.Schedule)
    ours = {cls for cls in ours if cls.__module__.split(".")[1] in ("layers", "losses", "optimizers", "initializers")}
    families = {"Layer", "Elementwise", "Loss", "Optimizer", "Initializer", "UniformInitializer", "NormalInitializer"}
    assert {cls.__name__ for cls in ours - set(Registry().by_name.values())} == families


@attrs.frozen(repr=False)
class Scale(fm.Layer):
    """A layer of a user's own, with fields of several kinds."""

    factors: tuple[float, ...]
    name: str
    inner: fm.Layer
    clip: float | None = None
    on: bool = True

    def apply(self, params: Any, x: Any) -> Any:
        return self.factors[0] * x

    def vjp(self, params: Any, x: Any, grad_out: Any) -> Any:
        return (), self.factors[0] * grad_out


def test_a_class_of_ones_own_is_found_in_the_registry() -> None:
    layer = fm.Sequential(Scale((2.0, 0.1), "ö", fm.Residual(Softsign())), fm.Tanh())
    assert through_json(layer, Registry(Scale, Softsign)) == layer
    assert repr(Registry(Scale)) == "Registry(Scale)"


def test_a_class_that_is_not_in_the_registry_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Softsign is not a class of the library: pass registry=Registry\(Softsign\)"):
        converter(Registry()).unstructure(Softsign())
    with pytest.raises(ValueError, match="'Softsign' names no class of the library"):
        converter(Registry()).structure({"type": "Softsign"}, fm.Layer)


@pytest.mark.parametrize("cls", [Softsign(), int, "Softsign", object])
def test_a_registry_takes_attrs_classes(cls: Any) -> None:
    with pytest.raises(TypeError, match="Registry takes attrs classes"):
        Registry(cls)


def test_a_registry_takes_each_name_once() -> None:
    class Linear(fm.Layer):
        pass

    with pytest.raises(ValueError, match="'Linear' already"):
        Registry(Linear)
    with pytest.raises(ValueError, match="'Softsign' already"):
        Registry(Softsign, Softsign)


LINEAR = converter(Registry()).unstructure(fm.Linear(2, 3))


@pytest.mark.parametrize(
    "data",
    [
        LINEAR | {"more": 1},
        {name: field for name, field in LINEAR.items() if name != "out_features"},
        LINEAR | {"in_features": "2"},
        LINEAR | {"in_features": 2.0},
        LINEAR | {"in_features": True},
        LINEAR | {"in_features": 0},
        LINEAR | {"bias": 1},
        LINEAR | {"bias": "yes"},
        LINEAR | {"weight_init": {"type": "ReLU"}},
        LINEAR | {"weight_init": {"type": "initializers.uniform", "low": "-1", "high": 1}},
        LINEAR | {"weight_init": None},
        {"type": "SGD", "learning_rate": 0.1},
        {"type": "os.system"},
        {"type": ["Linear"]},
        {"type": "Sequential", "layers": []},
        {"type": "Sequential", "layers": "ReLU"},
        {"type": "Sequential", "layers": [LINEAR], "more": 1},
        {"type": "Sequential", "layers": [LINEAR, LINEAR]},
        {"type": "GELU", "approximate": "exact"},
        {"type": "Layer"},
        {},
        [],
        None,
        "ReLU()",
    ],
    ids=str,
)
def test_reading_is_strict(data: Any) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - of any kind: load makes one of them all
        converter(Registry()).structure(data, fm.Layer)


def test_an_optimizer_of_ones_own_comes_back() -> None:
    @attrs.frozen(repr=False)
    class SignSGD(optimizers.SGD):
        def rule(self, xp: Any, step: Any, learning_rate: Any, param: Any, grad: Any) -> Any:
            return (param - learning_rate * xp.sign(grad),)

    assert through_json(SignSGD(0.25), Registry(SignSGD), fm.Optimizer) == SignSGD(0.25)


def test_differences_are_told_by_path() -> None:
    convert = converter(Registry())
    a = fm.Sequential(fm.Linear(2, 3), fm.ReLU(), fm.Residual(fm.ELU(2.0)), fm.Linear(3, 1))
    b = fm.Sequential(fm.Linear(2, 3, bias=False), fm.Tanh(), fm.Residual(fm.ELU()))
    assert list(differences("network", *map(convert.unstructure, (a, b)))) == [
        "network.layers[0].bias is False, expected True",
        "network.layers[1] is Tanh, expected ReLU",
        "network.layers[2].layer.alpha is 1.0, expected 2.0",
        "network.layers[3] is nothing, expected Linear",
    ]
    assert not list(differences("network", *map(convert.unstructure, (a, a))))


@pytest.mark.parametrize("sizes", [(3, 4), (10**30, 1), (2**40, 2**40), (1.0, 1)])
def test_a_layer_larger_than_its_file_is_refused_before_it_is_made(sizes: Any) -> None:
    data = {"type": "Sequential", "layers": [LINEAR | dict(zip(("in_features", "out_features"), sizes, strict=True))]}
    with pytest.raises(ValueError, match="its tensors hold 11 numbers"):
        check_sizes(data, 11)
