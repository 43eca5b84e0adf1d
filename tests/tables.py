"""Every layer, loss and optimizer, so that one property test covers them all: a new one is a row here."""

import functional_mlp as fm

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

LAYERS = [
    fm.Linear(3, 2),
    fm.Linear(1, 4, bias=False),
    *ACTIVATIONS,
    fm.Sequential(fm.Linear(2, 5), fm.ReLU(), fm.Linear(5, 5), fm.Tanh(), fm.Linear(5, 2)),
    fm.Residual(fm.Linear(3, 3)),
    fm.Residual(fm.Sequential(fm.Linear(4, 2), fm.GELU(), fm.Linear(2, 4))),
    fm.Sequential(fm.Residual(fm.Tanh()), fm.Sequential(fm.Linear(3, 3), fm.Residual(fm.Linear(3, 3))), fm.ELU()),
]

LOSSES = [fm.MeanSquaredError(), fm.CrossEntropy()]

OPTIMIZERS = [
    fm.SGD(0.05),
    fm.BatchGD(0.05, batch_size=3),
    fm.Momentum(0.05),
    fm.Momentum(0.05, beta=0.5),
    fm.Nesterov(0.05),
    fm.Adam(0.05),
    fm.AdamW(0.05, weight_decay=0.1),
]
