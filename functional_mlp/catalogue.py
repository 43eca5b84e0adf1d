"""The values that the library has, by name: each class of layers, losses, optimizers, initializers, schedules,
early stopping and penalties.

A class is in here by being defined in the module of its kind.

>>> LOSSES["CrossEntropy"], INITIALIZERS["initializers.zeros"]
(<class 'functional_mlp.losses.classification.CrossEntropy'>, <class 'functional_mlp.initializers.zeros'>)
"""

from types import ModuleType

from functional_mlp import initializers, penalties, schedules, stopping
from functional_mlp.initializers import Initializer, NormalInitializer, UniformInitializer
from functional_mlp.layers import adapting, combinators, elementwise, linear
from functional_mlp.layers.base import Layer
from functional_mlp.layers.elementwise import Elementwise
from functional_mlp.losses import Loss, classification, regression
from functional_mlp.optimizers import Optimizer, rules
from functional_mlp.penalties import Penalty
from functional_mlp.schedules import Schedule
from functional_mlp.value import Value

# These are subclassed, and make no values themselves.
BASES = (Layer, Elementwise, Loss, Optimizer, Initializer, UniformInitializer, NormalInitializer, Penalty, Schedule)


def _defined_in(*modules: ModuleType, prefix: str = "") -> dict[str, type[Value]]:
    """The classes of values that modules define, by the names that stand in their reprs."""
    return {
        f"{prefix}{name}": cls
        for module in modules
        for name, cls in vars(module).items()
        if isinstance(cls, type) and issubclass(cls, Value) and cls.__module__ == module.__name__ and cls not in BASES
    }


LAYERS = _defined_in(linear, elementwise, combinators, adapting)
ACTIVATIONS = {name: cls for name, cls in LAYERS.items() if issubclass(cls, Elementwise)}
LOSSES = _defined_in(regression, classification)
OPTIMIZERS = _defined_in(rules)
INITIALIZERS = _defined_in(initializers, prefix="initializers.")
SCHEDULES = _defined_in(schedules, prefix="schedules.")
STOPPING = _defined_in(stopping)
PENALTIES = _defined_in(penalties, prefix="penalties.")
VALUES = LAYERS | LOSSES | OPTIMIZERS | INITIALIZERS | SCHEDULES | STOPPING | PENALTIES
