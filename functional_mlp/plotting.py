"""Figures of a training run and of a trained classifier, with matplotlib (the extra `plot`).

The functions return a `matplotlib.figure.Figure`, which saves itself (`figure.savefig("curves.png")`) and shows
itself in a notebook; nothing is drawn on a screen, and matplotlib's settings are left as they are. Lines differ
in dash and classes in marker, so that every figure can be read in grey.
"""

import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from functional_mlp import checks, style
from functional_mlp.datasets import Dataset
from functional_mlp.evaluation import predict
from functional_mlp.history import History
from functional_mlp.layers.base import Layer, Params
from functional_mlp.spread import count

if TYPE_CHECKING:  # loaded by `style`, whose error names the extra where there is no matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GRID_POINTS = 301
MOST_IN_LEGEND = 10


def to_bytes(figure: "Figure", kind: str = "png") -> bytes:
    """The content of a file of a figure, of a kind that matplotlib knows: "png", "svg" or "pdf"."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind)
    return buffer.getvalue()


def learning_curves(
    history: History,
    *,
    best_epoch: checks.Integer | None = None,
    loss_name: str = "",
    title: str = "",
    accuracy: bool = True,
) -> "Figure":
    """Loss and accuracy against the epoch, for training and, where there is one, for the validation set.

    `best_epoch`, its place in the history as `FitResult` has it, is marked where it is given. `loss_name` is said
    beside the axis, and `title`, such as the name of the data, above. Without `accuracy`, as of quantities, there is
    one panel.

    Training figures are means over an epoch, validation figures are taken at its end (see `EpochRecord`).
    Figures that are NaN are left out. Raises `ValueError` for a history without epochs.

    >>> from functional_mlp.history import EpochRecord
    >>> figure = learning_curves(History.of([EpochRecord(0.5, 0.8, 0.6, 0.7, 0.01, 0.1)]))
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss', 'accuracy']
    """
    if len(history) == 0:
        raise ValueError("learning_curves: the history holds no epoch: train for at least one")
    figure, axes = style.panels(2) if accuracy else style.panels(1, width=5.0)
    losses, *others = axes
    _curves(losses, f"loss ({loss_name})" if loss_name else "loss", history.train_loss, history.validation_loss)
    for accuracies in others:
        _curves(accuracies, "accuracy", history.train_accuracy, history.validation_accuracy)
    style.title(figure, title)
    figures = [loss for loss in (*history.train_loss, *history.validation_loss) if math.isfinite(loss)]
    if figures and min(figures) > 0:
        style.logarithmic(losses, decades=math.log10(max(figures) / min(figures)))
    if best_epoch is not None:
        if checks.integer("learning_curves: best_epoch", best_epoch, minimum=0) >= len(history):
            epochs = count(len(history), "epoch")
            raise ValueError(f"learning_curves: best_epoch must be one of the {epochs}, got {best_epoch}")
        for each in axes:
            each.axvline(best_epoch + 1, label="best epoch", **style.BEST_EPOCH.options())
            style.legend(each)
    return figure


def decision_boundary(
    network: Layer,
    params: Params,
    data: Dataset,
    *,
    feature_names: Sequence[str] = ("x₁", "x₂"),
    class_names: Sequence[str] | None = None,
    scales: Sequence[tuple[float, float]] | None = None,
    title: str = "",
) -> "Figure":
    """The plane of two features: the classes' regions, the boundary between them, and the points of a data set.

    A point that the network classifies wrongly is circled. A single output is that of `BinaryCrossEntropy`: where it
    is above 0, the class is the second of two. Names are drawn as they are, without mathematics, and long
    ones without their middle; of more than ten classes there is no legend.

    Parameters
    ----------
    network
        What classifies the points: two features in, an output for each class, or a single one.
    params
        The network's.
    data
        The points: inputs (n, 2), and targets that are class indices or one-hot.
    feature_names
        The names of the axes.
    class_names
        The names in the legend, by default "class 0" and so on.
    scales
        The mean and the standard deviation by which each feature was standardized: the axes then show the numbers
        before that.
    title
        Stands above the figure.

    Raises `ValueError` for data that have not two features, whose targets are no classes, or are classes that the
    network has no output for.

    >>> import functional_mlp as fm
    >>> data = fm.Dataset(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([1, 0]))
    >>> decision_boundary(fm.Identity(), (), data, class_names=("left", "right")).axes[0].get_xlabel()
    'x₁'
    """
    if data.inputs.shape[1] != 2:
        raise ValueError(f"decision_boundary: data must have two features, got {data.inputs.shape[1]}")
    if data.labels is None:
        raise ValueError("decision_boundary: the targets of data must be class indices or one-hot, got other values")
    outputs = _class_outputs(network, params, data.inputs)
    classes = outputs.shape[1]
    _check_classes(classes, data.labels, feature_names, class_names)
    wrong = (outputs.argmax(1) != data.labels).cpu()
    mean, std = torch.tensor(scales or [(0.0, 1.0)] * 2, dtype=torch.float64, device="cpu").T
    points, labels = data.inputs.cpu().double() * std + mean, data.labels.cpu()
    least = 1e-6 * points.abs().amax(0).clamp_min(1)  # wide enough to be a range, where all points are in one place
    margin_x, margin_y = 0.04 * torch.maximum(points.amax(0) - points.amin(0), least)
    x_limits = float(points[:, 0].min() - margin_x), float(points[:, 0].max() + margin_x)
    y_limits = float(points[:, 1].min() - margin_y), float(points[:, 1].max() + margin_y)

    figure, (axes,) = style.panels(1, width=5.2, height=4.6, grid=False)

    def outputs_at(points: Tensor) -> Tensor:
        inputs = ((points - mean) / std).to(data.inputs.dtype).to(data.inputs.device)
        return _class_outputs(network, params, inputs).cpu().double()

    _draw_regions(axes, outputs_at, x_limits, y_limits)
    names = [f"class {index}" for index in range(classes)] if class_names is None else list(class_names)
    for index in range(classes):
        chosen = points[labels == index].numpy()
        style.draw_samples(axes, chosen[:, 0], chosen[:, 1], style.series(index))
    missed = points[wrong].numpy()
    style.circle_misclassified(axes, missed[:, 0], missed[:, 1])
    axes.set(xlim=x_limits, ylim=y_limits)
    style.name_axes(axes, *map(style.shortened, feature_names))
    if 0.5 < (x_limits[1] - x_limits[0]) / (y_limits[1] - y_limits[0]) < 2:
        axes.set_aspect("equal")  # so that the paper's disk is round
    _draw_boundary_legend(figure, names, int(wrong.sum()), len(data), title)
    return figure


def _class_outputs(network: Layer, params: Params, inputs: Tensor) -> Tensor:
    """An output (n, classes) for each class: for one logit those of which it is the difference."""
    outputs = predict(network, params, inputs)
    return torch.cat([-outputs / 2, outputs / 2], 1) if outputs.shape[1] == 1 else outputs


def predicted_against_true(predicted: Tensor, true: Tensor, *, name: str = "y", title: str = "") -> "Figure":
    """Predicted quantities (n,) against the true ones (n,), with the line on which they are equal.

    >>> figure = predicted_against_true(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]), name="price")
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('true price', 'predicted price')
    """
    if predicted.ndim != 1 or predicted.shape != true.shape or len(true) == 0:
        shapes = f"{tuple(predicted.shape)} and {tuple(true.shape)}"
        raise ValueError(f"predicted_against_true takes values of one shape (n,), got {shapes}")
    figure, (axes,) = style.panels(1, width=4.8, height=4.4)
    xs, ys = true.cpu().double(), predicted.cpu().double()
    low, high = float(torch.minimum(xs, ys).min()), float(torch.maximum(xs, ys).max())
    axes.plot([low, high], [low, high], **style.REFERENCE.options())
    style.draw_samples(axes, xs.numpy(), ys.numpy(), style.series(0))
    style.name_axes(axes, f"true {style.shortened(name)}", f"predicted {style.shortened(name)}")
    style.title(figure, title)
    return figure


def _curves(axes: "Axes", label: str, training: Sequence[float], validation: Sequence[float]) -> None:
    curves = ((training, style.TRAINING, "training"), (validation, style.VALIDATION, "validation"))
    for values, line, name in curves:
        if any(math.isfinite(value) for value in values):
            style.draw_curve(axes, values, line, name)
    style.name_axes(axes, "epoch", label)
    style.label_integers(axes.xaxis)
    if axes.lines:
        style.legend(axes)


def _draw_regions(
    axes: "Axes",
    outputs_at: Callable[[Tensor], Tensor],
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
) -> None:
    """Shade each class's region and draw its edge."""
    xs = torch.linspace(*x_limits, GRID_POINTS, dtype=torch.float64, device="cpu")
    ys = torch.linspace(*y_limits, GRID_POINTS, dtype=torch.float64, device="cpu")
    grid = torch.cartesian_prod(ys, xs).flip(1)
    outputs = outputs_at(grid)
    classes = outputs.shape[1]
    for index in range(classes):
        others = outputs[:, torch.arange(classes) != index].amax(1)
        # Positive where the class's output is the largest; its zero level is the boundary.
        margin = (outputs[:, index] - others).reshape(GRID_POINTS, GRID_POINTS).numpy()
        if margin.max() <= 0:
            continue
        axes.contourf(xs, ys, margin, levels=[0, math.inf], colors=[style.series(index).color], alpha=0.18)
        if margin.min() < 0:
            style.draw_boundary(axes, xs.numpy(), ys.numpy(), margin)


def _check_classes(
    outputs: int, labels: Tensor, feature_names: Sequence[str], class_names: Sequence[str] | None
) -> None:
    if labels.max() >= outputs:
        raise ValueError(
            f"decision_boundary: the classes of data must be below the network's number of outputs, {outputs}, "
            f"got class {int(labels.max())}"
        )
    if len(feature_names) != 2:
        raise ValueError(f"decision_boundary: feature_names must be two names, got {len(feature_names)}")
    if class_names is not None and len(class_names) != outputs:
        raise ValueError(
            f"decision_boundary: class_names must be {outputs} names, one an output, got {len(class_names)}"
        )


def _draw_boundary_legend(figure: "Figure", names: Sequence[str], wrong: int, total: int, title: str) -> None:
    entries = [
        style.samples_entry(style.shortened(name), style.series(index))
        for index, name in enumerate(names)
        if len(names) <= MOST_IN_LEGEND
    ]
    entries.append(style.line_entry("decision boundary", style.BOUNDARY))
    entries.append(style.misclassified_entry(f"misclassified ({wrong} of {total})"))
    style.legend_above(figure, entries, columns=2, title=title)
