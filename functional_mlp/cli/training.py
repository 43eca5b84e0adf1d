"""The options of training, and the settings and values that they stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

from attrs import frozen
from cyclopts import Group, Parameter

import functional_mlp as fm
from functional_mlp.cli import ranks
from functional_mlp.cli.parsing import parse_integer
from functional_mlp.cli.recipes import LossName, OptimizerName, Recipe
from functional_mlp.spread import count

if TYPE_CHECKING:
    import torch

DtypeName = Literal["float16", "bfloat16", "float32", "float64"]
EngineName = Literal["auto", "reference", "fused"]

# The class in `functional_mlp`, which is not loaded for a help, and the usual learning rate.
OPTIMIZERS: dict[OptimizerName, tuple[str, float]] = {
    "sgd": ("SGD", 0.01),
    "momentum": ("Momentum", 0.01),
    "nesterov": ("Nesterov", 0.01),
    "adam": ("Adam", 0.003),
    "adamw": ("AdamW", 0.003),
    "rmsprop": ("RMSProp", 0.003),
    "lion": ("Lion", 0.001),
}


TRAINING_GROUP = Group("Training", sort_key=3)

# Options that `trace` takes as well.
LossOption = Annotated[
    LossName | None,
    Parameter(
        group=TRAINING_GROUP,
        help="What training minimizes: the mean squared error, the cross-entropy of the softmax of the outputs, bce, "
        "the binary cross-entropy of the sigmoid of a single output for two classes, or huber, Huber's loss, which "
        "outliers pull less. Default: cross-entropy for the classes of a table, else mse.",
    ),
]
SeedOption = Annotated[
    int,
    Parameter(
        converter=parse_integer,
        group=TRAINING_GROUP,
        help="Every random draw follows from it: data, split, initial weights, order of the samples.",
    ),
]

# What is said of an option that `train` takes once, and of which `sweep` takes several.
LEARNING_RATE: Parameter = Parameter(
    group=TRAINING_GROUP,
    help="Step size of the first epoch. Default: 0.01 for sgd, momentum and nesterov, 0.003 for adam, adamw and "
    "rmsprop, 0.001 for lion.",
)
BETA: Parameter = Parameter(
    group=TRAINING_GROUP,
    help="How much of the past the optimizer keeps, from 0 to below 1: the momentum of momentum and nesterov, and "
    "beta1 of adam, adamw and lion, and the decay of rmsprop. Default: 0.9, and 0.99 for rmsprop. sgd has none.",
)
DECAY: Parameter = Parameter(
    group=TRAINING_GROUP,
    help="Factor on the step size after each epoch, up to 1. Default: 0.9 on the paper's disk; on a table the step "
    "size falls to 0 along half a cosine, over all epochs.",
)
BATCH_SIZE: Parameter = Parameter(
    group=TRAINING_GROUP,
    help="Samples an update; their mean gradient is applied. Default: 1 on the paper's disk, 32 on a table.",
)
L2: Parameter = Parameter(
    group=TRAINING_GROUP,
    help="Add half of this times the sum of the squared weights to what training minimizes. What is shown is without. "
    "Default: 6 for a table, divided by the number of training samples; none on the paper's disk.",
)


@Parameter(name="*", group=TRAINING_GROUP)
@frozen(kw_only=True)
class TrainingOptions:
    """How to train one network or many."""

    epochs: Annotated[int | None, Parameter(converter=parse_integer)] = None
    """Passes over the training samples. Default: 100 on the paper's disk; on a table the number in which
    96,000 samples are shown, but from 50 to 1000."""

    loss: LossOption = None

    optimizer: OptimizerName | None = None
    """The update rule. Default: sgd on the paper's disk, or momentum where sweep varies --beta; adam on a table."""

    early_stopping: Annotated[int | None, Parameter(converter=parse_integer, metavar="EPOCHS")] = None
    """Stop after this many epochs in a row in which the validation loss was not smaller than before; what is shown, and
    what `predict` uses, is then the network of the best epoch."""

    l1: Annotated[float | None, Parameter(metavar="STRENGTH")] = None
    """Add this times the sum of the sizes of the weights to what training minimizes, in the place of --l2: many
    weights end near 0. What is shown is without."""

    delta: Annotated[float | None, Parameter(metavar="SIZE")] = None
    """The error from which on huber counts its size in place of its square; for a quantity in standard deviations of
    it. Default: 1."""

    label_smoothing: Annotated[float | None, Parameter(metavar="SHARE")] = None
    """What of each target is spread over all classes, from 0 to below 1; of cross-entropy. Default: 0."""

    weight_decay: Annotated[float | None, Parameter(metavar="RATE")] = None
    """How fast adamw and lion let all parameters decay, beside their steps. Default: 0.01 for adamw, 0 for lion."""

    seed: SeedOption = 0

    engine: EngineName = "auto"
    """What computes an epoch: torch operations (reference), native code (fused), or the faster that fits (auto)."""

    device: Annotated[str, Parameter(metavar="NAME")] = "cpu"
    """Where to compute, by torch's names: cpu, cuda, cuda:1."""

    dtype: DtypeName = "float32"
    """The kind of number to compute with."""

    def filled(
        self,
        recipe: Recipe,
        *,
        learning_rate: float | None = None,
        beta: float | None = None,
        decay: float | None = None,
        batch_size: int | None = None,
        l2: float | None = None,
        samples: int,
    ) -> TrainingSettings:
        """The settings, with the recipe's where an option was left open.

        Parameters
        ----------
        recipe
            What is usual for the data.
        learning_rate
            That of the optimizer, where it is given.
        beta
            How much of the past the optimizer keeps, where it is given.
        decay
            The factor on the learning rate after each epoch, where it is given.
        batch_size
            Samples an update, where they are given.
        l2
            The strength of the L2 penalty, where it is given.
        samples
            How many the training has.
        """
        for option, number in (("--epochs", self.epochs), ("--batch-size", batch_size)):
            if number is not None and number < 1:
                raise ValueError(f"{option} must be a positive integer, got {number}")
        optimizer = self.optimizer or recipe.optimizer
        if self.l1 is not None and l2 is not None:
            raise ValueError("--l1 and --l2 are two penalties, and a training has one: give one of them")
        prior = recipe.prior / samples if recipe.prior and self.l1 is None else None
        return TrainingSettings(
            epochs=recipe.passes(samples) if self.epochs is None else self.epochs,
            loss=self.loss or recipe.loss,
            optimizer=optimizer,
            learning_rate=OPTIMIZERS[optimizer][1] if learning_rate is None else learning_rate,
            beta=beta,
            decay=recipe.decay if decay is None else decay,
            batch_size=recipe.batch_size if batch_size is None else batch_size,
            l2=prior if l2 is None else l2,
            l2_given=l2 is not None,
            l1=self.l1,
            delta=self.delta,
            label_smoothing=self.label_smoothing,
            weight_decay=self.weight_decay,
        )

    def make_early_stopping(self, *, has_validation: bool) -> fm.EarlyStopping | None:
        if self.early_stopping is None:
            return None
        if not has_validation:
            raise ValueError("--early-stopping looks at the validation loss: give a --validation-share above 0")
        return fm.EarlyStopping(self.early_stopping)

    def torch_dtype(self) -> torch.dtype:
        """The kind of number, as torch names it."""
        import torch  # not loaded for a help

        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype

    def torch_device(self) -> torch.device:
        """The device, once a tensor could be put there."""
        import torch  # not loaded for a help

        name = ranks.own_device(self.device)
        try:
            device = torch.device(name)
            torch.empty(1, device=device).cpu()
        except (RuntimeError, AssertionError, NotImplementedError):  # torch raises each of them, by device
            raise ValueError(f"--device: torch cannot compute on {name!r} here: try cpu") from None
        return device


