"""The command's saved networks: train --out and --resume, predict, inspect."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars
import pytest
import torch

import functional_mlp as fm
from functional_mlp.cli import main
from functional_mlp.cli.model import Model
from functional_mlp.tables import read_table

PROGRAM = str(Path(sys.executable).with_name("functional-mlp"))
TRAIN = ("train", "--data", "points.csv", "--target", "side", "--engine", "reference", "--out", "model.safetensors")
PREDICT = ("predict", "--model", "model.safetensors", "--data", "points.csv", "--out")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the command in a folder with a table of two classes that a line separates."""
    monkeypatch.chdir(tmp_path)
    points = fm.random.uniform(fm.random.key(7), (80, 2), dtype=torch.float64).tolist()
    lines = [f"{x},{1000 * y},{'above' if y > x else 'below'}" for x, y in points]
    Path("points.csv").write_text("\n".join(["width,height,side", *lines]))

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_a_run_that_is_resumed_is_an_unbroken_one(run: Run) -> None:
    train = (*TRAIN, "--decay", "0.9")
    for epochs in ("2", "3", "5"):
        code, out, _ = run(*train, "--epochs", epochs, "--resume")
        assert (code, out.splitlines()[-1]) == (0, "model: model.safetensors")
    resumed = fm.load("model.safetensors")
    Path("model.safetensors").unlink()
    assert run(*train, "--epochs", "5")[0] == 0
    unbroken = fm.load("model.safetensors")
    assert fm.pytree.equal(resumed.state, unbroken.state)
    assert resumed.history.train_loss == unbroken.history.train_loss
    assert resumed.history.validation_accuracy == unbroken.history.validation_accuracy


def test_a_step_size_that_falls_to_0_goes_on_along_the_way_to_the_new_end(run: Run) -> None:
    for epochs in ("2", "4"):
        assert run(*TRAIN, "--epochs", epochs, "--resume")[0] == 0
    ways = [fm.schedules.cosine_decay(epochs) for epochs in (2, 2, 4, 4)]
    expected = [0.003 * way(epoch) for epoch, way in enumerate(ways)]
    assert fm.load("model.safetensors").history.learning_rate == pytest.approx(expected)


@pytest.mark.parametrize("loss", ["mse", "cross-entropy"])
def test_predict_gives_classes_and_probabilities_on_the_scale_of_the_table(run: Run, loss: str) -> None:
    assert run(*TRAIN, "--loss", loss, "--epochs", "60")[0] == 0
    assert run(*PREDICT, "answers.csv") == (0, "80 rows: answers.csv\n", "")
    answers = polars.read_csv("answers.csv")
    assert answers.columns == ["side", "probability of above", "probability of below"]
    shares = answers.drop("side").to_torch()
    assert torch.allclose(shares.sum(1), torch.ones(80, dtype=torch.float64))
    assert shares.min() >= 0
    given = [("above", "below")[label] for label in shares.argmax(1).tolist()]
    assert answers["side"].to_list() == given
    assert (answers["side"] == polars.read_csv("points.csv")["side"]).mean() > 0.9
    saved, table = fm.load("model.safetensors"), read_table("points.csv", "side")
    scales = [recipe["scale"] for recipe in saved.extra["data"]["preparation"]["recipes"]]
    mean, std = (torch.tensor([scale[name] for scale in scales]) for name in ("mean", "std"))
    inputs = (table.columns.to_torch() - mean) / std
    outputs = fm.predict(saved.network, saved.params, inputs.float())
    assert outputs.argmax(1).tolist() == shares.argmax(1).tolist()
    if loss == "cross-entropy":
        assert torch.allclose(outputs.softmax(1).double(), shares, atol=1e-5)


