"""Mistakes in the init of layers."""

import random as stdlib_random

import torch

import functional_mlp as fm
from functional_mlp.testing import check_layer
from tests.testing.planted.layers import Affine
from tests.testing.planted.table import planted


@planted(check_layer, 3, 2, says="init ignores its key: params.'weight'. has the same numbers for two keys")
class IgnoresTheKey(Affine):
    def init(self, key, *, dtype=torch.float32, device=None):
        return super().init(fm.random.key(0), dtype=dtype, device=device)


@planted(check_layer, 3, 3, says="init gives params.* and params.* the same numbers: split the key")
class OneKeyForTwoLeaves(fm.Sequential):
    def __init__(self, in_features, out_features):
        super().__init__(fm.Linear(in_features, out_features), fm.Linear(out_features, out_features))

    def init(self, key, *, dtype=torch.float32, device=None):
        return tuple(layer.init(key, dtype=dtype, device=device) for layer in self.layers)

    def __repr__(self):
        return "OneKeyForTwoLeaves(3, 3)"


@planted(check_layer, 3, 2, says="init changed torch's global generator")
class GlobalGenerator(Affine):
    def init(self, key, *, dtype=torch.float32, device=None):
        return {"weight": torch.randn(2, 3, dtype=dtype, device=device), "bias": torch.zeros(2, dtype=dtype)}


@planted(check_layer, 3, 2, says="init changed Python's global generator")
class PythonsGlobalGenerator(Affine):
    def init(self, key, *, dtype=torch.float32, device=None):
        params = super().init(key, dtype=dtype, device=device)
        return {**params, "bias": torch.full((2,), stdlib_random.random(), dtype=dtype, device=device)}


@planted(check_layer, 3, 2, says="init reads global state")
class GlobalGeneratorPutBack(Affine):
    def init(self, key, *, dtype=torch.float32, device=None):
        params = super().init(key, dtype=dtype, device=device)
        with torch.random.fork_rng(devices=[]):
            return {**params, "bias": torch.randn(2, dtype=dtype)}


@planted(check_layer, 3, 2, says="init changed torch's global generator")
class SeedsTheGlobalGenerator(Affine):
    def init(self, key, *, dtype=torch.float32, device=None):
        torch.manual_seed(int.from_bytes(key.digest[:4], "little"))
        return {"weight": torch.randn(2, 3, dtype=dtype, device=device), "bias": torch.zeros(2, dtype=dtype)}


@planted(check_layer, 3, 2, says="init with device='meta' gives")
class OtherShapesOnMeta(Affine):
    def init(self, key, *, dtype=torch.float32, device=None):
        params = super().init(key, dtype=dtype, device=device)
        return params if device != "meta" else {**params, "bias": params["bias"].unsqueeze(0)}


@planted(check_layer, 3, 2, says="init returned a result.* connected to an autograd graph")
class GraphAttachedByInit(Affine):
    def init(self, key, *, dtype=torch.float32, device=None):
        return fm.pytree.map(torch.nn.Parameter, super().init(key, dtype=dtype, device=device))
