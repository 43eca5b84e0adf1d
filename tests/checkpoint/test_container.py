"""Files that are no checkpoints are refused, whatever they claim."""

import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import functional_mlp as fm
from tests.checkpoint import cases
from tests.checkpoint.cases import joined, rewritten, signed, split


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "model.safetensors"
    fm.save(path, cases.fit(epochs=1).state, network=cases.NETWORK, optimizer=cases.OPTIMIZER)
    return path.read_bytes()


@pytest.fixture
def refused(tmp_path: Path) -> Any:
    """Load a file of some bytes, which must be refused; returns the reason."""

    def call(content: bytes) -> str:
        path = tmp_path / "model.safetensors"
        path.write_bytes(content)
        with pytest.raises(fm.CheckpointError) as caught:
            fm.load(path)
        assert caught.value.path == path
        assert str(caught.value) == f"{path}: {caught.value.reason}"
        return caught.value.reason

    return call


def test_the_helpers_sign_as_the_library_does(content: bytes) -> None:
    assert signed(content) == content
    assert rewritten(content, lambda header, document: None)[: cases.DIGEST.start][8:] == cases.BEGINNING


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    """All bits of a small file, in the length, the header and the data."""
    path, network = tmp_path / "small.safetensors", fm.Linear(1, 1, bias=False)
    fm.save(path, network.init(cases.KEY), network=network, optimizer=fm.SGD(0.1))
    content = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for bit in range(8 * len(content)):
            place, byte = divmod(bit, 8)
            os.pwrite(file.fileno(), bytes([content[place] ^ 1 << byte]), place)
            with pytest.raises(fm.CheckpointError):
                fm.load(path)
            os.pwrite(file.fileno(), content[place : place + 1], place)
    fm.load(path)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 60, 130, 1000])
def test_a_truncated_file_is_refused(refused: Any, content: bytes, size: int) -> None:
    refused(content[:size])
    refused(content[: len(content) - 1 - size])


def test_an_empty_file_is_refused_as_one(refused: Any) -> None:
    assert refused(b"") == "is empty"


def test_trailing_bytes_are_refused(refused: Any, content: bytes) -> None:
    assert "digest" in refused(content + b"\0")
    assert "follow its header" in refused(signed(content + b"\0" * 8))


@pytest.mark.parametrize(
    "foreign",
    [
        pickle.dumps({"weight": [1.0]}),
        b"PK\x03\x04" + bytes(200),
        b"\x89PNG\r\n" + bytes(200),
        b"width,height\n1,2\n" * 20,
        safetensors.torch.save({"weight": torch.ones(3)}),
        safetensors.torch.save({"weight": torch.ones(3)}, {"format": "pt"}),
    ],
    ids=["pickle", "zip", "png", "csv", "safetensors", "safetensors-metadata"],
)
def test_a_foreign_file_is_refused(refused: Any, foreign: bytes) -> None:
    assert "is not a checkpoint of functional_mlp" in refused(foreign)


def test_a_pickle_is_not_unpickled(refused: Any, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    refused(pickle.dumps(Trap()))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("claimed", [0, 1, 120, 2**22 + 1, 2**40, 2**63, 2**64 - 1])
def test_a_header_of_another_length_is_refused(refused: Any, content: bytes, claimed: int) -> None:
    refused(signed(struct.pack("<Q", claimed) + content[8:]))


def header_text(content: bytes, old: bytes, new: bytes) -> bytes:
    header, data = split(content)
    assert old in header
    return joined(header.replace(old, new, 1), data)


def test_duplicate_keys_are_refused(refused: Any, content: bytes) -> None:
    twice = header_text(content, b'"params[0].weight":', b'"params[0].bias":')
    assert "has the key 'params[0].bias' twice" in refused(twice)
    assert "has the key 'format' twice" in refused(
        header_text(content, b'\\"version\\":\\"0', b'\\"format\\":1,\\"version\\":\\"0')
    )
    assert "has the key '__metadata__' twice" in refused(
        header_text(content, b'"params[0].weight":', b'"__metadata__":')
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"shape": [2**62, 4]}, "offsets"),
        ({"shape": [2**40, 2**40]}, "overflows"),
        ({"shape": [0, 2**40, 2**40]}, "overflows"),
        ({"shape": [-5, -2]}, "offsets"),
        ({"shape": [5, 2.0]}, "offsets"),
        ({"shape": [True, 10]}, "offsets"),
        ({"shape": [1] * 65 + [10]}, "offsets"),
        ({"shape": "52"}, "offsets"),
        ({"shape": [5, 3]}, "does not fill"),
        ({"shape": [10]}, "must have the shape"),
        ({"dtype": "F64"}, "does not fill"),
        ({"dtype": "I32"}, "must be of a dtype"),
        ({"dtype": ["F32"]}, "must be of a dtype"),
        ({"data_offsets": [0, 2**70]}, "offsets"),
        ({"data_offsets": [0, 40]}, "data"),
        ({"data_offsets": [0]}, "offsets"),
        ({"more": 1}, "needs a dtype"),
    ],
)
def test_a_tensor_that_does_not_fill_its_bytes_is_refused(
    refused: Any, content: bytes, change: dict[str, Any], reason: str
) -> None:
    assert reason in refused(rewritten(content, lambda header, _: header["params[0].weight"].update(change)))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'"params[0].weight":NaN,"x":', "NaN is no JSON"),
        (b'"params[0].weight":' + b"[" * 5000 + b"]" * 5000 + b',"x":', "cannot be read"),
        (b'"params[0].weight":' + b"9" * 5000 + b',"x":', "cannot be read"),
        (b'"\xff":', "cannot be read"),
        (b'"params[0].weight"', "cannot be read"),
        (b'"params[0].weight":"text","x":', "needs a dtype"),
    ],
)
def test_a_header_that_is_no_json_is_refused(refused: Any, content: bytes, text: bytes, reason: str) -> None:
    assert reason in refused(header_text(content, b'"params[0].weight":', text))


@pytest.mark.parametrize("document", ["[]", "1", '""', "{}", "nonsense"])
def test_a_document_of_another_kind_is_refused(refused: Any, content: bytes, document: str) -> None:
    header, data = split(content)
    parsed = json.loads(header)
    parsed["__metadata__"]["functional_mlp"] = document
    refused(joined(json.dumps(parsed, separators=(",", ":")).encode(), data))


def test_other_metadata_is_refused(refused: Any, content: bytes) -> None:
    assert "metadata" in refused(rewritten(content, lambda header, _: header["__metadata__"].update(more="1")))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fm.load(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        fm.load(tmp_path)
    with pytest.raises(fm.CheckpointError, match="not a regular file"):
        fm.load("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(fm.CheckpointError, match="not a regular file"):
        fm.load(tmp_path / "pipe")


def test_a_description_too_large_to_load_is_not_saved(tmp_path: Path) -> None:
    network = fm.Linear(1, 1)
    with pytest.raises(ValueError, match="at most 4194304 bytes"):
        fm.save(tmp_path / "a", network.init(cases.KEY), network=network, optimizer=fm.SGD(0.1), extra="a" * 5_000_000)
    assert not list(tmp_path.iterdir())
