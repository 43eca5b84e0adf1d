"""The option for plots, and the files that it makes."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from attrs import frozen
from cyclopts import Group, Parameter

import functional_mlp as fm
from functional_mlp.cli.data import ClassificationData
from functional_mlp.files import write_atomically

if TYPE_CHECKING:  # matplotlib is loaded when something is drawn
    from matplotlib.figure import Figure


@Parameter(name="*", group=Group("Output", sort_key=4))
@frozen(kw_only=True)
class PlotOptions:
    """What to draw."""

    plot: Annotated[Path | None, Parameter(metavar="FILE.png")] = None
    """Draw the learning curves into this file. With two features, FILE-boundary.png shows the decision boundary
    with the misclassified samples."""

    def check(self) -> None:
        """Raise, before any training, where the plots could not be drawn."""
        if self.plot is None:
            return
        importlib.import_module("functional_mlp.plotting")  # raises ImportError without matplotlib

        if self.plot.suffix.lower() != ".png":
            raise ValueError(f"--plot: a plot is a .png file, got {str(self.plot)!r}")

    def files(self) -> dict[str, Path]:
        """The files that may be written, by how they are named."""
        if self.plot is None:
            return {}
        return {"--plot": self.plot, "the decision boundary of --plot": self._boundary_path(self.plot)}

    def save(self, network: fm.Layer, result: fm.FitResult, data: ClassificationData) -> list[Path]:
        """Write the plots, and return their paths; none where no epoch was finished."""
        if self.plot is None or len(result.history) == 0:
            return []
        from functional_mlp.plotting import decision_boundary, learning_curves

        best_epoch = None if result.best is result.state else result.best_epoch
        write_figure(learning_curves(result.history, best_epoch=best_epoch), self.plot)
        if len(data.features) != 2:
            return [self.plot]
        shown = data.training if data.validation is None else data.validation
        figure = decision_boundary(
            network, result.best_params, shown, feature_names=data.features, class_names=data.classes
        )
        write_figure(figure, self._boundary_path(self.plot))
        return [self.plot, self._boundary_path(self.plot)]

    @staticmethod
    def _boundary_path(path: Path) -> Path:
        return path.with_name(f"{path.stem}-boundary.png")


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file."""
    from functional_mlp.plotting import to_png

    write_atomically(path, to_png(figure))
