"""C written by hand, compiled where there is a compiler, and FANN where its library is."""

import ctypes
import ctypes.util
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from peers.task import BETA, LEARNING_RATE, Task, Trainer, UnavailableError

SOURCE = Path(__file__).with_name("paper.c")
FLAGS = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]


def c(task: Task) -> Trainer:
    """The paper's network in C (see paper.c), by `cc -O3 -march=native -ffast-math`."""
    if not task.of_paper:
        raise UnavailableError("written for the paper's network")
    library = _compiled(task)
    library.train.argtypes = [ctypes.c_void_p] * 6 + [ctypes.c_int64] * 2 + [ctypes.c_float, ctypes.c_void_p]
    library.train.restype = None
    initial = np.concatenate([np.concatenate([weight.T.ravel(), bias]) for weight, bias in task.matrices])
    inputs, targets = (np.ascontiguousarray(array, dtype=np.float32) for array in task.arrays)

    def train(epochs: int, *, fixed_orders: bool = False) -> Sequence[float]:
        params, velocity = initial.copy(), np.zeros_like(initial)
        losses, order = np.zeros(epochs), np.zeros(task.samples, dtype=np.int64)
        orders = np.stack([task.order(epoch).numpy() for epoch in range(epochs)]) if fixed_orders else None
        library.train(
            *(array.ctypes.data for array in (params, velocity, inputs, targets, order)),
            None if orders is None else orders.ctypes.data,
            task.samples,
            epochs,
            LEARNING_RATE,
            losses.ctypes.data,
        )
        return [float(loss) for loss in losses]

    return train


def _compiled(task: Task) -> Any:
    compiler = shutil.which("cc")
    if compiler is None:
        raise UnavailableError("no C compiler: install one that is called cc")
    macros = [f"-DBATCH={task.batch_size}", f"-DBETA={BETA if task.momentum else 0.0}"]
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "paper.so"
        command = [compiler, *FLAGS, *macros, str(SOURCE), "-o", str(library), "-lm"]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise UnavailableError(f"{compiler} cannot compile paper.c: {made.stderr.strip().splitlines()[0]}")
        return ctypes.CDLL(str(library))


# Of fann_data.h.
LINEAR, SIGMOID_SYMMETRIC = 0, 5
TRAIN_INCREMENTAL, ERROR_LINEAR = 0, 0


def fann(task: Task) -> Trainer:
    """FANN's incremental training, a sample at a time; its units are tanh, for it has no ReLU."""
    if not task.of_paper or task.batch_size > 1:
        raise UnavailableError("trains on single samples, or on all of them")
    name = ctypes.util.find_library("floatfann")
    if name is None:
        raise UnavailableError("no library floatfann: install libfann2, or what your system calls it")
    library, real = ctypes.CDLL(name), ctypes.c_float
    library.fann_create_standard_array.restype = ctypes.c_void_p
    library.fann_create_train_from_callback.restype = ctypes.c_void_p
    library.fann_shuffle_train_data.argtypes = [ctypes.c_void_p]
    library.fann_train_epoch.argtypes, library.fann_train_epoch.restype = [ctypes.c_void_p] * 2, real
    for function in ("fann_set_learning_rate", "fann_set_learning_momentum"):
        getattr(library, function).argtypes = [ctypes.c_void_p, real]
    for function in ("fann_set_activation_steepness_hidden", "fann_set_activation_steepness_output"):
        getattr(library, function).argtypes = [ctypes.c_void_p, real]
    for function in ("hidden", "output"):
        getattr(library, f"fann_set_activation_function_{function}").argtypes = [ctypes.c_void_p, ctypes.c_int]
    for function in ("training_algorithm", "train_error_function"):
        getattr(library, f"fann_set_{function}").argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.fann_randomize_weights.argtypes = [ctypes.c_void_p, real, real]
    sizes = (ctypes.c_uint * len(task.sizes))(*task.sizes)
    network = library.fann_create_standard_array(len(sizes), sizes)
    library.fann_set_activation_function_hidden(network, SIGMOID_SYMMETRIC)
    library.fann_set_activation_function_output(network, LINEAR)
    library.fann_set_activation_steepness_hidden(network, 1.0)
    library.fann_set_activation_steepness_output(network, 1.0)
    library.fann_set_training_algorithm(network, TRAIN_INCREMENTAL)
    library.fann_set_train_error_function(network, ERROR_LINEAR)
    library.fann_set_learning_rate(network, LEARNING_RATE * (1 - BETA) if task.momentum else LEARNING_RATE)
    library.fann_set_learning_momentum(network, BETA if task.momentum else 0.0)
    data = _fann_data(library, task)

    def train(epochs: int, *, fixed_orders: bool = False) -> Sequence[float]:
        library.fann_randomize_weights(network, -1.0, 1.0)
        losses = []
        for _ in range(epochs):
            library.fann_shuffle_train_data(data)
            losses.append(library.fann_train_epoch(network, data))
        return losses

    return train


def _fann_data(library: Any, task: Task) -> Any:
    """The task's data as FANN keeps them."""
    inputs, targets = task.arrays
    numbers = ctypes.POINTER(ctypes.c_float)

    @ctypes.CFUNCTYPE(None, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, numbers, numbers)
    def fill(row: int, _: int, __: int, x: Any, target: Any) -> None:
        for place, values in ((x, inputs[row]), (target, targets[row])):
            for index, value in enumerate(values.tolist()):
                place[index] = value

    return library.fann_create_train_from_callback(task.samples, inputs.shape[1], targets.shape[1], fill)
