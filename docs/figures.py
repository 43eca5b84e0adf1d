"""The figures of the site, each drawn by a function of its name, from runs of the library.

    python docs/figures.py NAME FILE

writes one of them: a .png or a .svg file.
"""

import io
import sys
import textwrap
import time
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import functional_mlp as fm
from functional_mlp import style
from functional_mlp.ensemble.plotting import learning_bands
from functional_mlp.experiments import misclassified as misclassification
from functional_mlp.experiments import trials
from functional_mlp.experiments.document import Picture
from functional_mlp.experiments.paper import Recipe

KEY = fm.random.key(0)
LOSS = fm.CrossEntropy()
SETS = {
    "disk": lambda key: fm.datasets.disk(key, 600, noise=0.02),
    "moons": lambda key: fm.datasets.moons(key, 600, noise=0.04),
    "spirals": lambda key: fm.datasets.spirals(key, 600, classes=3, turns=0.75, noise=0.015),
    "rings": lambda key: fm.datasets.rings(key, 600, classes=3, noise=0.03),
    "checkers": lambda key: fm.datasets.checkers(key, 600, squares=3, noise=0.01),
}


def small_network(classes: int = 2) -> fm.Sequential:
    # Points of the unit square are all on one side of 0: biases spread the units over them.
    start = {"weight_init": fm.initializers.kaiming_uniform(), "bias_init": fm.initializers.uniform(-1, 1)}
    return fm.Sequential(
        *(fm.Linear(2, 16, **start), fm.GELU(), fm.Linear(16, 16, **start), fm.GELU(), fm.Linear(16, classes, **start))
    )


def gallery() -> Figure:
    """Five data sets, and what a network of 16 and 16 units has learnt of each."""
    figure, axes = style.panels(len(SETS), width=10.5, height=2.5)
    for each, (name, draw), key in zip(axes, SETS.items(), KEY.split(len(SETS)), strict=True):
        data_key, fit_key = key.split()
        data = draw(data_key)
        network = small_network(data.targets.shape[1])
        run = (network, LOSS, fm.Adam(0.01), data)
        fm.fit(*run, key=fit_key, epochs=2, batch_size=10)  # the code is made, or loaded
        begun = time.perf_counter()
        result = fm.fit(*run, key=fit_key, epochs=300, batch_size=10)
        seconds = time.perf_counter() - begun
        paint_classes(each, network, result.params, data)
        each.set_title(f"{name}\n{300 * len(data):,} samples in {seconds:.3f} s", fontsize="small")
    return figure


def paint_classes(axes, network: fm.Layer, params, data: fm.Dataset) -> None:
    """The classes of a network in the plane, as colours, and the points that it learnt from."""
    low, high = data.inputs.amin(0) - 0.05, data.inputs.amax(0) + 0.05
    grid = torch.cartesian_prod(*(torch.linspace(a, b, 200) for a, b in zip(low, high, strict=True)))
    shares = fm.predict(network, params, grid).softmax(1).reshape(200, 200, -1).transpose(0, 1)
    colors = torch.tensor([_rgb(style.series(index).color) for index in range(shares.shape[2])])
    image = 1 - 0.55 * (1 - shares @ colors)
    extent = (low[0].item(), high[0].item(), low[1].item(), high[1].item())
    axes.imshow(image.clamp(0, 1).numpy(), origin="lower", extent=extent, aspect="auto")
    for index in range(shares.shape[2]):
        x, y = data.inputs[data.labels == index].T
        axes.scatter(x, y, s=4, color=style.series(index).color, edgecolors="white", linewidths=0.15)
    axes.set_aspect("equal", anchor="N")
    axes.axis("off")


def _rgb(color: str) -> list[float]:
    return [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]


