# /// script
# [tool.marimo.display]
# theme = "system"
# ///

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="full", app_title="functional_mlp: playground")


@app.cell
def _():
    import base64
    import gc
    import io
    import itertools
    import time
    import warnings

    import marimo as mo
    import torch
    from matplotlib import collections

    import functional_mlp as fm
    from functional_mlp import style

    # To make code leaves much garbage. In search of it Python would look through all that has been imported as well, at
    # every second change of the network, for 0.14 s.
    if gc.get_freeze_count() == 0:
        gc.collect()
        gc.freeze()

    return base64, collections, fm, io, itertools, mo, style, time, torch, warnings


@app.cell
def _(fm, mo):
    data_sets = {
        "disk": fm.datasets.disk,
        "two moons": fm.datasets.moons,
        "two spirals": lambda key, n, noise: fm.datasets.spirals(key, n, turns=1.0, noise=noise),
        "three spirals": lambda key, n, noise: fm.datasets.spirals(key, n, classes=3, turns=0.75, noise=noise),
        "rings": lambda key, n, noise: fm.datasets.rings(key, n, classes=3, noise=noise),
        "checkers": fm.datasets.checkers,
    }
    activations = {
        type(layer).__name__: layer
        for layer in (
            fm.ReLU(),
            fm.Tanh(),
            fm.Sigmoid(),
            fm.GELU(),
            fm.SiLU(),
            fm.ELU(),
            fm.Softplus(),
            fm.LeakyReLU(),
            fm.Identity(),
        )
    }
    losses = {
        "cross-entropy": fm.CrossEntropy(),
        "mean squared error": fm.MeanSquaredError(),
        "Huber": fm.Huber(),
        "binary cross-entropy": fm.BinaryCrossEntropy(),
    }
    optimizers = {
        rule.__name__: rule for rule in (fm.SGD, fm.Momentum, fm.Nesterov, fm.RMSProp, fm.Adam, fm.AdamW, fm.Lion)
    }

    def choice(options, value, label):
        return mo.ui.dropdown(list(options), value=value, label=label, full_width=True)

    def slider(steps, value, label):
        return mo.ui.slider(steps=steps, value=value, label=label, show_value=True, full_width=True)

    data_set = choice(data_sets, "two moons", "Points")
    points = slider([50, 100, 200, 400, 600, 1000, 2000], 400, "How many")
    noise = slider([round(0.01 * step, 2) for step in range(31)], 0.05, "Noise")
    seed = slider(list(range(20)), 0, "Seed")
    layers = slider([0, 1, 2, 3, 4], 2, "Hidden layers")
    sizes = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]
    widths = mo.ui.array([slider(sizes, 16, f"Width of layer {number}") for number in (1, 2, 3, 4)])
    activation = choice(activations, "GELU", "Activation")
    members = slider([1, 2, 4, 8, 16, 32], 1, "Networks")
    loss_name = choice(losses, "cross-entropy", "Loss")
    optimizer_name = choice(optimizers, "Adam", "Optimizer")
    learning_rate = slider([0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0], 0.01, "Learning rate")
    batch_size = slider([1, 2, 5, 10, 20, 50, 100, 200, 1000], 10, "Batch size")
    epochs = slider([1, 2, 5, 10, 20, 50, 100, 200, 500], 100, "Epochs")
    return (
        activations,
        data_sets,
        losses,
        optimizers,
        activation,
        batch_size,
        data_set,
        epochs,
        layers,
        learning_rate,
        loss_name,
        members,
        noise,
        optimizer_name,
        points,
        seed,
        widths,
    )


@app.cell
def _(
    activation,
    batch_size,
    data_set,
    epochs,
    layers,
    learning_rate,
    loss_name,
    members,
    mo,
    noise,
    optimizer_name,
    points,
    seed,
    widths,
):
    def group(title, *controls):
        return mo.vstack([mo.md(f"**{title}**"), *controls]).style(flex="1 1 17rem", min_width="0")

    mo.vstack(
        [
            mo.md("# Playground\nEvery change trains all networks anew, from the start."),
            mo.hstack(
                [
                    group("Data", data_set, points, noise, seed),
                    group("Network", layers, *widths[: layers.value], activation, members),
                    group("Training", loss_name, optimizer_name, learning_rate, batch_size, epochs),
                ],
                wrap=True,
                gap=2,
                align="start",
            ),
        ]
    )
    return