@Parameter(name="*")
@frozen(kw_only=True)
class RuleOptions:
    """The numbers of the update rule, which `sweep` can vary."""

    learning_rate: Annotated[float | None, LEARNING_RATE, Parameter(metavar="RATE")] = None
    beta: Annotated[float | None, BETA] = None
    decay: Annotated[float | None, DECAY, Parameter(metavar="FACTOR")] = None
    batch_size: Annotated[int | None, BATCH_SIZE, Parameter(converter=parse_integer, metavar="SAMPLES")] = None
    l2: Annotated[float | None, L2, Parameter(metavar="STRENGTH")] = None


@frozen(kw_only=True)
class TrainingSettings:
    """The settings of a run, none of them open but what has a default in the loss or the optimizer."""

    epochs: int
    loss: LossName
    optimizer: OptimizerName
    learning_rate: float
    beta: float | None
    decay: float | None
    batch_size: int
    l2: float | None = None
    l2_given: bool = True
    l1: float | None = None
    delta: float | None = None
    label_smoothing: float | None = None
    weight_decay: float | None = None

    def make_loss(self, classes: int) -> fm.Loss:
        """The loss for a target with this number of classes, 0 for a quantity."""
        if classes == 0 and self.loss in ("cross-entropy", "bce"):
            raise ValueError(f"--loss: {self.loss} is of classes, and the target is a quantity: choose mse or huber")
        if classes > 2 and self.loss == "bce":
            raise ValueError(f"--loss: bce is of two classes, and the target has {classes}: choose cross-entropy")
        if self.label_smoothing is not None and self.loss != "cross-entropy":
            raise ValueError(
                f"--label-smoothing is of cross-entropy, got the loss {self.loss}: add --loss cross-entropy"
            )
        if self.delta is not None and self.loss != "huber":
            raise ValueError(f"--delta is of huber, got the loss {self.loss}: add --loss huber")
        kinds: dict[LossName, Callable[[], fm.Loss]] = {
            "mse": fm.MeanSquaredError,
            "cross-entropy": lambda: fm.CrossEntropy(label_smoothing=self.label_smoothing or 0.0),
            "bce": fm.BinaryCrossEntropy,
            "huber": lambda: fm.Huber() if self.delta is None else fm.Huber(self.delta),
        }
        return kinds[self.loss]()

    def make_optimizer(self) -> fm.Optimizer:
        if self.optimizer == "sgd" and self.beta is not None:
            raise ValueError("--beta: sgd keeps nothing of the past: choose --optimizer momentum, say")
        if self.optimizer not in ("adamw", "lion") and self.weight_decay is not None:
            raise ValueError(f"--weight-decay: {self.optimizer} has none: choose adamw or lion, or give --l2")
        name, _ = OPTIMIZERS[self.optimizer]
        make: Callable[..., fm.Optimizer] = getattr(fm, name)
        past = () if self.beta is None else (self.beta,)
        decay = {} if self.weight_decay is None else {"weight_decay": self.weight_decay}
        return make(self.learning_rate, *past, **decay)

    def make_schedule(self) -> fm.schedules.Schedule:
        if self.decay is None:
            return fm.schedules.cosine_decay(self.epochs)
        return fm.schedules.exponential_decay(self.decay)

    def make_penalty(self) -> fm.penalties.Penalty | None:
        if self.l1 is not None:
            return fm.penalties.l1(self.l1)
        return None if self.l2 is None else fm.penalties.l2(self.l2)

    def describe(self, training: TrainingOptions) -> str:
        """The settings in a line."""
        given = {
            "beta": self.beta,
            "weight decay": self.weight_decay,
            "label smoothing": self.label_smoothing,
            "delta": self.delta,
            "l1": self.l1,
            "l2": self.l2 if self.l2_given else None,
        }
        numbers = "".join(f", {name} {number:g}" for name, number in given.items() if number is not None)
        decay = "decay along a cosine" if self.decay is None else f"decay {self.decay:g}"
        prior = "" if self.l2_given or self.l2 is None else f", l2 {self.l2:.2g}"
        stopping = "" if training.early_stopping is None else f", early stopping {training.early_stopping}"
        return (
            f"{self.loss}, {self.optimizer} {self.learning_rate:g}{numbers}, {decay}, "
            f"batch size {self.batch_size}, {count(self.epochs, 'epoch')}{stopping}, seed {training.seed}{prior}"
        )
