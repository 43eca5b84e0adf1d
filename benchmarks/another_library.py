"""The testing kit put to the hand-written gradients of another library: thinc's layers.

    pip install thinc==9.1.1
    python benchmarks/another_library.py

thinc writes its backward passes by hand, as this library does. Each of its layers is adapted to the three functions
`init`, `apply` and `vjp`, and `check_vjp` is run in float64 at drawn points: is the backward pass the transposed
Jacobian of the forward pass? Beside the verdict stands the difference from central differences, relative to the largest
number of the gradient. The same is asked far out, with inputs that are FAR times as large. An empty batch is tried in a
process of its own, which it may end.
"""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np
import thinc.api as thinc
import torch
from torch import Tensor

import functional_mlp as fm
from functional_mlp.testing import check_vjp

POINTS = 20
FAR = 10
STEP = 1e-5
NAMES = (
    *("Linear", "Relu", "Mish", "HardSwish", "HardSwishMobilenet", "HardSigmoid", "HardTanh", "ReluK", "ClippedLinear"),
    *("Maxout", "Swish", "Gelu", "Sigmoid", "Dish", "Softmax", "LayerNorm"),
)


@attrs.frozen
class Adapted:
    """A layer of thinc as three functions. Its parameters are drawn, for most of its own start at 0."""

    name: str
    in_features: int
    out_features: int

    def init(self, key: Any, *, dtype: torch.dtype = torch.float64, device: Any = None) -> dict[str, Tensor]:
        model = self._model()
        shapes = {name: model.get_param(name).shape for name in model.param_names}
        keys = key.split(max(len(shapes), 1))
        return {
            name: fm.random.normal(part, shape, dtype=dtype)
            for part, (name, shape) in zip(keys, shapes.items(), strict=False)
        }

    def apply(self, params: dict[str, Tensor], x: Tensor) -> Tensor:
        output, _ = self._pass(params, x)
        return output

    def vjp(self, params: dict[str, Tensor], x: Tensor, grad_out: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        output, (model, back) = self._pass(params, x)
        grad_x = back(grad_out.reshape(-1, output.shape[-1]).numpy().copy())
        grads = {name: torch.from_numpy(np.array(model.get_grad(name))).to(x.dtype) for name in params}
        return grads, torch.from_numpy(np.array(grad_x)).to(x.dtype).reshape(x.shape)

    def _pass(self, params: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Any]:
        model = self._model()
        for name, value in params.items():
            model.set_param(name, value.numpy().copy())
        output, back = model(x.reshape(-1, self.in_features).numpy().copy(), is_train=True)
        return torch.from_numpy(np.array(output)).to(x.dtype).reshape(*x.shape[:-1], output.shape[-1]), (model, back)

    def _model(self) -> Any:
        sizes = {"nI": self.in_features} | ({} if self.name == "LayerNorm" else {"nO": self.out_features})
        model = getattr(thinc, self.name)(**sizes)
        model.initialize()
        return model


def points(layer: Adapted, size: float) -> Iterator[tuple[Any, Tensor, Tensor]]:
    """Parameters, inputs of a size and gradients of the output, of a batch of 4."""
    for index in range(POINTS):
        params_key, x_key, grad_key = fm.random.key(index).split(3)
        params, x = layer.init(params_key), size * fm.random.normal(x_key, (4, layer.in_features), dtype=torch.float64)
        yield params, x, fm.random.normal(grad_key, tuple(layer.apply(params, x).shape), dtype=torch.float64)


def difference(layer: Adapted, params: Any, x: Tensor, grad_out: Tensor) -> float | None:
    """How far the gradient of x is from central differences, relative to its largest number.

    None where the layer is flat and says so, both being 0: there is nothing that the difference could be relative to.
    """
    _, claimed = layer.vjp(params, x, grad_out)
    found = torch.zeros_like(x)
    for place in np.ndindex(*x.shape):
        by = torch.zeros_like(x)
        by[place] = STEP
        found[place] = ((layer.apply(params, x + by) - layer.apply(params, x - by)) * grad_out).sum() / (2 * STEP)
    off, largest = (claimed - found).abs().max(), found.abs().max()
    return None if off == 0 and largest == 0 else (off / largest).item()


def verdict(layer: Adapted, size: float = 1) -> tuple[str, float]:
    """What `check_vjp` says, and the median over the points of the difference: a point may be at a kink."""
    try:
        found = [difference(layer, *point) for point in points(layer, size)]
        differences = [each for each in found if each is not None]
        for point in points(layer, size):
            check_vjp(layer, *point)
    except AssertionError as failure:
        return str(failure).splitlines()[0], float(np.median(differences))
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0], float("nan")
    flat = found.count(None)
    return "right" + (f", flat at {flat} of {POINTS} points" if flat else ""), float(np.median(differences))


def empty_batch(name: str) -> str:
    """What becomes of a process in which a layer gets a batch without rows."""
    code = f"""
from another_library import *
layer = Adapted({name!r}, 3, 3)
params = layer.init(fm.random.key(0))
layer.vjp(params, torch.zeros(0, 3, dtype=torch.float64), torch.zeros(0, 3, dtype=torch.float64))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=sys.path[0], timeout=300, check=False
    )
    if done.returncode < 0:
        return f"the process ends with signal {-done.returncode}"
    return "works" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def main() -> None:
    for name in NAMES:
        print(name)
        asked = {"3 -> 3": ((3, 3), 1), "3 -> 2": ((3, 2), 1), "3 -> 3, far out": ((3, 3), FAR)}
        if name == "LayerNorm":  # which has one size
            del asked["3 -> 2"]
        for what, (sizes, size) in asked.items():
            said, off = verdict(Adapted(name, *sizes), size)
            print(f"  {what:16} {off:.1e}  {said}")
        print(f"  {'no rows':16} {empty_batch(name)}", flush=True)


if __name__ == "__main__":
    main()
