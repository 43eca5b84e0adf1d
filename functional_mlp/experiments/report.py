"""The results of the experiments as a report: one page of HTML, Markdown with PNG figures, and JSON."""

import json
import math
from pathlib import Path
from typing import Any

import attrs

from functional_mlp.experiments import (
    basic_model,
    batch_gradient_descent,
    epoch_time,
    factorial,
    initializations,
    misclassified,
    momentum,
    momentum_tuning,
    torch_model,
)
from functional_mlp.experiments.document import Block, Heading, Paragraph, Picture, to_html, to_markdown
from functional_mlp.experiments.reproduction import QUICK, Reproduction, Setting
from functional_mlp.files import write_atomically
from functional_mlp.plotting import to_bytes
from functional_mlp.spread import count

TITLE = "A multi-layer perceptron from tensor operations: the paper, reproduced"


def write(result: Reproduction, folder: Path) -> tuple[Path, ...]:
    """Write `report.html`, `report.md`, `results.json` and the figures into an existing folder."""
    blocks = build(result)
    images = {block.name: to_bytes(block.figure) for block in blocks if isinstance(block, Picture)}
    texts = {
        "report.html": to_html(TITLE, blocks, images),
        "report.md": to_markdown(blocks),
        "results.json": to_json(result),
    }
    contents = {name: text.encode() for name, text in texts.items()}
    contents |= {f"{name}.png": image for name, image in images.items()}
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return tuple(folder / name for name in contents)


def build(result: Reproduction) -> list[Block]:
    """The blocks of the report."""
    setting = result.setting
    return [
        Heading(TITLE, level=1),
        Paragraph(
            "The experiments of A. Boschin, Q. Rebjock and S. Lei, “EE 559: Deep Learning, Mini-project II”, run again "
            "with functional_mlp beside the paper's figures, and then what the paper left open. Every number and "
            "statement below is computed from this run; `results.json` holds all of them. std is the standard "
            "deviation over independent runs."
        ),
        *_preview(setting),
        *basic_model.section(result.basic_model),
        *misclassified.section(result.misclassified),
        *torch_model.section(result.step_by_step, result.cells),
        *momentum.section(result.momentum, result.basic_model.sgd),
        *batch_gradient_descent.section(result.batch_gradient_descent),
        *factorial.section(result.factorial, result.cells),
        *epoch_time.section(result.epoch_time),
        *momentum_tuning.section(result.momentum_tuning),
        *initializations.section(result.initializations),
        Heading("How this was made"),
        Paragraph(
            f"`{_command(setting)}` in {result.seconds:.0f} s on {setting.cores} cores of "
            f"{setting.processor}: functional_mlp {setting.functional_mlp}, torch {setting.torch}, Python "
            f"{setting.python}. The same seed gives the same figures, times excepted, on the same machine."
        ),
    ]


def _preview(setting: Setting) -> list[Block]:
    """What to expect of a report of few runs."""
    if setting.scale != QUICK:
        return []
    runs = f"{count(setting.scale.runs, 'run')}, and {count(setting.scale.torch_runs, 'run')} of torch.nn"
    return [
        Paragraph(
            f"This is a preview, made by `{_command(setting)}`: of {runs} with few epochs. Its figures scatter, and "
            "what is said of them may not hold. Without `--quick` it takes some minutes."
        )
    ]


def _command(setting: Setting) -> str:
    quick = " --quick" if setting.scale == QUICK else ""
    return f"functional-mlp reproduce{quick} --seed {setting.seed}"


def to_json(result: Reproduction) -> str:
    """All results; what is not a number (NaN, infinity) is null."""
    return json.dumps(_finite(attrs.asdict(result)), allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
