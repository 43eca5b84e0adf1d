"""What values look like in a notebook, and in a terminal: short, and without weights."""

import re
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbclient
import nbformat
import pytest
import torch

import functional_mlp as fm
from functional_mlp import bar
from tests.helpers import KEY

DATA = fm.datasets.disk(KEY, 30)
NETWORK = fm.Sequential(fm.Linear(2, 4), fm.Tanh(), fm.Residual(fm.Linear(4, 4)), fm.Linear(4, 2))
RUN: dict[str, Any] = {"epochs": 12, "batch_size": 10}
LOSS, ADAM = fm.MeanSquaredError(), fm.Adam(0.01)
RESULT = fm.fit(NETWORK, LOSS, ADAM, DATA, key=KEY, validation=DATA, **RUN)
ENSEMBLE = fm.fit_ensemble(NETWORK, LOSS, ADAM, DATA, keys=KEY.split(30), **RUN)


def wide_table(folder: Path) -> fm.tables.Table:
    """A file of 40 columns of words, as it is read."""
    rows = [[f"word {(row * column) % 7}" for column in range(40)] for row in range(30)]
    lines = [",".join(f"column {column}" for column in range(40)), *(",".join(row) for row in rows)]
    (folder / "table.csv").write_text("\n".join(lines))
    return fm.tables.read_table(folder / "table.csv", "column 1")


with tempfile.TemporaryDirectory() as folder:
    TABLE = wide_table(Path(folder))
    fm.save(Path(folder) / "m", RESULT.state, network=NETWORK, optimizer=ADAM, history=RESULT.history)
    SAVED = fm.load(Path(folder) / "m")
PARTS = fm.tables.split_table(TABLE, KEY)
SHOWN = {
    "network": NETWORK,
    "params": RESULT.params[0],
    "optimizer state": RESULT.state.optimizer_state,
    "state": RESULT.state,
    "result": RESULT,
    "history": RESULT.history,
    "data": DATA,
    "classes": fm.Dataset(DATA.inputs, DATA.labels),
    "rows of many features": fm.Dataset(torch.zeros(9, 3000), torch.zeros(9, 2000)),
    "ensemble": ENSEMBLE,
    "histories": ENSEMBLE.history,
    "metrics": fm.evaluate(NETWORK, LOSS, RESULT.params, DATA),
    "metrics of members": fm.ensemble.evaluate(NETWORK, LOSS, ENSEMBLE.params, DATA),
    "table": TABLE,
    "parts": PARTS,
    "preparation": PARTS.preparation,
    "saved": SAVED,
    "native code": fm.engine.compile(NETWORK, LOSS, ADAM, batch_size=10),
}
UNTRAINED = fm.FitResult(fm.TrainState(ADAM.init(NETWORK.init(KEY)), KEY, 0), fm.History())


