"""Rules of members whose numbers differ."""

from typing import Any

import attrs

import functional_mlp as fm
from functional_mlp import pytree
from functional_mlp.engine.llvm import target as machine


@attrs.frozen(repr=False)
class Scaled(fm.SGD):
    """A rule that calls its base's, and reads a property and other methods."""

    factor: float = 0.5

    @property
    def doubled(self) -> Any:
        return 2 * self.factor

    @classmethod
    def half(cls) -> float:
        return 0.5

    @staticmethod
    def third() -> float:
        return 1 / 3

    def scale(self, xp: Any, grad: Any) -> Any:
        return grad * self.doubled * self.half() * self.third()

    def rule(self, xp, step, learning_rate, param, grad):  # type: ignore[no-untyped-def]  # as users write rules
        return super().rule(xp, step, learning_rate, param, self.scale(xp, grad))


def test_a_rule_may_use_all_of_its_class() -> None:
    members = machine.host().lanes(4)  # a full group
    data = fm.datasets.disk(fm.random.key(0), 20)
    optimizers = [Scaled(0.1, factor=0.3 + index / 10) for index in range(members)]
    network, keys = fm.Linear(2, 2), fm.random.key(1).split(members)
    results = [
        fm.fit_ensemble(network, fm.MeanSquaredError(), optimizers, data, keys=keys, epochs=2, engine=engine)
        for engine in ("fused", "reference")
    ]
    for fused, reference in zip(*(pytree.leaves(result.params) for result in results), strict=True):
        assert fused.allclose(reference, rtol=1e-5, atol=1e-6)
