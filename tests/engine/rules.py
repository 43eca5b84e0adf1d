"""Rules of a user's own, with peculiarities that the library's have not."""

import attrs

import functional_mlp as fm
from functional_mlp.optimizers import MomentumState


@attrs.frozen(repr=False)
class Normalized(fm.Optimizer):
    """Steps of a constant size: 0 / 0 where a lane holds no parameter, and has no gradient."""

    State = MomentumState

    def rule(self, xp, step, learning_rate, param, grad, velocity):  # type: ignore[no-untyped-def]
        velocity = 0.5 * velocity + grad
        return param - learning_rate * velocity / xp.sqrt(velocity * velocity), velocity
