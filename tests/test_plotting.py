"""Figures: what is drawn, what is left out, and that nothing global changes."""

import math
import subprocess
import sys

import matplotlib
import pytest
import torch

import functional_mlp as fm
from functional_mlp.ensemble.plotting import Curve, sweep_curves
from functional_mlp.history import EpochRecord
from functional_mlp.plotting import decision_boundary, learning_curves, predicted_against_true, to_bytes

NAN = math.nan


def history(*epochs: tuple[float, float, float, float]) -> fm.History:
    return fm.History.of([EpochRecord(*figures, 0.01, 0.1) for figures in epochs])


def labels_of(axes) -> list[str]:
    return [line.get_label() for line in axes.lines]


def test_learning_curves_show_loss_and_accuracy_of_both_sets():
    losses, accuracies = learning_curves(history((0.5, 0.6, 0.55, 0.5), (0.3, 0.8, 0.35, 0.7))).axes
    assert (losses.get_ylabel(), accuracies.get_ylabel()) == ("loss", "accuracy")
    assert losses.get_xlabel() == "epoch"
    assert labels_of(losses) == labels_of(accuracies) == ["training", "validation"]
    assert losses.lines[1].get_xydata().tolist() == [[1, 0.55], [2, 0.35]]
    assert {line.get_linestyle() for line in losses.lines} == {"-", "--"}


def test_learning_curves_leave_out_what_is_nan():
    losses, accuracies = learning_curves(history((0.5, NAN, NAN, NAN), (0.3, NAN, NAN, NAN))).axes
    assert labels_of(losses) == ["training"]
    assert labels_of(accuracies) == []


