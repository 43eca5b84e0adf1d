"""Files whose values are nested deep: read and written up to one limit, and refused beyond it, without recursion."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

import functional_mlp as fm
from functional_mlp.checkpoint.container import MOST_NESTED
from functional_mlp.cli import main
from functional_mlp.layers.nesting import MOST_LEVELS
from tests.checkpoint.cases import joined, rewritten, split

OPTIMIZER = fm.SGD(0.1)
DEPTHS = (MOST_LEVELS, 200, 400, 900, 5_000, 100_000)


def document_with(content: bytes, name: str, text: str) -> bytes:
    """A file in whose document an entry is JSON text, too deep perhaps for Python to write it."""
    marked = rewritten(content, lambda header, document: document.update({name: "MARK"}))
    header, data = split(marked)
    return joined(header.replace(b'\\"MARK\\"', json.dumps(text)[1:-1].encode()), data)


def nested(before: str, inside: str, after: str) -> Callable[[int], str]:
    return lambda levels: before * levels + inside + after * levels


LINEAR = '{"type":"ReLU"}'
NETWORKS = {
    "Sequential": nested('{"type":"Sequential","layers":[', LINEAR, "]}"),
    "Residual": nested('{"type":"Residual","layer":', LINEAR, "}"),
    "Adapted": nested('{"type":"Adapted","layer":', LINEAR, "}"),
    "lists": nested("[", "", "]"),
    "an unknown class": nested('{"type":"Unknown","layer":', LINEAR, "}"),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    fm.save(tmp_path / "model", (), network=fm.ReLU(), optimizer=OPTIMIZER)
    return tmp_path / "model"


@pytest.mark.parametrize("levels", DEPTHS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_that_is_nested_too_deep_is_no_checkpoint(
    file: Path, name: str, levels: int, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_bytes(document_with(file.read_bytes(), "network", NETWORKS[name](levels)))
    for expected in (None, fm.Residual(fm.ReLU())):
        with pytest.raises(fm.CheckpointError):
            fm.load(file, network=expected)
    assert main(["inspect", "--model", str(file)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("levels", DEPTHS[1:])
@pytest.mark.parametrize("name", ["lists", "objects"])
def test_extra_that_is_nested_too_deep_is_no_checkpoint(file: Path, name: str, levels: int) -> None:
    text = nested("[", "", "]") if name == "lists" else nested('{"a":', "1", "}")
    levels = max(levels, MOST_NESTED)
    file.write_bytes(document_with(file.read_bytes(), "extra", text(levels)))
    with pytest.raises(fm.CheckpointError):
        fm.load(file)


def test_a_header_that_is_nested_too_deep_is_no_checkpoint(file: Path) -> None:
    header, data = split(file.read_bytes())
    for levels in DEPTHS:
        deep = header[:-1] + b',"params":' + b"[" * (3 * levels) + b"]" * (3 * levels) + b"}"
        file.write_bytes(joined(deep, data))
        with pytest.raises(fm.CheckpointError, match="model: is damaged"):
            fm.load(file)


@pytest.mark.parametrize("wrap", [fm.Sequential, fm.Residual])
def test_the_deepest_network_that_can_be_made_is_saved_and_loaded(file: Path, wrap: Any) -> None:
    network: fm.Layer = fm.Linear(2, 2)
    for _ in range(MOST_LEVELS - 1):
        network = wrap(network)
    params = network.init(fm.random.key(0))
    fm.save(file, params, network=network, optimizer=OPTIMIZER)
    saved = fm.load(file, network=network)
    assert saved.network == network
    assert fm.pytree.equal(saved.params, params)
    assert main(["inspect", "--model", str(file)]) == 0


def test_a_file_does_not_make_an_error_as_long_as_itself(file: Path) -> None:
    many = ",".join([LINEAR] * 5000)
    linear = '{"type":"Linear","in_features":1,"out_features":1}'
    mistakes = {
        "another size": f'{{"type":"Sequential","layers":[{many},{linear.replace("1}", "0}")}]}}',
        "other layers": f'{{"type":"Sequential","layers":[{many}]}}',
        "an unknown class": f'{{"type":"{"x" * 50_000}"}}',
    }
    for text in mistakes.values():
        file.write_bytes(document_with(file.read_bytes(), "network", text))
        with pytest.raises(fm.CheckpointError) as caught:
            fm.load(file, network=fm.Sequential(*[fm.Tanh()] * 5000))
        assert len(str(caught.value)) < 3000


def chain(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_extra_is_saved_up_to_the_depth_that_is_loaded(file: Path) -> None:
    fm.save(file, (), network=fm.ReLU(), optimizer=OPTIMIZER, extra=chain(MOST_NESTED - 1))
    assert fm.load(file).extra == chain(MOST_NESTED - 1)
    assert main(["inspect", "--model", str(file)]) == 0
    before = file.read_bytes()
    circle: list[Any] = []
    circle += [circle, circle]
    for extra in (chain(MOST_NESTED), chain(MOST_NESTED + 1), chain(100_000), circle, {"a": circle}):
        with pytest.raises(ValueError, match=f"nests lists and objects at most {MOST_NESTED} deep"):
            fm.save(file, (), network=fm.ReLU(), optimizer=OPTIMIZER, extra=extra)
    assert file.read_bytes() == before


@attrs.frozen(repr=False)
class Boxed(fm.Elementwise):
    """An activation of a user's own with a value of any depth."""

    content: Any = None

    def value(self, xp: Any, s: Any) -> Any:
        return s

    def derivative(self, xp: Any, s: Any, y: Any) -> Any:
        return 1


@pytest.mark.parametrize("levels", [MOST_NESTED, 1_000, 20_000])
def test_values_of_a_users_own_are_not_saved_deeper_than_they_are_loaded(file: Path, levels: int) -> None:
    content: Any = ()
    for _ in range(levels):
        content = (content,)
    before = file.read_bytes()
    with pytest.raises((ValueError, TypeError)):
        fm.save(file, (), network=Boxed(content), optimizer=OPTIMIZER, registry=fm.Registry(Boxed))
    assert file.read_bytes() == before
