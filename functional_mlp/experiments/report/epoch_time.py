"""The section on why PyTorch's epochs take longer."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from functional_mlp.experiments import paper
from functional_mlp.experiments.epoch_time import EpochTime
from functional_mlp.experiments.report import style
from functional_mlp.experiments.report.document import Block, Heading, Paragraph, Picture, Table


def section(result: EpochTime) -> list[Block]:
    medians = result.medians
    torch_nn, reference, fused = medians["torch.nn"], medians["reference"], medians["fused"]
    theirs, ours = result.torch_profile, result.reference_profile
    total = sum(result.phases.values())
    phases = ", ".join(f"{name} {100 * seconds / total:.0f} %" for name, seconds in result.phases.items())
    return [
        Heading("Why do PyTorch's epochs take longer?"),
        Paragraph(
            f"An epoch of {paper.SAMPLES} updates takes torch.nn {1e3 * torch_nn:.0f} ms, our reference, which like "
            f"the paper's framework calls a tensor operation at a time, {1e3 * reference:.0f} ms, and the fused engine "
            f"{1e3 * fused:.2f} ms: torch.nn takes {torch_nn / reference:.1f} times as long as the reference (the "
            f"paper measured {paper.TORCH_SECONDS / paper.OWN_SECONDS:.1f} times, {paper.TORCH_SECONDS} s against "
            f"{paper.OWN_SECONDS} s), and {torch_nn / fused:.0f} times as long as the fused engine."
        ),
        Paragraph(
            "The fused engine does all the arithmetic of the epoch in its time, "
            f"{100 * fused / torch_nn:.2f} % of torch.nn's. The rest is the cost of operators on tensors of 2 to 25 "
            f"numbers: an update calls {theirs.operators:.0f} operators of torch in torch.nn and "
            f"{ours.operators:.0f} in the reference, of which {theirs.arithmetic_operators:.0f} and "
            f"{ours.arithmetic_operators:.0f} compute anything. Only torch.nn records a graph and walks it backward "
            f"({100 * theirs.shares['autograd']:.0f} % of its time as profiled) and visits parameter after parameter "
            f"in an optimizer ({100 * theirs.shares['optimizer and zero_grad']:.0f} %). By a stopwatch its epoch "
            f"divides into {phases}. The step size is a number in each update, constant or not, and has no part in it."
        ),
        Picture(
            "epoch-time",
            _draw(result),
            "(a) Time of an epoch at batch size 1, on a logarithmic scale: the rounds (dots) and their median. "
            "(b) torch.nn's epoch by phase, by a stopwatch. (c) Where the time goes by torch.profiler, which slows "
            "what it watches.",
            "Bars of the time of an epoch by framework, by phase and by kind of work",
        ),
        Table(
            ("", "torch.nn", "reference", "fused"),
            (
                ("ms an epoch, median", *(f"{1e3 * seconds:.2f}" for seconds in medians.values())),
                ("fastest round", *(f"{1e3 * min(times):.2f}" for times in _rounds(result))),
                ("slowest round", *(f"{1e3 * max(times):.2f}" for times in _rounds(result))),
                ("operators an update", f"{theirs.operators:.0f}", f"{ours.operators:.0f}", "–"),
                *(
                    (f"{kind}, share", f"{100 * theirs.shares[kind]:.0f} %", f"{100 * ours.shares[kind]:.0f} %", "–")
                    for kind in theirs.shares
                ),
            ),
            "Times in the same process, in turn round by round, without validation; operators and shares by "
            "torch.profiler.",
        ),
    ]


def _rounds(result: EpochTime) -> tuple[Sequence[float], ...]:
    return result.torch_nn, result.reference, result.fused


def _draw(result: EpochTime) -> Figure:
    figure, (times, phases, kinds) = style.panels(3, width=10.0, height=3.0, width_ratios=(1.5, 0.7, 1.2))
    milliseconds = {name: 1e3 * seconds for name, seconds in result.medians.items()}
    for place, rounds in enumerate(_rounds(result)):
        times.plot([place] * len(rounds), [1e3 * seconds for seconds in rounds], "o", color="0.6", markersize=3)
    times.plot(list(milliseconds), list(milliseconds.values()), "_", color="black", markersize=22, markeredgewidth=2)
    for place, median in enumerate(milliseconds.values()):
        times.annotate(f"{median:.3g}", (place, median), (0, 7), textcoords="offset points", ha="center")
    style.logarithmic(times, min(milliseconds.values()) / 3, max(milliseconds.values()) * 5)
    times.set(xlim=(-0.5, 2.5), ylabel="ms an epoch")
    total = sum(result.phases.values())
    _shares(phases, ["torch.nn"], {name: [seconds / total] for name, seconds in result.phases.items()})
    profiles = (result.torch_profile, result.reference_profile)
    _shares(kinds, ["torch.nn", "reference"], {k: [p.shares[k] for p in profiles] for k in profiles[0].shares})
    style.letter((times, phases, kinds), ("time of an epoch", "by phase", "by kind of work"))
    return figure


def _shares(axes: Axes, names: Sequence[str], shares: dict[str, list[float]]) -> None:
    bottom = [0.0] * len(names)
    for (label, heights), fill, hatch in zip(shares.items(), style.FILLS, style.HATCHES, strict=False):
        look: dict[str, Any] = {"color": fill, "hatch": hatch, "edgecolor": "black", "linewidth": 0.5}
        axes.bar(names, heights, bottom=bottom, width=0.6, label=label.replace(" and ", "\nand "), **look)
        bottom = [begin + height for begin, height in zip(bottom, heights, strict=True)]
    axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(0, 1), ylabel="share of the time")
    axes.grid(visible=False)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles[::-1], labels[::-1], frameon=False, fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5)
    )