@app.cell
def _(
    activations,
    data_sets,
    losses,
    optimizers,
    activation,
    batch_size,
    data_set,
    epochs,
    fm,
    itertools,
    layers,
    learning_rate,
    loss_name,
    members,
    noise,
    optimizer_name,
    points,
    seed,
    time,
    warnings,
    widths,
):
    training_key, validation_key, members_key = fm.random.key(seed.value).split(3)
    draw = data_sets[data_set.value]
    training, validation = (draw(key, points.value, noise=noise.value) for key in (training_key, validation_key))
    classes = training.targets.shape[1]

    # Points of the unit square are all on one side of 0: biases spread the units over them.
    start = {"weight_init": fm.initializers.kaiming_uniform(), "bias_init": fm.initializers.uniform(-1, 1)}
    stack = []
    for fan_in, fan_out in itertools.pairwise([2, *widths.value[: layers.value], classes]):
        stack += [fm.Linear(fan_in, fan_out, **start), activations[activation.value]]
    network = fm.Sequential(*stack[:-1])
    loss = losses[loss_name.value]

    before = time.perf_counter()
    with warnings.catch_warnings(action="ignore"):  # the page says below what diverged
        result = fm.fit_ensemble(
            network,
            loss,
            optimizers[optimizer_name.value](learning_rate.value),
            training,
            keys=members_key.split(members.value),
            epochs=epochs.value,
            batch_size=batch_size.value,
            validation=validation,
        )
    seconds = time.perf_counter() - before
    return classes, loss, network, result, seconds, training, validation


@app.cell
def _(fm, loss, network, result, time, torch, training, validation):
    begun = time.perf_counter()
    cells = 120
    seen = torch.cat([training.inputs, validation.inputs])
    (left, bottom), (right, top) = (seen.amin(0) - 0.1).tolist(), (seen.amax(0) + 0.1).tolist()
    extent = (left, right, bottom, top)
    places = torch.cartesian_prod(torch.linspace(bottom, top, cells), torch.linspace(left, right, cells)).flip(1)
    asked = torch.cat([places, validation.inputs])
    # Once it is there, native code answers for many networks in a tenth of the time that torch's operations take.
    has_code = len(result) > 1 and fm.engine.explain(network, loss, fm.SGD(0.1)) is None
    engine = "fused" if has_code else "auto"
    outputs = torch.stack([fm.predict(network, member.params, asked, engine=engine) for member in result.members])
    of_places, of_validation = outputs.split([len(places), len(validation)], dim=1)
    together = fm.Dataset(of_validation.mean(0).nan_to_num(), validation.targets)
    accuracy = fm.evaluate(fm.Identity(), loss, (), together).accuracy
    return accuracy, begun, cells, extent, of_places


@app.cell
def _(accuracy, epochs, fm, members, mo, points, result, seconds):
    diverged = [epoch for epoch in result.diverged_at if epoch is not None]
    facts = mo.hstack(
        [
            mo.stat(f"{accuracy:.1%}", label="right on new points"),
            mo.stat(f"{seconds:.3f} s", label="for code and training"),
            mo.stat(f"{members.value * epochs.value * points.value:,}", label="samples"),
            mo.stat(f"{members.value * fm.count_parameters(result.member(0).params):,}", label="parameters"),
        ],
        wrap=True,
        justify="start",
    )
    first = min(diverged, default=0) + 1
    said = f"{len(diverged)} of {members.value} diverged, the first in epoch {first}: its loss is no longer a number."
    warning = mo.callout(mo.md(f"{said} Choose a smaller learning rate."), kind="warn")
    mo.vstack([facts, warning] if diverged else [facts])
    return


@app.cell
def _(base64, io, mo, style):
    def on_any_ground(axes):
        """Let axes be read on white and on black."""
        axes.patch.set_alpha(0)
        axes.tick_params(which="both", colors=grey, labelcolor=grey)
        for spine in axes.spines.values():
            spine.set_color(grey)
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
            text.set_color(grey)

    def empty_figure(width, height):
        figure = style.new_figure(width, height)
        figure.set_layout_engine(None)  # to look for the best margins takes longer than to draw
        figure.patch.set_alpha(0)
        return figure

    def new_figure(title):
        figure = empty_figure(4.4, 3.7)
        axes = figure.add_axes((0.13, 0.12, 0.84, 0.79))
        axes.set_title(title, fontsize="medium")
        axes.locator_params(nbins=4)  # most of the time that a picture takes goes into the numbers at its sides
        on_any_ground(axes)
        return figure, axes

    def picture(figure, alt, width=23):
        """A figure in the page itself: a file beside it would be gone by the time that a quick change asks for it."""
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=100, pil_kwargs={"compress_level": 1})
        address = f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
        return mo.image(address, alt=alt, style={"width": f"{width}rem", "max-width": "100%"})

    grey = "#808080"
    return empty_figure, grey, new_figure, on_any_ground, picture


@app.cell
def _(cells, classes, fm, loss, of_places, style, torch):
    def probabilities(outputs):
        """What outputs say of each class, by the loss that they were trained with."""
        if isinstance(loss, fm.CrossEntropy):
            return outputs.softmax(-1)
        shares = outputs.sigmoid() if isinstance(loss, fm.BinaryCrossEntropy) else outputs.clamp(1e-6, 1)
        return shares / shares.sum(-1, keepdim=True)

    def colored(shares):
        """An image of the classes' colours, mixed by their probabilities."""
        colors = torch.tensor(
            [[int(style.series(i).color[at : at + 2], 16) / 255 for at in (1, 3, 5)] for i in range(classes)]
        )
        return (1 - 0.6 * (1 - shares @ colors)).clamp(0, 1).numpy()

    each = probabilities(of_places)
    mean_shares = each.mean(0).nan_to_num(1 / classes).reshape(cells, cells, classes)
    deviation = each.std(0, correction=0).amax(-1).nan_to_num(0).reshape(cells, cells)
    return colored, deviation, mean_shares