@pytest.mark.parametrize(
    "epochs",
    [
        [(0.5, 0.5, 0.5, 0.5)],
        [(0.0, 1.0, 0.0, 1.0)] * 3,
        [(1e9, 0.5, 1e-9, 0.5), (1.0, 0.5, 1.0, 0.5)],
        [(0.5, 0.5, 0.5, 0.5), (math.inf, 0.1, NAN, NAN)],
        [(-1.0, NAN, NAN, NAN)],
        [(0.2, 0.9, 0.3, 0.8)] * 200,
    ],
    ids=["one epoch", "zero loss", "huge range", "diverged", "negative loss", "long"],
)
def test_learning_curves_of_unusual_runs_are_drawn(tmp_path, epochs):
    learning_curves(history(*epochs)).savefig(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000


def test_learning_curves_of_no_epoch_are_refused():
    with pytest.raises(ValueError, match="the history holds no epoch"):
        learning_curves(fm.History())


def disk_classifier() -> tuple[fm.Sequential, object, fm.Dataset]:
    network = fm.Sequential(fm.Linear(2, 8), fm.Tanh(), fm.Linear(8, 2))
    return network, network.init(fm.random.key(0)), fm.datasets.disk(fm.random.key(1), 50)


def test_the_decision_boundary_circles_the_misclassified_points():
    network, params, data = disk_classifier()
    figure = decision_boundary(network, params, data, feature_names=("a", "b"), class_names=("out", "in"))
    axes = figure.axes[0]
    wrong = fm.classify(network, params, data.inputs) != data.labels
    *classes, circles = [c for c in axes.collections if type(c).__name__ == "PathCollection"]
    assert sum(len(points.get_offsets()) for points in classes) == 50
    assert torch.as_tensor(circles.get_offsets()).allclose(data.inputs[wrong].double())
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("a", "b")
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["out", "in", "decision boundary", f"misclassified ({int(wrong.sum())} of 50)"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_decision_boundary_takes_any_dtype_and_number_of_classes(tmp_path, dtype):
    network = fm.Sequential(fm.Linear(2, 9))
    inputs = fm.random.normal(fm.random.key(0), (60, 2), dtype=dtype)
    data = fm.Dataset(inputs, torch.arange(60) % 9)
    figure = decision_boundary(network, network.init(fm.random.key(1), dtype=dtype), data)
    figure.savefig(tmp_path / "boundary.png")
    assert len(figure.legends[0].get_texts()) == 11


def test_a_network_that_always_gives_one_class_is_drawn(tmp_path):
    network = fm.Linear(2, 2)
    params = fm.LinearParams(torch.zeros(2, 2), torch.tensor([1.0, 0.0]))
    data = fm.Dataset(torch.zeros(3, 2), torch.tensor([0, 1, 0]))
    decision_boundary(network, params, data).savefig(tmp_path / "boundary.png")


def test_one_logit_is_drawn_as_the_two_outputs_that_it_is_the_difference_of():
    one = fm.LinearParams(torch.tensor([[2.0, -1.0]]), torch.tensor([0.25]))
    two = fm.LinearParams(torch.tensor([[0.0, 0.0], [2.0, -1.0]]), torch.tensor([0.0, 0.25]))
    data = fm.Dataset(torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), torch.tensor([0, 1, 0]))
    drawn = [decision_boundary(fm.Linear(2, len(params.bias)), params, data) for params in (one, two)]
    first, second = ([path for each in figure.axes[0].collections for path in each.get_paths()] for figure in drawn)
    assert len(first) == len(second) > 2
    for ours, other in zip(first, second, strict=True):
        assert ours.vertices == pytest.approx(other.vertices)


def test_data_without_a_plane_or_classes_are_refused():
    network = fm.Linear(3, 2)
    data = fm.Dataset(torch.zeros(3, 3), torch.tensor([0, 1, 0]))
    with pytest.raises(ValueError, match="data must have two features, got 3"):
        decision_boundary(network, network.init(fm.random.key(0)), data)
    values = fm.Dataset(torch.zeros(3, 2), torch.full((3, 2), 0.5))
    with pytest.raises(ValueError, match="must be class indices or one-hot"):
        decision_boundary(fm.Identity(), (), values)


def test_data_of_other_classes_than_the_network_has_are_refused():
    def refused(outputs, labels, message, **names):
        network = fm.Linear(2, outputs)
        data = fm.Dataset(torch.eye(2), torch.tensor(labels))
        with pytest.raises(ValueError, match=message):
            decision_boundary(network, network.init(fm.random.key(0)), data, **names)

    refused(2, [0, 4], "number of outputs, 2, got class 4")
    refused(2, [0, 1], "class_names must be 2 names, one an output, got 3", class_names="abc")
    refused(2, [0, 1], "feature_names must be two names, got 1", feature_names=("x",))


@pytest.mark.parametrize(
    "name",
    ["$", "$$", "$10-$20", "price_$_x_$", r"\frac{1}", "_hidden", "{x}", "中文", "\U0001f600", "a\nb"],
    ids=repr,
)
def test_names_are_drawn_as_they_are(tmp_path, name):
    network, params, data = disk_classifier()
    boundary = decision_boundary(network, params, data, feature_names=(name, name), class_names=(name, "b"))
    curves = sweep_curves(name, name, {name: Curve([1.0], [0.5], [0.0]), "b": Curve([1.0], [0.4], [0.0])})
    for figure in (boundary, curves):
        figure.savefig(tmp_path / "figure.png")  # warnings are errors
        axes = figure.axes[0]
        named = [axes.xaxis.label, axes.yaxis.label, figure.legends[0].get_texts()[0]]
        assert [text.get_text() for text in named] == [name] * 3
        assert not any(text.get_parse_math() for text in named)


@pytest.mark.parametrize("place", [0.0, 1e12, -1e-300])
def test_points_in_one_place_are_drawn(tmp_path, place):
    data = fm.Dataset(torch.full((3, 2), place, dtype=torch.float64), torch.tensor([0, 1, 0]))
    decision_boundary(fm.Identity(), (), data).savefig(tmp_path / "boundary.png")


def test_matplotlib_is_left_as_it_is():
    before = dict(matplotlib.rcParams)
    network, params, data = disk_classifier()
    decision_boundary(network, params, data)
    learning_curves(history((0.5, 0.6, 0.55, 0.5)))
    assert dict(matplotlib.rcParams) == before


def test_without_matplotlib_the_extra_is_named():
    code = "import sys; sys.modules['matplotlib'] = None; import functional_mlp.plotting"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stderr.splitlines()[-1] == "ImportError: plots need matplotlib: from a checkout, pip install '.[plot]'"


def test_pyplot_is_never_loaded():
    code = "import sys, functional_mlp.plotting; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_best_epoch_that_the_history_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="best_epoch must be one of the 1 epoch, got 1"):
        learning_curves(fm.History.of([EpochRecord(0.5, 0.8, 0.6, 0.7, 0.01, 0.1)]), best_epoch=1)


def test_the_best_epoch_is_marked() -> None:
    history = fm.History.of([fm.EpochRecord(loss, 0.5, loss, 0.5, 0.1, 0.1) for loss in (0.5, 0.3, 0.4)])
    figure = learning_curves(history, best_epoch=1)
    for axes in figure.axes:
        (mark,) = [line for line in axes.lines if line.get_label() == "best epoch"]
        assert list(mark.get_xdata()) == [2, 2]  # the axis counts from 1
        assert "best epoch" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_figures_say_what_they_show():
    figure = learning_curves(history((0.5, 0.6, 0.55, 0.5)), loss_name="mse", title="$a$ table of " + "x" * 100)
    assert figure.axes[0].get_ylabel() == "loss (mse)"
    title = figure.get_suptitle()
    assert len(title) == 80
    assert title.startswith("$a$ table of x")
    assert len(learning_curves(history((0.5, NAN, NAN, NAN)), accuracy=False).axes) == 1


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_figures_become_files_of_each_kind(kind, start):
    assert to_bytes(learning_curves(history((0.5, 0.6, 0.55, 0.5))), kind).startswith(start)


def test_boundaries_are_drawn_in_the_units_before_standardization():
    inputs = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [1.0, -1.0]])
    data = fm.Dataset(inputs, torch.tensor([0, 1, 1]))
    figure = decision_boundary(
        fm.Identity(), (), data, scales=[(100.0, 10.0), (0.0, 2.0)], feature_names=("y" * 90, "b")
    )
    axes = figure.axes[0]
    assert axes.get_xlim() == pytest.approx((90 - 0.8, 110 + 0.8))
    assert axes.get_ylim() == pytest.approx((-2 - 0.16, 2 + 0.16))
    assert axes.get_xlabel() == "y" * 15 + "…" + "y" * 16


def test_a_legend_of_many_classes_would_not_fit():
    network = fm.Linear(2, 12)
    data = fm.Dataset(torch.rand(30, 2, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 12)
    (legend,) = decision_boundary(network, network.init(fm.random.key(0)), data).legends
    assert next(text.get_text() for text in legend.get_texts()) == "decision boundary"


def test_quantities_are_drawn_against_the_true_ones():
    figure = predicted_against_true(
        torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]), name="price", title="validation"
    )
    (axes,) = figure.axes
    assert axes.collections[0].get_offsets().tolist() == [[1.0, 1.0], [3.0, 2.0]]
    assert axes.lines[0].get_xdata().tolist() == [1.0, 3.0]
    with pytest.raises(ValueError, match=r"values of one shape \(n,\), got \(2,\) and \(3,\)"):
        predicted_against_true(torch.zeros(2), torch.zeros(3))