def test_predict_finds_columns_by_name_and_writes_parquet(run: Run) -> None:
    assert run(*TRAIN, "--epochs", "2")[0] == 0
    assert run(*PREDICT, "answers.csv")[0] == 0
    polars.read_csv("points.csv").select("side", "height", polars.lit("x").alias("note"), "width").write_csv(
        "points.csv"
    )
    assert run(*PREDICT, "answers.parquet")[0] == 0
    expected = polars.read_csv("answers.csv")
    assert polars.read_parquet("answers.parquet")["side"].equals(expected["side"])


def test_the_papers_network_predicts_points(run: Run) -> None:
    assert run("train", "--epochs", "1", "--batch-size", "50", "--out", "model.safetensors")[0] == 0
    polars.read_csv("points.csv").rename({"width": "x1", "height": "x2"}).write_csv("points.csv")
    assert run(*PREDICT, "answers.csv")[0] == 0
    assert polars.read_csv("answers.csv").columns == ["class", "probability of outside", "probability of inside"]


def test_inspect_tells_what_a_file_holds(run: Run) -> None:
    assert run(*TRAIN, "--epochs", "3", "--hidden", "4")[0] == 0
    code, out, err = run("inspect", "--model", "model.safetensors")
    assert (code, err) == (0, "")
    assert "optimizer Adam(0.003)\nloss      CrossEntropy()\nepochs    3, 6 updates, learning rate" in out
    assert re.search(r"losses    training loss \d\.\d{4}  validation loss \d\.\d{4}", out)
    assert "target    side, classes\nfeatures  width, height\nclasses   above, below" in out
    assert re.search(r"│ width +│ number +│ \(x − 0\.\d+\) / 0\.\d+", out)
    assert out.endswith(fm.load("model.safetensors").network.summary() + "\n")


