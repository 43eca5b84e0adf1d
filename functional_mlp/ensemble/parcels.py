"""What is sent to the workers of an executor: a group as bytes, without its data, which many groups may share."""

import importlib
import io
import pickle
from collections.abc import Sequence
from typing import Any

import attrs

from functional_mlp.datasets import Dataset
from functional_mlp.engines import Group
from functional_mlp.state import Job


@attrs.frozen(eq=False)
class Parcel:
    """A group of a job, and the processor that it was made up for: None where its bits do not depend on that."""

    job: Job
    group: Group
    processor: str | None


@attrs.frozen(eq=False)
class Packed:
    """A parcel as bytes; `datasets` are the numbers of the data sets that it needs, in the order that it names them."""

    content: bytes
    datasets: tuple[int, ...]


class Packing:
    """Packs the parcels of a job, and gathers the data sets that they need, each once."""

    def __init__(self) -> None:
        self.datasets: list[Dataset] = []
        self._numbers: dict[int, int] = {}

    def pack(self, parcel: Parcel) -> Packed:
        """Raises `TypeError`, naming the argument of `fit_ensemble`, for what cannot be pickled."""
        file = io.BytesIO()
        pickler = _Pickler(file)
        try:
            pickler.dump(parcel)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise _not_sent(parcel.job, error) from error
        return Packed(file.getvalue(), tuple(map(self._number, pickler.datasets)))

    def _number(self, data: Dataset) -> int:
        if id(data) not in self._numbers:
            self._numbers[id(data)] = len(self.datasets)
            self.datasets.append(data)
        return self._numbers[id(data)]


def unpack(content: bytes, datasets: Sequence[Dataset]) -> Parcel:
    """The parcel, with these data sets in its places; raises `TypeError`, naming it, for a class that is not here."""
    parcel: Parcel = _Unpickler(io.BytesIO(content), datasets).load()
    return parcel


class _Pickler(pickle.Pickler):
    """Leaves data sets out, and notes them by their places."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.datasets: list[Dataset] = []
        self._places: dict[int, int] = {}

    def persistent_id(self, value: Any) -> int | None:
        if not isinstance(value, Dataset):
            return None
        if id(value) not in self._places:
            self._places[id(value)] = len(self.datasets)
            self.datasets.append(value)
        return self._places[id(value)]


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, datasets: Sequence[Dataset]) -> None:
        super().__init__(file)
        self._datasets = datasets

    def persistent_load(self, place: int) -> Dataset:
        return self._datasets[place]

    def find_class(self, module: str, name: str) -> Any:
        try:
            importlib.import_module(module)
            return super().find_class(module, name)
        except (ImportError, AttributeError) as error:
            raise TypeError(
                f"fit_ensemble: a worker of the executor cannot import {module}.{name} ({error}): define it in a "
                "module that is on the path, or installed, where the workers run"
            ) from error


def _not_sent(job: Job, error: Exception) -> TypeError:
    """What cannot be sent, by the argument of `fit_ensemble` that holds it."""
    values: dict[str, Sequence[Any]] = {
        "network": [job.network],
        "loss": [job.loss],
        "optimizer": [member.optimizer for member in job.members],
        "schedule": [member.schedule for member in job.members],
        "penalty": [job.penalty],
        "score": [job.score],
    }
    guilty = next((f"{name} {each!r}" for name, own in values.items() for each in own if not _is_sent(each)), "a value")
    return TypeError(
        f"fit_ensemble: {guilty} cannot be pickled, and so not be sent to the executor's workers ({error}): define "
        "its class, or the function, at the top of a module that they can import"
    )


def _is_sent(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True
