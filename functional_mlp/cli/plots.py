"""The option for plots, and the files that it makes."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from attrs import frozen
from cyclopts import Parameter

import functional_mlp as fm
from functional_mlp.cli.output import OUTPUT_GROUP
from functional_mlp.cli.run import Run
from functional_mlp.files import write_atomically
from functional_mlp.spread import count

if TYPE_CHECKING:  # matplotlib is loaded when something is drawn
    from matplotlib.figure import Figure

    from functional_mlp.layers.base import Params

SUFFIXES = (".png", ".svg", ".pdf")


@Parameter(name="*", group=OUTPUT_GROUP)
@frozen(kw_only=True)
class PlotOptions:
    """What to draw."""

    plot: Annotated[Path | None, Parameter(metavar="FILE.png")] = None
    """Draw the learning curves into this file, .png, .svg or .pdf. With two features that are numbers,
    FILE-boundary.png shows the decision boundary with the misclassified samples; for a quantity, FILE-predictions.png
    the predicted values against the true ones."""

    def check(self) -> None:
        """Raise, before any training, where the plots could not be drawn."""
        if self.plot is None:
            return
        importlib.import_module("functional_mlp.plotting")  # raises ImportError without matplotlib

        if self.plot.suffix.lower() not in SUFFIXES:
            raise ValueError(f"--plot: a plot is a file {', '.join(SUFFIXES)}, got {str(self.plot)!r}")

    def files(self) -> dict[str, Path]:
        """The files that may be written, by how they are named."""
        if self.plot is None:
            return {}
        return {
            "--plot": self.plot,
            "the decision boundary of --plot": self._beside(self.plot, "boundary"),
            "the predictions of --plot": self._beside(self.plot, "predictions"),
        }

    def save(self, run: Run, result: fm.FitResult) -> list[Path]:
        """Write the plots, and return their paths; none where no epoch was finished."""
        if self.plot is None or len(result.history) == 0:
            return []
        from functional_mlp.plotting import learning_curves

        curves = learning_curves(
            result.history,
            best_epoch=None if run.early_stopping is None else result.best_epoch,
            loss_name=run.settings.loss,
            title=run.samples.description,
            accuracy=run.samples.about.scale is None,
        )
        write_figure(curves, self.plot)
        kind, figure = _second_figure(run, result.best_params)
        if figure is None:
            return [self.plot]
        write_figure(figure, self._beside(self.plot, kind))
        return [self.plot, self._beside(self.plot, kind)]

    def save_members(self, run: Run, results: fm.EnsembleResult) -> list[Path]:
        """Write the plots of an ensemble, and return their paths: of a quantity, its mean predictions too."""
        if self.plot is None or len(results.history) == 0:
            return []
        from functional_mlp.ensemble.plotting import learning_bands

        title = f"{run.samples.description}, {count(len(results), 'network')}"
        has_classes = run.samples.about.scale is None
        bands = learning_bands(results.history, loss_name=run.settings.loss, title=title, accuracy=has_classes)
        write_figure(bands, self.plot)
        if has_classes:
            return [self.plot]
        beside = self._beside(self.plot, "predictions")
        write_figure(_predictions(run, [member.best_params for member in results.members]), beside)
        return [self.plot, beside]

    @staticmethod
    def _beside(path: Path, what: str) -> Path:
        return path.with_name(f"{path.stem}-{what}{path.suffix}")


def _second_figure(run: Run, params: Params) -> tuple[str, Figure | None]:
    """What the network has learnt as a figure, by its name, if it can be drawn: two numbers, or a quantity."""
    from functional_mlp.plotting import decision_boundary
    from functional_mlp.tables import NumberColumn

    about, recipes = run.samples.about, run.samples.about.preparation.recipes
    if about.scale is not None:
        return "predictions", _predictions(run, [params])
    scales = [(each.scale.mean, each.scale.std) for each in recipes if isinstance(each, NumberColumn)]
    if len(about.preparation.features) != 2 or len(scales) != 2:
        return "boundary", None
    data, title = _shown(run)
    figure = decision_boundary(
        run.network,
        params,
        data,
        feature_names=about.preparation.features,
        class_names=about.classes,
        scales=scales,
        title=title,
    )
    return "boundary", figure


def _predictions(run: Run, members: Sequence[Params]) -> Figure:
    """The mean predictions of a quantity against what is true."""
    import torch

    from functional_mlp.plotting import predicted_against_true

    about = run.samples.about
    assert about.scale is not None
    data, title = _shown(run)
    own = torch.stack([fm.predict(run.network, params, data.inputs).double() for params in members]).mean(0)
    predicted, true = (
        values.double().squeeze(1) * about.scale.std + about.scale.mean for values in (own, data.targets)
    )
    return predicted_against_true(predicted, true, name=about.target, title=title)


def _shown(run: Run) -> tuple[fm.Dataset, str]:
    """The samples that are drawn, and what is said of them."""
    part = "training" if run.samples.validation is None else "validation"
    return run.samples.parts[part], f"{run.samples.description}: {part} samples"


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure as its file's suffix says."""
    from functional_mlp.plotting import to_bytes

    write_atomically(path, to_bytes(figure, path.suffix.lower()[1:]))