def test_inspect_tells_of_files_that_the_library_saved(run: Run) -> None:
    network = fm.Linear(2, 1)
    fm.save("a", network.init(fm.random.key(0)), network=network, optimizer=fm.SGD(0.1), extra=[1])
    code, out, _ = run("inspect", "--model", "a")
    assert (code, out.splitlines()[:3]) == (0, ["optimizer SGD(0.1)", "loss      not saved", "extra     [1]"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (TRAIN, "model.safetensors is there already: go on with it by --resume, or name another file"),
        ((*TRAIN, "--resume", "--hidden", "5"), "network.layers[0].out_features is 4, expected 5"),
        ((*TRAIN, "--resume", "--hidden", "4", "--learning-rate", "1"), "was trained by Adam(0.003), and not by Adam"),
        ((*TRAIN, "--resume", "--hidden", "4", "--epochs", "1"), "at least the 2 that model.safetensors has had"),
        ((*TRAIN, "--resume", "--hidden", "4", "--batch-size", "8"), "batch_size is 32 there, and 8 in this call (see"),
        ((*TRAIN, "--resume", "--hidden", "4", "--decay", "1"), "(see --decay): give what it was started with, name"),
        ((*TRAIN, "--resume", "--hidden", "4", "--seed", "1"), "was trained on other data"),
        (("train", "--resume"), "--resume goes on with the file of --out: name it"),
        (("train", "--out", "none/model"), "No such file or directory: 'none/model'"),
        (("train", "--out", "points.csv", "--resume"), "points.csv: is not a checkpoint of functional_mlp"),
        ((*PREDICT, "answers.txt"), "--out: a table is a .csv or a .parquet file, got 'answers.txt'"),
        (("predict", "--model", "none", *PREDICT[3:], "a.csv"), "No such file or directory: 'none'"),
        (("predict", "--model", "other", *PREDICT[3:], "a.csv"), "does not say what its features"),
        (("predict", "--model", "points.csv", *PREDICT[3:], "a.csv"), "is not a checkpoint"),
        ((*PREDICT[:4], "thin.csv", "--out", "a.csv"), "there is no column 'height'"),
        (("inspect", "--model", "points.csv"), "points.csv: is not a checkpoint of functional_mlp"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ",
)  # fmt: skip
def test_what_cannot_be_done_is_one_line_and_1(run: Run, arguments: tuple[str, ...], message: str) -> None:
    assert run(*TRAIN, "--epochs", "2", "--hidden", "4")[0] == 0
    fm.save("other", (), network=fm.Tanh(), optimizer=fm.SGD(0.1))
    Path("thin.csv").write_text("width\n1\n2\n")
    before = Path("model.safetensors").read_bytes()
    code, _, err = run(*arguments)
    assert code == 1
    assert message in err
    assert err.count("\n") == 1
    assert Path("model.safetensors").read_bytes() == before


def test_changes_may_be_meant(run: Run) -> None:
    assert run(*TRAIN, "--epochs", "2")[0] == 0
    changed = (*TRAIN, "--resume", "--epochs", "4", "--batch-size", "8", "--decay", "1", "--learning-rate", "0.01")
    assert run(*changed)[0] == 1
    code, _, err = run(*changed, "--with-changes")
    assert (code, fm.load("model.safetensors").state.epoch) == (0, 4), err
    assert fm.load("model.safetensors").history.learning_rate[2:] == (0.01, 0.01)
    assert run(*changed)[0] == 0  # those are its settings now


def test_a_disk_that_fills_up_is_said_in_a_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, calls = os.replace, []

    def full(source: str, target: str) -> None:
        calls.append(target)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    code, out, err = run(*TRAIN, "--epochs", "4")
    assert (code, fm.load("model.safetensors").state.epoch) == (0, 1)
    assert "Results" in out
    assert [line for line in err.splitlines() if not line.startswith("epoch")] == [
        "functional-mlp: the checkpoint could not be saved, and training goes on: "
        "[Errno 28] No space left on device: 'model.safetensors'"
    ]


def test_ctrl_c_saves_what_was_learnt(run: Run) -> None:
    command = [PROGRAM, *TRAIN, "--epochs", "1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("epoch  100/1000")
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    epoch = fm.load("model.safetensors").state.epoch
    assert f"interrupted after {epoch} of 1000 epochs" in err
    code, out, _ = run(*TRAIN, "--epochs", str(epoch + 1), "--resume")
    assert code == 0
    assert out.endswith("model: model.safetensors\n")


def test_early_stopping_shows_and_saves_the_best_network(run: Run) -> None:
    command = (*TRAIN, "--epochs", "400", "--learning-rate", "0.3", "--early-stopping", "3")
    code, out, err = run(*command, "--plot", "run.png")
    saved = fm.load("model.safetensors")
    assert code == 0, err
    assert f"stopped early after {saved.state.epoch} epochs" in out
    assert f"the results of the best, epoch {saved.best.epoch}" in out
    assert saved.state.epoch == saved.best.epoch + 3
    found = json.loads(run(*command, "--resume", "--json")[1])
    assert (found["stopped_early"], found["epochs"]) == (True, saved.state.epoch)
    several = json.loads(run(*TRAIN[:-2], *command[len(TRAIN) :], "--cross-validate", "2", "--json")[1])
    assert [len(history["train_loss"]) for history in several["history"]] == several["epochs"]
    assert several["stopped_early"] == [True, True]
    assert run(*command, "--resume")[0] == 0  # it is over, and trains no more
    assert fm.load("model.safetensors").state.epoch == saved.state.epoch
    model = Model.load(Path("model.safetensors"))
    columns = read_table("points.csv", preparation=model.about.preparation).columns
    inputs = model.about.preparation.apply(columns)
    best = fm.predict(saved.network, saved.best.optimizer_state.params, inputs).double().softmax(1)
    assert torch.allclose(model.probabilities(columns)[0], best, rtol=0, atol=1e-6)


def test_early_stopping_waits_for_an_epoch(run: Run) -> None:
    code, _, err = run(*TRAIN, "--early-stopping", "0")
    assert (code, err) == (1, "functional-mlp: --early-stopping must be a positive integer, got 0\n")
