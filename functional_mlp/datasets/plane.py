"""Points of the plane in classes that no straight line tells apart, the paper's disk first."""

import math

import torch
from torch import Tensor

from functional_mlp import checks, random
from functional_mlp.datasets.dataset import Dataset
from functional_mlp.random import Key
from functional_mlp.targets import one_hot

Device = torch.device | str | None


def disk(
    key: Key,
    n: checks.Integer = 1000,
    *,
    center: tuple[float, float] = (0.5, 0.5),
    radius: float = 1 / math.sqrt(2 * math.pi),
    noise: float = 0.0,
    dtype: torch.dtype = torch.float32,
    device: Device = None,
) -> Dataset:
    """The paper's data (section II): points uniform in [0,1]², of class 1 inside a disk and 0 outside.

    Targets are one-hot. The default disk covers half of the unit square.

    Parameters
    ----------
    key
        What the points are drawn with.
    n
        The number of points.
    center
        The point in the middle of the disk.
    radius
        The radius of the disk.
    noise
        The standard deviation by which the points are moved in each direction, once their class is known.
    dtype
        That of the inputs and the targets.
    device
        Where both are: on the CPU where this is None.

    >>> data = disk(random.key(0), 5)
    >>> data.inputs.shape, data.targets.shape
    (torch.Size([5, 2]), torch.Size([5, 2]))
    """
    n = checks.integer("disk: n", n, minimum=1)
    radius = checks.number("disk: radius", radius, low=0.0, open_low=True)
    if not isinstance(center, tuple) or len(center) != 2:
        raise TypeError(f"disk: center must be two numbers, got {checks.describe(center)}")
    middle = [checks.number("disk: center", coordinate) for coordinate in center]
    points = random.uniform(key, (n, 2), dtype=dtype).double()
    x, y = (points - torch.tensor(middle, dtype=torch.float64, device="cpu")).T
    inside = torch.hypot(x, y) < radius
    return _dataset("disk", key, points, inside.long(), classes=2, noise=noise, dtype=dtype, device=device)


def checkers(
    key: Key,
    n: checks.Integer = 1000,
    *,
    squares: checks.Integer = 4,
    noise: float = 0.0,
    dtype: torch.dtype = torch.float32,
    device: Device = None,
) -> Dataset:
    """Points uniform in [0,1]², of the colour, 0 or 1, of their square on a board of `squares` × `squares`.

    The square at the origin is of class 0, and its neighbours are of class 1.

    Parameters
    ----------
    key
        What the points are drawn with.
    n
        The number of points.
    squares
        The number of squares along each side of the board.
    noise
        As in `disk`.
    dtype
        That of the inputs and the targets.
    device
        Where both are: on the CPU where this is None.

    >>> checkers(random.key(0), 5).labels
    tensor([1, 1, 0, 1, 0])
    """
    n = checks.integer("checkers: n", n, minimum=1)
    squares = checks.integer("checkers: squares", squares, minimum=2)
    points = random.uniform(key, (n, 2), dtype=dtype).double()
    # A number of few digits times the squares is exact in float64, and so is the square that it lies in.
    labels = (points * squares).floor().long().sum(1) % 2
    return _dataset("checkers", key, points, labels, classes=2, noise=noise, dtype=dtype, device=device)


def moons(
    key: Key, n: checks.Integer = 1000, *, noise: float = 0.0, dtype: torch.dtype = torch.float32, device: Device = None
) -> Dataset:
    """Points of two half circles that reach into each other, as many of each (one more of class 0 where n is odd).

    With t uniform in [0, π] and a = (cos t, sin t)/3, class 0 is at (1/3, 5/12) + a and class 1 at (2/3, 7/12) − a.
    `noise` is as in `disk`.

    >>> moons(random.key(0), 5, noise=0.05).labels
    tensor([0, 1, 0, 1, 0])
    """
    n, _, labels = _in_turn("moons", n, 2)
    t = math.pi * random.uniform(key, (n,), dtype=torch.float64)
    arc = torch.stack((t.cos(), t.sin()), 1) / 3
    upper, lower = torch.tensor([[4, 5], [8, 7]], dtype=torch.float64, device="cpu") / 12
    points = torch.where(labels[:, None] == 0, upper + arc, lower - arc)
    return _dataset("moons", key, points, labels, classes=2, noise=noise, dtype=dtype, device=device)


