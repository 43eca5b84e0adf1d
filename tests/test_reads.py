"""A change of what functions read is noticed, and where that is not sure, it is said."""

import math
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest
from attrs import frozen

import functional_mlp as fm
from functional_mlp.reads import Reads

NAMES = ("value", "derivative", "pullback")
SLOPE, TABLE = 0.5, [0.5]


class Settings:
    slope = 0.5


def slope_of(s: Any) -> Any:
    return SLOPE * s


def counter() -> Callable[[], int]:
    count = 0

    def counts() -> int:
        nonlocal count
        count += 1
        return count

    return counts


counts = counter()


def scaled(s: Any, *, by: float = 2.0) -> Any:
    return by * s


def scaled_by(s: Any, *, by: float, times: float = 1.0) -> Any:
    return by * times * s


class Base(fm.Elementwise):
    factor = 2.0

    def value(self, xp, s):
        return self.factor * s

    def derivative(self, xp, s, y):
        return 1.0


def layer(value: Callable[..., Any], **more: Any) -> type[fm.Elementwise]:
    return type("Own", (Base,), {"value": value, **more})


@frozen(repr=False)
class Inner(fm.Elementwise):
    inner: fm.Elementwise = attrs.Factory(Base)

    def value(self, xp, s):
        return self.inner.value(xp, s)

    def derivative(self, xp, s, y):
        return 1.0


class Above(Base):
    def value(self, xp, s):
        return super().value(xp, s)


# Each with what may change beneath it: an object, the name of its attribute, and another value.
NOTICED: dict[str, tuple[type, Any, str, Any]] = {
    "global": (layer(lambda self, xp, s: SLOPE * s), globals(), "SLOPE", 0.25),
    "global of a function": (layer(lambda self, xp, s: slope_of(s)), globals(), "SLOPE", 0.25),
    "global in a comprehension": (layer(lambda self, xp, s: sum(SLOPE for _ in range(1)) * s), globals(), "SLOPE", 1.0),
    "zero of another sign": (layer(lambda self, xp, s: SLOPE * s), globals(), "SLOPE", -0.5),
    "function": (layer(lambda self, xp, s: slope_of(s)), globals(), "slope_of", abs),
    "code": (layer(lambda self, xp, s: slope_of(s)), slope_of, "__code__", counter.__code__),
    "builtin": (layer(lambda self, xp, s: abs(s)), globals(), "abs", min),
    "module": (layer(lambda self, xp, s: math.pi * s), math, "pi", 3.0),
    "numpy": (layer(lambda self, xp, s: np.sqrt(2) * s), np, "sqrt", np.exp),
    "class": (layer(lambda self, xp, s: Settings.slope * s), Settings, "slope", 1.0),
    "attribute": (Base, Base, "factor", 3.0),
    "method": (Base, Base, "derivative", lambda self, xp, s, y: 2.0),
    "method of a base": (Above, Base, "value", lambda self, xp, s: s),
    "value within": (Inner, Base, "factor", 3.0),
    "property": (
        layer(lambda self, xp, s: self.slope * s, slope=property(lambda self: SLOPE)),
        globals(),
        "SLOPE",
        0.25,
    ),
    "default": (layer(slope_of), slope_of, "__defaults__", (1.0,)),
    "defaults by name": (layer(scaled), scaled, "__kwdefaults__", {"by": 3.0}),
    "default by name": (layer(lambda self, xp, s: scaled(s)), scaled.__kwdefaults__, "by", 3.0),
    "default that was none": (layer(lambda self, xp, s: scaled_by(s)), scaled_by.__kwdefaults__, "by", 3.0),
    "default of a method": (layer(lambda self, xp, s: self.scaled(s), scaled=scaled), scaled.__kwdefaults__, "by", 3.0),
    "default of a property": (
        layer(lambda self, xp, s: self.scaled * s, scaled=property(scaled)),
        scaled.__kwdefaults__,
        "by",
        3.0,
    ),
    "library": (fm.Tanh, fm.Tanh, "value", fm.ReLU.value),
    "derived": (Base, Base, "forward", slope_of),
}


def reads(kind: type) -> Reads:
    return Reads.of({kind: tuple(getattr(kind(), field.name) for field in attrs.fields(kind))}, NAMES)


@pytest.mark.parametrize("case", NOTICED)
def test_a_change_of_what_is_read_is_noticed(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, holder, name, other = NOTICED[case]
    found = reads(kind)
    unchanged = found.unchanged()
    assert found.is_all
    assert unchanged()
    if isinstance(holder, dict):
        monkeypatch.setitem(holder, name, other)
    else:
        monkeypatch.setattr(holder, name, other)
    assert not unchanged()
    monkeypatch.undo()
    assert unchanged()


def test_what_is_gone_is_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    unchanged = reads(Base).unchanged()
    monkeypatch.delattr(Base, "factor")
    assert not unchanged()


UNSURE = {
    "list": lambda self, xp, s: TABLE[0] * s,
    "module at hand": lambda self, xp, s: (lambda module: module.pi)(math) * s,
    "random": lambda self, xp, s: np.random.random() * s,
    "state": lambda self, xp, s: counts() * s,
    "names": lambda self, xp, s: globals()["SLOPE"] * s,
    "attribute by name": lambda self, xp, s: getattr(self, "factor") * s,  # noqa: B009
    "dictionary of a class": lambda self, xp, s: Settings.__dict__["slope"] * s,
    "attribute of a function": lambda self, xp, s: slope_of.slope * s,  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("case", UNSURE)
def test_what_cannot_be_found_in_code_is_never_surely_unchanged(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slope_of, "slope", 0.5, raising=False)
    found = reads(layer(UNSURE[case]))
    assert not found.is_all
    assert not found.unchanged()()


def test_an_import_within_a_function_is_not_found() -> None:
    def value(self, xp, s):
        import math

        return math.pi * s

    assert not reads(layer(value)).is_all


def test_what_one_class_is_derived_from_is_written_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    class Squared(fm.Loss):  # its value is the library's, and that of an activation is not
        def sample_value(self, xp, prediction, target):
            return xp.sum((prediction - target) ** 2)

        def sample_grad(self, xp, prediction, target):
            return 2 * (prediction - target)

    own = layer(lambda self, xp, s: SLOPE * s)
    found = Reads.of({own: (), Squared: ()}, (*NAMES, "sample_value", "sample_grad"))
    unchanged = found.unchanged()
    assert found.is_all
    assert unchanged()
    monkeypatch.setitem(globals(), "SLOPE", 0.25)
    assert not unchanged()


@pytest.mark.parametrize("kind", [fm.ReLU, fm.GELU])
def test_classes_of_the_library_are_not_looked_into(kind: type) -> None:
    assert not reads(kind).functions


def test_a_field_of_a_value_that_is_read_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    value = fm.LeakyReLU(0.5)
    found = reads(layer(lambda self, xp, s: value.negative_slope * s))
    unchanged = found.unchanged()
    assert found.is_all
    assert unchanged()
    object.__setattr__(value, "negative_slope", 0.25)  # which a frozen value's owner does at their own risk
    assert not unchanged()