def first_curves() -> Figure:
    """The run of the page Start."""
    data_key, validation_key, fit_key = KEY.split(3)
    training, validation = fm.datasets.moons(data_key, noise=0.05), fm.datasets.moons(validation_key, noise=0.05)
    network = fm.Sequential(fm.Linear(2, 16), fm.GELU(), fm.Linear(16, 16), fm.GELU(), fm.Linear(16, 2))
    result = fm.fit(
        *(network, LOSS, fm.Adam(0.01), training), key=fit_key, epochs=60, batch_size=10, validation=validation
    )
    return fm.plotting.learning_curves(result.history)


def optimizers() -> Figure:
    """Five rules from the same initial weights: the mean over ten runs."""
    rules = [fm.SGD(0.1), fm.Momentum(0.1), fm.Nesterov(0.02), fm.RMSProp(0.003), fm.Adam(0.003)]
    figure, (axes,) = style.panels(1, width=6.4, height=3.4)
    for index, rule in enumerate(rules):
        losses = mean_losses(small_network(), rule, batch_size=10, epochs=40)
        axes.plot(style.epochs(losses), losses, label=repr(rule), **style.series(index).options())
    finish(axes, "epoch", "training loss")
    return figure


def batch_sizes() -> Figure:
    """One learning rate, four batch sizes: the loss against the epochs, the mean over ten runs."""
    figure, (axes,) = style.panels(1, width=6.4, height=3.4)
    for index, batch_size in enumerate((1, 10, 100, 1000)):
        losses = mean_losses(small_network(), fm.SGD(0.05), batch_size=batch_size, epochs=40)
        label = f"batches of {batch_size}"
        axes.plot(style.epochs(losses), losses, label=label, **style.series(index).options())
    finish(axes, "epoch", "training loss")
    return figure


def mean_losses(network: fm.Layer, rule: fm.Optimizer, *, batch_size: int, epochs: int) -> tuple[float, ...]:
    """The training losses of ten runs on moons, their mean at each epoch."""
    data = fm.datasets.moons(KEY, noise=0.05)
    result = fm.fit_ensemble(
        network, LOSS, rule, data, keys=fm.random.key(1).split(10), epochs=epochs, batch_size=batch_size
    )
    return result.history.mean().train_loss


def initializations() -> Figure:
    """How large what goes through ten layers of 100 units stays, forward and backward."""
    starts = {
        "normal(0, 0.01)": fm.initializers.normal(0, 0.01),
        "normal(0, 0.3)": fm.initializers.normal(0, 0.3),
        "xavier_normal()": fm.initializers.xavier_normal(),
        "kaiming_normal()": fm.initializers.kaiming_normal(),
    }
    figure, panels = style.panels(2, width=8.4, height=3.3)
    for index, (name, start) in enumerate(starts.items()):
        look = {
            **style.series(index).options(),
            "marker": style.series(index).marker,
            "label": name,
        }
        signals, gradients = sizes_through_layers(start)
        panels[0].plot(range(1, 11), signals, markersize=3, **look)
        panels[1].plot(range(1, 11), gradients, markersize=3, **look)
    for axes, label in zip(panels, ("standard deviation of x", "standard deviation of δ"), strict=True):
        finish(axes, "layer", label)
    return figure


def sizes_through_layers(start: fm.initializers.Initializer) -> tuple[list[float], list[float]]:
    """The deviation of each layer's output, and of the loss's gradient for it."""
    layers = [layer for _ in range(10) for layer in (fm.Linear(100, 100, weight_init=start), fm.ReLU())]
    network = fm.Sequential(*layers)
    params, x = network.init(KEY), fm.random.normal(fm.random.key(1), (100,))
    seen = fm.trace(network, fm.MeanSquaredError(), params, x, fm.random.normal(fm.random.key(2), (100,)))
    outputs = [quantity for quantity in seen.forward if quantity.name.startswith("x")][1:]
    deltas = [quantity for quantity in seen.backward if quantity.name.startswith("δ")][::-1]
    return ([quantity.value.std().item() for quantity in part] for part in (outputs, deltas))


def finish(axes, x: str, y: str) -> None:
    axes.set(xlabel=x, ylabel=y)
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high / low < 1000:
        style.logarithmic_between(axes, low, high)
    style.label_integers(axes.xaxis)
    style.legend(axes, size="small")


