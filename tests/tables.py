"""Every layer, loss, optimizer, initializer, schedule and penalty, so that one property test covers them all.

A new one is a row here.
"""

import functional_mlp as fm
from functional_mlp import initializers, penalties, schedules

ACTIVATIONS = [
    fm.ReLU(),
    fm.Tanh(),
    fm.Sigmoid(),
    fm.LeakyReLU(),
    fm.LeakyReLU(0.2),
    fm.ELU(),
    fm.ELU(1.5),
    fm.Softplus(),
    fm.SiLU(),
    fm.GELU(),
    fm.GELU("tanh"),
    fm.Identity(),
]

# tanh' and σ' are found from tanh and σ, which have few digits of what they lack of 1.
ACTIVATIONS_OF_EXACT_DERIVATIVES = [layer for layer in ACTIVATIONS if layer not in (fm.Tanh(), fm.Sigmoid())]

LAYERS = [
    fm.Linear(3, 2),
    fm.Linear(1, 4, bias=False),
    *ACTIVATIONS,
    fm.Sequential(fm.Linear(2, 5), fm.ReLU(), fm.Linear(5, 5), fm.Tanh(), fm.Linear(5, 2)),
    fm.Residual(fm.Linear(3, 3)),
    fm.Residual(fm.Sequential(fm.Linear(4, 2), fm.GELU(), fm.Linear(2, 4))),
    fm.Sequential(fm.Residual(fm.Tanh()), fm.Sequential(fm.Linear(3, 3), fm.Residual(fm.Linear(3, 3))), fm.ELU()),
]

LOSSES = [
    fm.MeanSquaredError(),
    fm.Huber(),
    fm.Huber(delta=0.3),
    fm.PoissonDeviance(),
    fm.BinaryCrossEntropy(),
    fm.CrossEntropy(),
    fm.CrossEntropy(label_smoothing=0.2),
]

OPTIMIZERS = [
    fm.SGD(0.05),
    fm.BatchGD(0.05, batch_size=3),
    fm.Momentum(0.05),
    fm.Momentum(0.05, beta=0.5),
    fm.Nesterov(0.05),
    fm.Adam(0.05),
    fm.AdamW(0.05, weight_decay=0.1),
    fm.RMSProp(0.05),
    fm.RMSProp(0.05, decay=0.9, eps=1e-3),
    fm.Lion(0.01),
    fm.Lion(0.01, beta1=0.5, weight_decay=0.1),
]

INITIALIZERS = [
    initializers.uniform(-1, 1),
    initializers.normal(0.5, 2.0),
    initializers.xavier_uniform(),
    initializers.xavier_uniform(gain=0.5),
    initializers.xavier_normal(),
    initializers.kaiming_uniform(),
    initializers.kaiming_normal(),
    initializers.torch_default(),
    initializers.constant(0.25),
    initializers.zeros(),
]

SCHEDULES = [
    schedules.constant(),
    schedules.exponential_decay(0.9),
    schedules.step_decay(0.5, 2),
    schedules.inverse_decay(0.5),
    schedules.inverse_decay(20, power=0.5),
    schedules.cosine_decay(5),
    schedules.warmup(2, schedules.exponential_decay(0.9)),
]

# Those that read the history, and are called with it.
HISTORY_SCHEDULES = [schedules.on_plateau(0.5, 1), schedules.warmup(2, schedules.on_plateau(monitor="validation_loss"))]

STOPPING = [
    fm.EarlyStopping(),
    fm.EarlyStopping(3, monitor="train_accuracy", min_delta=0.01, cumulative=False, plateaus=2),
]

PENALTIES = [penalties.l2(0.1), penalties.l1(0.05)]

VALUES = [*LAYERS, *LOSSES, *OPTIMIZERS, *INITIALIZERS, *SCHEDULES, *HISTORY_SCHEDULES, *STOPPING, *PENALTIES]
