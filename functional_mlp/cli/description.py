"""What travels with a model: the target, and how the raw columns of a table become numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

import functional_mlp as fm

if TYPE_CHECKING:
    from functional_mlp.tables import NumberColumn, Preparation, Scale


@frozen
class DataDescription:
    """What a model must know of the data that it learned from: classes, or the scale of a quantity, not both."""

    target: str
    classes: tuple[str, ...]
    scale: Scale | None
    preparation: Preparation

    @classmethod
    def of_disk(cls) -> DataDescription:
        """That of the paper's points, which the network takes as they are."""
        from functional_mlp.tables import Preparation

        features = (_number("x1", mean=0.0, std=1.0, low=0.0, high=1.0), _number("x2", 0.0, 1.0, 0.0, 1.0))
        return cls("class", ("outside", "inside"), None, Preparation(features))

    def outputs(self, loss: fm.Loss | None) -> int:
        """How many outputs a network needs that learns with a loss: `BinaryCrossEntropy` tells two classes by one."""
        return 1 if self.scale is not None or isinstance(loss, fm.BinaryCrossEntropy) else len(self.classes)

    def to_json(self) -> Any:
        from functional_mlp.checkpoint.values import Registry, converter  # loads cattrs

        scale = converter(Registry()).unstructure(self.scale)
        own = {"target": self.target, "classes": list(self.classes), "scale": scale}
        return {"data": {**own, "preparation": self.preparation.to_json()}}

    @classmethod
    def from_saved(cls, path: Path, saved: fm.Saved) -> DataDescription:
        """That of a model file. Raises `CheckpointError` for a file that is none of `train --out`."""
        from functional_mlp.checkpoint.values import Registry, converter
        from functional_mlp.tables import Preparation, Scale

        try:
            data = dict(saved.extra["data"])
            if "preparation" not in data:
                return _of_version_1(data)
            strict, scale = converter(Registry()), data.pop("scale")
            description = cls(
                strict.structure(data.pop("target"), str),
                strict.structure(data.pop("classes"), tuple[str, ...]),
                None if scale is None else strict.structure(scale, Scale),
                Preparation.from_json(data.pop("preparation")),
            )
            if data:
                raise ValueError("it says more than that")
        except Exception as error:  # whatever is not there, or is of another kind than it should be
            reason = "does not say what its features and classes are: make it with functional-mlp train --out"
            raise fm.CheckpointError(path, reason) from error
        return description

    def check_fits(self, path: Path, saved: fm.Saved) -> None:
        """Raise `CheckpointError` unless the network of a file takes and gives what this says."""
        sizes = (saved.network.in_features, saved.network.out_features)
        if sizes != (len(self.preparation.features), self.outputs(saved.loss)):
            raise fm.CheckpointError(path, f"names other features and classes than its network has, {sizes}")


def _of_version_1(data: dict[str, Any]) -> DataDescription:
    """The description of a file written before tables had words, dates, missing values and quantities."""
    from functional_mlp.tables import Preparation

    scale = data["standardization"]
    if scale is None:
        return DataDescription.of_disk()
    columns = [
        _number(name, mean, std, mean - 4 * std, mean + 4 * std)  # the range was not kept
        for name, mean, std in zip(data["features"], scale["mean"], scale["std"], strict=True)
    ]
    return DataDescription("class", tuple(map(str, data["classes"])), None, Preparation(tuple(columns)))


def _number(name: str, mean: float, std: float, low: float, high: float) -> NumberColumn:
    from functional_mlp.tables import NumberColumn, Scale

    return NumberColumn(str(name), Scale(float(mean), float(std), (low + high) / 2, low, high))
