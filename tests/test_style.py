"""The one style of figures."""

import ast
from pathlib import Path

import pytest

import functional_mlp as fm
from functional_mlp import style
from functional_mlp.ensemble.plotting import Curve, sweep_curves
from functional_mlp.plotting import decision_boundary
from tests.test_structure import GRAPH, MODULES

LOOKS = {
    *("color", "colors", "linestyle", "linewidth", "linewidths", "marker", "fmt", "mfc", "mec", "mew", "hatch"),
    "frameon",
}


def looks(source: str) -> set[str]:
    """What a source chooses of how something is drawn, of its own."""
    tree = ast.parse(source)
    keywords = [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg in LOOKS]
    return {f"line {node.value.lineno}: {ast.unparse(node)}" for node in keywords if not _is_given(node.value)}


def _is_given(value: ast.expr) -> bool:
    """Whether a value comes from elsewhere: a name in it, or a call."""
    return any(isinstance(node, ast.Name) for node in ast.walk(value))


DRAWING = {name: MODULES[name] for name, targets in GRAPH.items() if "style" in targets}


@pytest.mark.parametrize("path", DRAWING.values(), ids=DRAWING)
def test_a_look_is_chosen_in_one_place(path: Path) -> None:
    assert not looks(path.read_text())


def test_chosen_looks_are_found() -> None:
    assert looks("axes.plot(x, color='0.6')\naxes.plot(x, linestyle=(0, (5, 2)), label='a')") == {
        "line 1: color='0.6'",
        "line 2: linestyle=(0, (5, 2))",
    }
    assert not looks("axes.plot(x, color=line.color, **style.RUNS)")


def test_curves_of_a_figure_differ_in_grey_too() -> None:
    for lines in ([style.TRAINING, style.VALIDATION, style.BEST_EPOCH], [style.series(index) for index in range(7)]):
        assert len({(line.dash, line.marker) for line in lines}) == len(lines)


def a_boundary(title: str):
    data = fm.datasets.disk(fm.random.key(1), 20)
    return decision_boundary(fm.Identity(), (), data, class_names=("out", "in"), title=title)


def a_sweep(title: str):
    curves = {f"beta {index}": Curve([0.1, 1.0], [0.3, 0.2], [0.0, 0.1]) for index in range(3)}
    return sweep_curves("rate", "loss", curves, title=title)


@pytest.mark.parametrize("draw", [a_boundary, a_sweep])
def test_a_title_lies_on_nothing(draw) -> None:
    figure = draw("a table, classes from 'kind', of $x$: validation samples")
    figure.draw_without_rendering()
    (legend,) = figure.legends
    title = legend.get_title()
    assert title.get_text().startswith("a table")
    assert not title.get_parse_math()
    boxes = [text.get_window_extent() for text in (title, *legend.get_texts())]
    assert not any(boxes[0].overlaps(box) for box in boxes[1:])
    assert not any(axes.get_window_extent().overlaps(boxes[0]) for axes in figure.axes)