class Tags(HTMLParser):
    """Whether each tag that is opened is closed, and the texts between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("value", SHOWN.values(), ids=SHOWN)
def test_a_repr_is_short_and_has_no_weights(value: Any) -> None:
    text = repr(value)
    assert len(text) < 1000
    assert "tensor(" not in text
    assert f"{RESULT.params[0].weight[0, 0]:.4f}" not in text


@pytest.mark.parametrize("value", [value for value in SHOWN.values() if hasattr(value, "_repr_html_")], ids=repr)
def test_tables_of_notebooks_are_whole(value: Any) -> None:
    tags = Tags(value._repr_html_())
    assert not tags.open
    assert len(value._repr_html_()) < 20_000
    assert len([text for text in tags.texts if text.strip()]) > 5


def test_what_tables_say() -> None:
    assert repr(RESULT).startswith("<FitResult after 12 epochs: train_loss 0.")
    assert repr(RESULT.params[0]) == "LinearParams(weight=<float32 (4, 2)>, bias=<float32 (4,)>)"
    assert repr(fm.History()) == "<History of 0 epochs>"
    assert repr(UNTRAINED) == "<FitResult after 0 epochs>"
    assert "<td>12</td>" in RESULT.history._repr_html_()
    assert "validation_loss" not in ENSEMBLE.member(0).history._repr_html_()
    assert "<td>float32</td>" in RESULT.params[0]._repr_html_()
    assert "<caption>42 parameters</caption>" in NETWORK._repr_html_()
    assert fm.Tanh()._repr_html_() is None  # its formula is shown
    assert ENSEMBLE._repr_html_().count("<tr>") == 31
    assert repr(ENSEMBLE.history).startswith("<EnsembleHistory of 30 members and 12 epochs: train_loss 0.")
    assert re.search(r"<tr><td>12</td><td>0\.\d+ ± 0\.\d+</td>", ENSEMBLE.history._repr_html_())
    assert repr(fm.EnsembleHistory(())) == "<EnsembleHistory of 0 members and 0 epochs>"
    assert repr(TABLE) == "<Table of 30 rows and 39 features, target 'column 1' with 7 classes>"
    assert repr(SAVED).startswith(f"<Saved {NETWORK!r} after 12 epochs: train_loss 0.")
    assert "nan" not in ENSEMBLE._repr_html_()
    assert fm.History()._repr_html_().count("<tr>") == 1
    assert "<Odd>" not in fm.Sequential(Odd(), fm.Linear(2, 2))._repr_html_()


class Odd(fm.Tanh):
    def __repr__(self) -> str:
        return "<Odd>"


@pytest.mark.parametrize("train", [fm.fit, fm.fit_ensemble])
def test_progress_is_a_bar(capsys: pytest.CaptureFixture[str], train: Any) -> None:
    keys: Any = {"key": KEY} if train is fm.fit else {"keys": KEY.split(2)}
    train(NETWORK, LOSS, ADAM, DATA, progress=True, **keys, **RUN)
    out, err = capsys.readouterr()
    assert (out, re.findall(r"epoch \d+/12", err)[-1:]) == ("", ["epoch 12/12"])
    train(NETWORK, LOSS, ADAM, DATA, progress=False, **keys, **RUN)
    assert capsys.readouterr() == ("", "")


def test_a_bar_is_drawn_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    handle = SimpleNamespace(update=drawn.append)
    shows = SimpleNamespace(HTML=str, display=lambda picture, display_id: drawn.append(picture) or handle)
    monkeypatch.setitem(sys.modules, "IPython.display", shows)
    picture = bar.NotebookBar(100, pause=1000.0)
    for done in range(1, 101):
        picture(float(done))
    assert [text.split("> ")[-1].split(",")[0] for text in drawn] == ["epoch 0/100", "epoch 100/100"]
    picture = bar.NotebookBar(100, pause=0.0)
    picture(50.0)
    assert len(drawn) == 4


NOTEBOOK = """
import functional_mlp as fm
data, network = fm.datasets.disk(fm.random.key(0), 50), fm.Sequential(fm.Linear(2, 4), fm.Tanh(), fm.Linear(4, 2))
run = {"key": fm.random.key(1), "epochs": 20, "progress": True}
result = fm.fit(network, fm.MeanSquaredError(), fm.Adam(0.01), data, **run)
---
network
---
result
---
fm.plotting.learning_curves(result.history)
"""


def test_a_notebook_shows_values_and_figures(tmp_path: Any) -> None:
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in NOTEBOOK.split("---")]
    book = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [[output["data"] for output in cell.outputs if "data" in output] for cell in book.cells]
    assert not [output for cell in book.cells for output in cell.outputs if output["output_type"] == "stream"]
    (progress,), (table,), (end,), (figure,) = outputs
    assert progress["text/html"].startswith('<progress value="20" max="20"')
    assert table["text/html"].startswith("<table><caption>22 parameters</caption>")
    assert "FitResult after 20 epochs" in end["text/html"]
    assert figure["image/png"].startswith("iVBOR")  # a PNG in base 64
