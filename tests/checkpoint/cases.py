"""What the tests of checkpoints share: runs, and files made by hand."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import functional_mlp as fm

KEY = fm.random.key(3)
NETWORK = fm.Sequential(
    fm.Linear(2, 5), fm.Residual(fm.Sequential(fm.LeakyReLU(0.1), fm.Linear(5, 5))), fm.Linear(5, 2)
)
LOSS = fm.CrossEntropy()
OPTIMIZER = fm.AdamW(0.01)
DATA = fm.datasets.disk(fm.random.key(1), 30)
VALIDATION = fm.datasets.disk(fm.random.key(2), 20)

BEGINNING = b'{"__metadata__":{"functional_mlp":"{\\"digest\\":\\"'
DIGEST = slice(8 + len(BEGINNING), 8 + len(BEGINNING) + 64)


def fit(**changes: Any) -> fm.FitResult:
    """A short run, with some arguments of `fit` changed."""
    arguments: dict[str, Any] = {"network": NETWORK, "loss": LOSS, "optimizer": OPTIMIZER, "data": DATA}
    arguments |= {"key": KEY, "epochs": 5, "batch_size": 4, "engine": "reference", "validation": VALIDATION}
    arguments |= {"schedule": fm.schedules.exponential_decay(0.9)}
    return fm.fit(**arguments | changes)


def save(path: Path, result: fm.FitResult, **changes: Any) -> None:
    values: dict[str, Any] = {"network": NETWORK, "optimizer": OPTIMIZER, "loss": LOSS, "history": result.history}
    fm.save(path, result.state, **values | changes)


def without_times(history: fm.History) -> dict[str, list[str]]:
    """The figures of a history but its times, as text, in which NaN equals NaN."""
    figures = history.to_dict()
    return {name: list(map(float.hex, values)) for name, values in figures.items() if name != "seconds"}


def assert_same_run(actual: fm.FitResult | fm.Saved, expected: fm.FitResult) -> None:
    assert actual.state.epoch == expected.state.epoch
    assert actual.state.key == expected.state.key
    assert fm.pytree.equal(actual.state, expected.state)
    assert without_times(actual.history) == without_times(expected.history)


def signed(content: bytes) -> bytes:
    """A file with the digest that belongs to it, whatever it holds."""
    blank = content[: DIGEST.start] + b"0" * 64 + content[DIGEST.stop :]
    digest = hashlib.blake2b(blank, digest_size=32).hexdigest().encode()
    return content[: DIGEST.start] + digest + content[DIGEST.stop :]


def split(content: bytes) -> tuple[bytes, bytes]:
    """The header and the data of a file."""
    end = 8 + int.from_bytes(content[:8], "little")
    return content[8:end], content[end:]


def joined(header: bytes, data: bytes) -> bytes:
    return signed(len(header).to_bytes(8, "little") + header + data)


def rewritten(content: bytes, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> bytes:
    """A file whose header and document have been changed, with the digest that belongs to it."""
    text, data = split(content)
    header = json.loads(text)
    document = json.loads(header["__metadata__"]["functional_mlp"])
    change(header, document)
    header["__metadata__"]["functional_mlp"] = json.dumps(document, separators=(",", ":"))
    return joined(json.dumps(header, separators=(",", ":")).encode(), data)


class Softsign(fm.Elementwise):
    """An activation of a user's own."""

    def value(self, xp: Any, s: Any) -> Any:
        return s / (1 + xp.abs(s))

    def derivative(self, xp: Any, s: Any, y: Any) -> Any:
        return 1 / (1 + xp.abs(s)) ** 2


def special_params() -> tuple[fm.LinearParams]:
    """NaN of several bits, infinities, -0 and denormals."""
    bits = torch.tensor([0x7FC00000, 0x7F800001, -1, 0x7F800000, -0x800000, -0x80000000, 1, 0x3F800000])
    return (fm.LinearParams(bits.to(torch.int32).view(torch.float32).reshape(4, 2), torch.zeros(4)),)