def misclassified() -> Figure:
    """Fig. 3 of the report, from a run of its recipe."""
    draws = [trials.draw(KEY)]
    blocks = misclassification.section(misclassification.run(trials.train(Recipe(), draws), draws))
    return next(block.figure for block in blocks if isinstance(block, Picture))


def ensemble_bands() -> Figure:
    """The run of the guide to ensembles, thirty networks at once: means, and one deviation to both sides."""
    training, validation = (fm.datasets.disk(key) for key in KEY.split())
    network = fm.Sequential(fm.Linear(2, 25), fm.ReLU(), fm.Linear(25, 25), fm.Tanh(), fm.Linear(25, 2))
    result = fm.fit_ensemble(
        *(network, fm.MeanSquaredError(), fm.SGD(0.05), training),
        keys=fm.random.key(1).split(30),
        epochs=30,
        validation=validation,
    )
    return learning_bands(result.history)


def uncertainty() -> Figure:
    """Where the members of an ensemble differ: the deviation of their probabilities, largest along the boundary."""
    data = fm.datasets.moons(KEY, 200, noise=0.05)
    network = small_network()
    result = fm.fit_ensemble(
        network, LOSS, fm.Adam(0.01), data, keys=fm.random.key(1).split(20), epochs=60, batch_size=10
    )
    places = torch.linspace(-0.5, 1.5, 161)
    grid = torch.cartesian_prod(places, places)
    spread = fm.ensemble.spread(network, result.params, grid, average="probabilities")[:, 1].reshape(161, 161).T
    figure = style.new_figure(5.2, 4.2)
    axes = figure.subplots()
    image = axes.contourf(places, places, spread, levels=12, cmap="Greys")
    for index in range(2):
        x, y = data.inputs[data.labels == index].T
        axes.scatter(
            x,
            y,
            s=9,
            color=style.series(index).color,
            marker=style.series(index).marker,
            edgecolors="white",
            linewidths=0.3,
        )
    figure.colorbar(image, label="deviation of the probability among 20 members")
    axes.set(xlabel="x₁", ylabel="x₂")
    axes.set_aspect("equal")
    return figure


def house() -> Figure:
    """The floors of the package, and an arrow for each pair of floors of which one imports from the other."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.test_structure import FLOOR, FLOORS, GRAPH, top

    figure = style.new_figure(9, 9)
    axes = figure.subplots()
    for level, (title, names) in enumerate(FLOORS.items()):
        axes.add_patch(Rectangle((0.16, level - 0.36), 0.62, 0.72, facecolor="0.95", edgecolor="0.5", linewidth=0.6))
        axes.text(0.14, level, title, ha="right", va="center", fontsize="small", color="0.35")
        lines = textwrap.fill("  ".join(sorted(names)), 92)
        axes.text(0.47, level, lines, ha="center", va="center", fontsize=7.5)
    pairs = {(FLOOR[top(name)], FLOOR[top(target)]) for name, targets in GRAPH.items() for target in targets}
    for start, end in sorted(pair for pair in pairs if pair[0] > pair[1]):
        # Arrows from one floor start side by side, and lead to the edges of the floors below, each bent by its length.
        bend = f"arc3,rad=-{0.12 + 0.03 * (start - end)}"
        look = {"arrowstyle": "->", "color": style.series(start).color, "linewidth": 0.9, "connectionstyle": bend}
        axes.annotate("", (0.785, end + 0.2), (0.785, start - 0.2), arrowprops=look)
    axes.set(xlim=(-0.06, 1.02), ylim=(-0.6, len(FLOORS) - 0.4))
    axes.axis("off")
    return figure


def svg(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="svg")
    return content.getvalue()


def png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()


if __name__ == "__main__":
    _, name, path = sys.argv
    write = {".png": png, ".svg": svg}[Path(path).suffix]
    Path(path).write_bytes(write(globals()[name]()))