@app.cell
def _(
    begun,
    classes,
    collections,
    colored,
    deviation,
    empty_figure,
    extent,
    fm,
    grey,
    mean_shares,
    members,
    mo,
    new_figure,
    on_any_ground,
    picture,
    result,
    seconds,
    style,
    time,
    training,
):
    def points_on(axes):
        for index in range(classes):
            x, y = training.inputs[training.labels == index].T.numpy()
            look = {"color": style.series(index).color, "marker": style.series(index).marker}
            axes.plot(x, y, linestyle="", markersize=3.2, markeredgecolor="white", markeredgewidth=0.2, **look)
        axes.set(xlim=extent[:2], ylim=extent[2:])
        axes.set_aspect("equal")

    def boundary():
        figure, axes = new_figure("What the networks answer" if members.value > 1 else "What the network answers")
        axes.imshow(colored(mean_shares), origin="lower", extent=extent)
        points_on(axes)
        return picture(figure, "The plane in the colours of the answers, with the points")

    def curves():
        figure, axes = new_figure("Loss")
        mean, std = result.history.mean(), result.history.std()
        for part, line in (("train", style.TRAINING), ("validation", style.VALIDATION)):
            values, around = getattr(mean, f"{part}_loss"), getattr(std, f"{part}_loss")
            name = {"train": "training", "validation": "new points"}[part]
            style.draw_curve(axes, values, line, name)
            if members.value > 1:
                low, high = ([value + side * by for value, by in zip(values, around, strict=True)] for side in (-1, 1))
                axes.fill_between(style.epochs(values), low, high, color=line.color, alpha=0.2, linewidth=0)
        axes.set_xlabel("epoch")
        if values and min(values) > 0:
            style.logarithmic(axes, decades=3)
            axes.minorticks_off()
        style.label_integers(axes.xaxis)
        on_any_ground(axes)
        style.legend(axes, labelcolor=grey)
        return picture(figure, "The losses on the training points and on new ones against the epoch")

    def disagreement():
        figure, axes = new_figure("Where the networks differ")
        image = axes.imshow(deviation, origin="lower", extent=extent, cmap="magma", vmin=0, vmax=0.5)
        on_any_ground(figure.colorbar(image, ticks=[0, 0.25, 0.5]).ax)
        points_on(axes)
        return picture(figure, "The deviation of the members' probabilities in the plane")

    def units():
        figure, axes = new_figure("Where the units of the first layer switch")
        first, lines, colors = result.member(0).params[0], [], []
        for index, ((a, b), c) in enumerate(zip(first.weight.tolist(), first.bias.tolist(), strict=True)):
            size = (a * a + b * b) ** 0.5
            if size > 0 and c == c:  # the line a x + b y + c = 0
                foot, along = (-a * c / size**2, -b * c / size**2), (-b / size, a / size)
                lines.append([[foot[i] + side * 3 * along[i] for i in (0, 1)] for side in (-1, 1)])
                colors.append(style.series(index).color)
        axes.add_collection(collections.LineCollection(lines, colors=colors, linewidths=1, alpha=0.8))
        points_on(axes)
        return picture(figure, "For each unit of the first layer, the line on which its sum is 0")

    def weights():
        linears = [params for params in result.member(0).params if isinstance(params, fm.LinearParams)]
        figure = empty_figure(9.2, 2.9)
        figure.subplots_adjust(left=0.01, right=0.99, bottom=0.03, top=0.88, wspace=0.08)
        panels = figure.subplots(1, len(linears), squeeze=False)[0]
        for index, (axes, params) in enumerate(zip(panels, linears, strict=True), 1):
            matrix = params.weight.nan_to_num(0)
            largest = max(matrix.abs().max().item(), 1e-6)
            axes.imshow(matrix, cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto")
            axes.set_title(f"w⁽{'⁰¹²³⁴⁵'[index]}⁾, up to {largest:.2g}", fontsize="small")
            axes.set(xticks=[], yticks=[])
            on_any_ground(axes)
        return picture(figure, "The weights of each layer as colours: red above 0, blue below", width=48)

    pictures = [boundary(), curves(), *([disagreement()] if members.value > 1 else []), units(), weights()]
    shown = mo.hstack(pictures, wrap=True, justify="start", align="center", gap=1)
    drawn = time.perf_counter() - begun
    mo.vstack([shown, mo.md(f"Code and training took {seconds:.3f} s, answers and pictures {drawn:.3f} s.")])
    return


if __name__ == "__main__":
    app.run()
