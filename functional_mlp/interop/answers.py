"""What a model answers: classes with their probabilities, or a quantity in its units."""

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from typing import Any

import numpy as np
import torch

from functional_mlp import checks
from functional_mlp.interop.graphs import Graph, GraphNamespace
from functional_mlp.losses import BinaryCrossEntropy, CrossEntropy, Loss
from functional_mlp.tables import Scale

# What a share is at least, so that shares have a sum to be divided by.
_LEAST = 1e-12

Names = list[str] | list[int]


def checked_classes(classes: Iterable[str] | Iterable[int], out_features: int | None) -> Names:
    """The names of the classes; raises unless their number fits that of the outputs."""
    given: Any = classes.tolist() if isinstance(classes, np.ndarray | torch.Tensor) else classes
    if isinstance(given, str | bytes | Set) or not isinstance(given, Iterable):
        raise TypeError(f"to_onnx: classes must be a sequence of names, got {checks.describe(classes)}")
    names = list(given)
    wanted = 2 if out_features == 1 else out_features
    if len(names) != wanted:
        raise ValueError(f"to_onnx: classes must be {wanted} for {out_features} outputs, got {len(names)}")
    checked: Names = (
        [_word(name) for name in names]
        if all(isinstance(name, str) for name in names)
        else [_whole(name) for name in names]
    )
    for name, times in Counter[str | int](checked).items():
        if times > 1:
            raise ValueError(f"to_onnx: classes must have different names, got {name!r} {times} times")
    return checked


def _word(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"to_onnx: each of classes must be text, got {name!r} with half of a character: leave it out"
        ) from None
    return str(name)


def _whole(name: object) -> int:
    number = checks.any_integer("to_onnx: each of classes", name, "a str, or all of them an int")
    if not -(2**63) <= number < 2**63:
        raise ValueError(
            f"to_onnx: each of classes must be an int of 64 bits, got {number}: pass words, such as '{number}'"
        )
    return number


class Answers:
    """The nodes that follow on the outputs of a network, or of several of one kind, in a dtype."""

    def __init__(self, graph: Graph, dtype: torch.dtype, loss: Loss | None) -> None:
        self._graph, self._dtype, self._loss = graph, dtype, loss
        self._xp = GraphNamespace(graph, dtype)

    def classes(self, outputs: Sequence[str], one_output: bool, names: Names, into: tuple[str, str]) -> int:
        """Append the label and the probabilities, which get two names; returns ONNX's number of the type of labels."""
        members = [self._probabilities(each, one_output) for each in outputs]
        scores, probabilities = members[0]
        if len(members) > 1:
            scores = probabilities = self._graph.mean([own for _, own in members], self._dtype)
        constants, kind = self._graph.names(names)
        index = self._graph.node("ArgMax", scores, axis=1, keepdims=0)
        self._graph.node("Gather", constants, index, output=into[0])
        self._graph.node("Identity", probabilities, output=into[1])
        return kind

    def quantity(self, outputs: Sequence[str], scale: Scale, into: str) -> None:
        """Append the quantity (n,) that a single output is in units of the target, as float64."""
        axis = self._graph.constant(torch.tensor([1], device="cpu"), "axis")
        wide, means = GraphNamespace(self._graph, torch.float64), []
        for each in outputs:
            column = self._graph.node("Squeeze", self._graph.cast(each, torch.float64), axis)
            means.append((wide.array(column) * scale.std + scale.mean).name)
        self._graph.node("Identity", self._graph.mean(means, torch.float64), output=into)

    def _probabilities(self, outputs: str, one_output: bool) -> tuple[str, str]:
        """What the classes are told by, and their probabilities, both (n, classes): see `to_onnx`.

        Probabilities may be equal where what they are made of is not.
        """
        scores = outputs
        if self._loss is None or isinstance(self._loss, CrossEntropy | BinaryCrossEntropy):
            if one_output:
                scores = self._graph.node("Concat", self._graph.node("Neg", outputs), outputs, axis=1)
                return scores, self._graph.node("Sigmoid", scores)
            if not isinstance(self._loss, BinaryCrossEntropy):
                return scores, self._graph.node("Softmax", scores, axis=1)
            shares = self._graph.node("Sigmoid", scores)
        else:
            if one_output:
                scores = self._graph.node("Concat", (1 - self._xp.array(outputs)).name, outputs, axis=1)
            shares = scores
        clipped = self._xp.minimum(self._xp.maximum(self._xp.array(shares), _LEAST), 1)
        axis = self._graph.constant(torch.tensor([1], device="cpu"), "axis")
        total = self._xp.array(self._graph.node("ReduceSum", clipped.name, axis))
        return scores, (clipped / total).name