def spirals(
    key: Key,
    n: checks.Integer = 1000,
    *,
    classes: checks.Integer = 2,
    turns: float = 1.5,
    noise: float = 0.0,
    dtype: torch.dtype = torch.float32,
    device: Device = None,
) -> Dataset:
    """Points of spirals that wind around each other, one for each class, as many of each as can be.

    Class c is at (1/2, 1/2) + r/2 · (cos φ, sin φ) with φ = 2π (turns · r + c / classes) and r² uniform in [0, 1], so
    that the points are about as dense at the end as at the beginning.

    Parameters
    ----------
    key
        What the points are drawn with.
    n
        The number of points.
    classes
        The number of spirals.
    turns
        How often each winds around the middle.
    noise
        As in `disk`.
    dtype
        That of the inputs and the targets.
    device
        Where both are: on the CPU where this is None.

    Lang and Witbrock, "Learning to tell two spirals apart", 1988, with three turns.

    >>> spirals(random.key(0), 6, classes=3).labels
    tensor([0, 1, 2, 0, 1, 2])
    """
    n, classes, labels = _in_turn("spirals", n, classes)
    turns = checks.number("spirals: turns", turns, low=0.0, open_low=True)
    r = random.uniform(key, (n,), dtype=torch.float64).sqrt()
    points = _around_the_middle(r / 2, turns * r + labels / classes)
    return _dataset("spirals", key, points, labels, classes=classes, noise=noise, dtype=dtype, device=device)


def rings(
    key: Key,
    n: checks.Integer = 1000,
    *,
    classes: checks.Integer = 2,
    noise: float = 0.0,
    dtype: torch.dtype = torch.float32,
    device: Device = None,
) -> Dataset:
    """Points of circles around (1/2, 1/2), one for each class, as many of each as can be.

    The circle of class c has the radius (c + 1) / (2 · classes), and its points are uniform on it.

    Parameters
    ----------
    key
        What the points are drawn with.
    n
        The number of points.
    classes
        The number of circles.
    noise
        As in `disk`.
    dtype
        That of the inputs and the targets.
    device
        Where both are: on the CPU where this is None.

    >>> rings(random.key(0), 4).labels
    tensor([0, 1, 0, 1])
    """
    n, classes, labels = _in_turn("rings", n, classes)
    turn = random.uniform(key, (n,), dtype=torch.float64)
    points = _around_the_middle((labels + 1) / (2 * classes), turn)
    return _dataset("rings", key, points, labels, classes=classes, noise=noise, dtype=dtype, device=device)


def _in_turn(name: str, n: object, classes: object) -> tuple[int, int, Tensor]:
    """The number of points, that of classes, and the classes of the points, in turn."""
    n = checks.integer(f"{name}: n", n, minimum=1)
    classes = checks.integer(f"{name}: classes", classes, minimum=2)
    return n, classes, torch.arange(n, device="cpu") % classes


def _around_the_middle(radius: Tensor, turn: Tensor) -> Tensor:
    """Points at distances from the middle of the unit square, and at angles in full turns."""
    angle = 2 * math.pi * turn
    return 0.5 + radius[:, None] * torch.stack((angle.cos(), angle.sin()), 1)


def _dataset(
    name: str,
    key: Key,
    points: Tensor,
    labels: Tensor,
    *,
    classes: int,
    noise: float,
    dtype: torch.dtype,
    device: Device,
) -> Dataset:
    """The data set of some points, moved by noise, and their classes.

    Parameters
    ----------
    name
        That of the caller's function, for messages.
    key
        The key of the noise.
    noise
        Its standard deviation.
    points
        The points (n, 2) before they are moved.
    labels
        The class of each (n,).
    classes
        How many classes there are.
    dtype
        That of the data set.
    device
        That of the data set.
    """
    noise = checks.number(f"{name}: noise", noise, low=0.0)
    checks.device(f"{name}: device", device)
    checks.float_dtype(f"{name}: dtype", dtype)
    checks.in_range(f"{name}: {random.FARTHEST} noise", random.FARTHEST * noise, dtype, share=0.5)  # points fit as well
    if noise > 0:
        points = points + random.normal(key.fold_in(0), tuple(points.shape), std=noise, dtype=torch.float64)
    return Dataset(points.to(dtype).to(device), one_hot(labels, classes, dtype).to(device))
