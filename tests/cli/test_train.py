"""The command, run in process and as the installed program."""

import inspect
import io
import itertools
import json
import math
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import polars
import pytest
import torch
from rich.console import Console

import functional_mlp as fm
from functional_mlp.cli.network import ACTIVATIONS, parse_initializer
from functional_mlp.cli.progress import training_display
from functional_mlp.cli.scores import confusion_matrix
from functional_mlp.cli.training import EngineName

PROGRAM = str(Path(sys.executable).with_name("functional-mlp"))


@pytest.fixture
def table(tmp_path) -> str:
    """A table of two features whose two classes a line separates."""
    points = fm.random.uniform(fm.random.key(7), (80, 2), dtype=torch.float64).tolist()
    lines = [f"{x},{1000 * y},{'above' if y > x else 'below'}" for x, y in points]
    (tmp_path / "points.csv").write_text("\n".join(["width,height,side", *lines]))
    return "points.csv"


def metrics(out: str, part: str) -> tuple[float, float]:
    """Loss and accuracy of a part in the printed table."""
    loss, accuracy = re.search(rf"{part} +│ +[\d,]+ │ +([\d.]+) │ +([\d.]+)", out).groups()
    return float(loss), float(accuracy)


def test_train_repeats_the_paper(run):
    code, out, err = run("train", "--epochs", "3", "--seed", "5")
    assert code == 0
    assert "network   2-25-25-25-2, relu, relu, tanh, uniform(-1,1): 1,427 parameters" in out
    assert "training  mse, sgd 0.01, decay 0.9, batch size 1, 3 epochs, seed 5" in out
    assert "3,000 samples in" in out
    assert re.search(r"epoch 3/3  training loss \d\.\d+  validation loss \d\.\d+", err)

    data_key, fit_key = fm.random.key(5).split()
    data, validation = map(fm.datasets.disk, data_key.split())
    init = fm.initializers.uniform(-1.0, 1.0)
    sizes, activations = (2, 25, 25, 25, 2), (fm.ReLU(), fm.ReLU(), fm.Tanh(), None)
    linears = [fm.Linear(a, b, weight_init=init, bias_init=init) for a, b in itertools.pairwise(sizes)]
    layers = [layer for pair in zip(linears, activations, strict=True) for layer in pair if layer is not None]
    network, loss, schedule = fm.Sequential(*layers), fm.MeanSquaredError(), fm.schedules.exponential_decay(0.9)
    result = fm.fit(network, loss, fm.SGD(0.01), data, key=fit_key, epochs=3, schedule=schedule)
    for part, name in ((data, "training"), (validation, "validation")):
        expected = fm.evaluate(network, loss, result.params, part)
        assert metrics(out, name) == pytest.approx((expected.loss, expected.accuracy), abs=1e-4)
    matrix = confusion_matrix(fm.classify(network, result.params, validation.inputs), validation.labels, 2)
    for name, row in zip(("outside", "inside"), matrix.tolist(), strict=True):
        assert re.search(rf"{name} +│ +{row[0]} │ +{row[1]} │", out)


def test_train_learns_a_table(run, table):
    code, out, _ = run("train", "--data", table, "--target", "side")
    assert code == 0
    assert "data      points.csv, classes from 'side': 2 features, 2 classes" in out
    assert "network   2-100-2, gelu, kaiming_uniform: 502 parameters" in out
    settings = "cross-entropy, adam 0.003, decay along a cosine, batch size 32, 1000 epochs, seed 0, l2 0.094"
    assert f"training  {settings}" in out
    assert metrics(out, "training")[1] > 0.95
    assert metrics(out, "validation")[1] > 0.9


def test_train_reads_parquet_and_class_numbers(run, table):
    frame = polars.read_csv(table).with_columns((polars.col("side") == "above").cast(polars.Int64))
    frame.write_parquet("points.parquet")
    code, out, _ = run("train", "--data", "points.parquet", "--target", "side", "--epochs", "2")
    assert code == 0
    assert re.search(r"┃ +0 ┃ +1 ┃", out)


def test_the_validation_share_may_be_zero(run, table):
    code, out, _ = run("train", "--data", table, "--target", "side", "--epochs", "1", "--validation-share", "0")
    assert code == 0
    assert "validation" not in out
    assert "Confusion matrix (training)" in out


def test_the_same_seed_gives_the_same_results(run, table):
    def results(seed: str) -> str:
        out = run("train", "--data", table, "--target", "side", "--epochs", "2", "--seed", seed)[1]
        return out[out.index("Results") : out.index("samples in")]

    assert results("1") == results("1")
    assert results("1") != results("2")


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "lion"])
def test_every_optimizer_trains(run, optimizer):
    loss = "mse" if optimizer in ("sgd", "adam") else "cross-entropy"
    beta = [] if optimizer == "sgd" else ["--beta", "0.5"]
    settings = ["--batch-size", "100", "--epochs", "1", "--dtype", "float64", "--decay", "1", "--learning-rate", "0.02"]
    code, out, _ = run("train", "--optimizer", optimizer, "--loss", loss, *beta, *settings)
    assert code == 0
    shown = f"{optimizer} 0.02, beta 0.5" if beta else f"{optimizer} 0.02"
    assert f"training  {loss}, {shown}, decay 1, batch size 100, 1 epoch," in out


def test_smoothing_weight_decay_and_l2_are_said_and_change_what_is_learnt(run):
    arguments = ["--loss", "cross-entropy", "--optimizer", "lion", "--epochs", "2", "--batch-size", "20"]
    plain = run("train", *arguments)[1]
    for given, said in (
        (["--label-smoothing", "0.1"], "lion 0.001, label smoothing 0.1, decay"),
        (["--weight-decay", "0.2"], "lion 0.001, weight decay 0.2, decay"),
        (["--l2", "0.5"], "lion 0.001, l2 0.5, decay"),
        (["--l1", "0.5"], "lion 0.001, l1 0.5, decay"),
    ):
        code, out, _ = run("train", *arguments, *given)
        assert code == 0
        assert said in out
        assert out[out.index("│") :] != plain[plain.index("│") :]


def test_balanced_class_weights_are_said_and_let_each_class_count_the_same(run, tmp_path):
    lines = [f"{x},{'rare' if x == 0 else 'common'}" for x in (0, 1, 2, 3, 0, 4, 5, 6, 7, 8, 9, 3, 4, 5)]
    (tmp_path / "rare.csv").write_text("\n".join(["x,kind", *lines]))
    arguments = ["train", "--data", str(tmp_path / "rare.csv"), "--target", "kind", "--validation-share", "0"]
    plain = run(*arguments, "--epochs", "1", "--learning-rate", "1e-9")
    code, out, _ = run(*arguments, "--epochs", "1", "--learning-rate", "1e-9", "--class-weights", "balanced")
    assert (code, plain[0]) == (0, 0)
    assert "balanced class weights: 1 feature, 2 classes" in out
    # With hardly a step the answers are the same, and so are the counts; their shares are taken a class each.
    counts, plainly = (
        re.findall(r"(?:rare|common) +│ +(\d+) │ +(\d+)", text[text.index("Confusion") :]) for text in (out, plain[1])
    )
    assert counts == plainly
    (common, wrong_common), (wrong_rare, rare) = ([int(n) for n in row] for row in counts)
    shares = common / (common + wrong_common), rare / (rare + wrong_rare)
    assert metrics(out, "training")[1] == pytest.approx(sum(shares) / 2, abs=1e-4)


def test_a_checkpoint_is_told_apart_by_its_l2(run, tmp_path):
    arguments = ["train", "--epochs", "1", "--batch-size", "50", "--out", str(tmp_path / "m.safetensors"), "--resume"]
    assert run(*arguments, "--l2", "0.1")[0] == 0
    code, _, err = run(*arguments, "--l2", "0.2")
    assert (code, "--l2" in err) == (1, True)


def test_summary_shows_the_network_of_its_options(run):
    code, out, _ = run("summary", "--inputs", "4", "--outputs", "3", "--hidden", "8,5", "--activation", "tanh,gelu")
    network = fm.Sequential(fm.Linear(4, 8), fm.Tanh(), fm.Linear(8, 5), fm.GELU(), fm.Linear(5, 3))
    assert (code, out) == (0, network.summary() + "\n")


def test_summary_prints_the_equations(run):
    code, out, _ = run("summary", "--hidden", "3", "--activation", "gelu", "--math")
    network = fm.Sequential(fm.Linear(2, 3), fm.GELU(), fm.Linear(3, 2))
    assert (code, out) == (0, f"{network.summary()}\n\n{fm.latex(network)}\n")


def test_the_equations_are_in_the_json_of_a_summary(run):
    plain, shown = (json.loads(run("summary", "--hidden", "3", "--json", *more)[1]) for more in ((), ("--math",)))
    assert shown == plain | {"equations": fm.latex(fm.Sequential(fm.Linear(2, 3), fm.ReLU(), fm.Linear(3, 2)))}
    assert "equations" not in plain


def test_summary_without_options_shows_the_papers_network(run):
    out = run("summary")[1]
    assert [line.split()[0] for line in out.splitlines()[2:-2]] == [
        "Linear(2,", "ReLU()", "Linear(25,", "ReLU()", "Linear(25,", "Tanh()", "Linear(25,"
    ]  # fmt: skip
    assert out.splitlines()[-1].split() == ["total", "1427"]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_one_activation_serves_all_hidden_layers(run, name):
    out = run("summary", "--hidden", "3,3", "--activation", name)[1]
    assert out.count(f"{ACTIVATIONS[name]()!r} ") == 2


def test_an_initializer_is_written_as_the_code_that_makes_it():
    inits = fm.initializers
    assert parse_initializer("uniform(-0.5, 2)") == {
        "weight_init": inits.uniform(-0.5, 2.0),
        "bias_init": inits.uniform(-0.5, 2.0),
    }
    assert parse_initializer("torch_default()")["bias_init"] == inits.torch_default()
    assert parse_initializer("xavier_normal") == {"weight_init": inits.xavier_normal()}


def test_the_version_is_the_librarys(run):
    assert run("--version") == (0, fm.__version__ + "\n", "")


def test_the_command_knows_the_engines_of_the_library():
    assert get_args(EngineName) == get_args(inspect.signature(fm.fit).parameters["engine"].annotation)


def test_the_help_names_every_option(run):
    code, out, _ = run("train", "--help")
    assert code == 0
    names = (
        "data target validation-share hidden activation initializer epochs batch-size loss optimizer learning-rate "
        "beta decay seed engine device dtype plot"
    )
    for name in names.split():
        assert f" --{name} " in out
    assert "summary" in run("--help")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--foo"], "Unknown option"),
        (["--epochs", "2.5"], "Invalid value for --epochs: expected a whole number, got '2.5'"),
        (["--batch-size", "many"], "expected a whole number, got 'many'"),
        (["--learning-rate", "small"], 'unable to convert "small" into float'),
        (["--optimizer", "lbfgs"], "Choose from"),
        (["--hidden", "25,,25"], "expected widths joined by commas, such as 25,25,25, got '25,,25'"),
        (["table.csv"], "Unused Tokens"),
    ],
)
def test_a_command_that_cannot_be_understood_exits_with_2(run, arguments, message):
    code, out, err = run("train", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hidden", "25,0"], "--hidden: a layer has at least one unit"),
        (["--activation", "swish"], "--activation: there is no 'swish': choose from relu, tanh"),
        (["--activation", "relu,tanh"], "--activation names 2 functions for 3 hidden layers"),
        (["--initializer", "uniform"], "--initializer: write 'uniform(LOW,HIGH)', got 'uniform'"),
        (["--initializer", "uniform(a,b)"], "--initializer: uniform takes numbers"),
        (["--initializer", "orthogonal"], "--initializer: there is no 'orthogonal'"),
        (["--beta", "0.9"], "--beta: sgd keeps nothing of the past"),
        (["--optimizer", "adam", "--beta", "1"], "--beta must be a finite number in [0.0, 1.0)"),
        (["--weight-decay", "0.1"], "--weight-decay: sgd has none: choose adamw or lion, or give --l2"),
        (["--delta", "2"], "--delta is of huber, got the loss mse: add --loss huber"),
        (["--delta", "0", "--loss", "huber"], "--delta must be a finite number in (0.0"),
        (["--l1", "-1"], "--l1 must be a finite number in [0.0"),
        (["--l1", "0.1", "--l2", "0.1"], "--l1 and --l2 are two penalties, and a training has one"),
        (["--label-smoothing", "0.1"], "--label-smoothing is of cross-entropy, got the loss mse"),
        (
            ["--loss", "cross-entropy", "--label-smoothing", "1"],
            "--label-smoothing must be a finite number in [0.0, 1.0)",
        ),
        (["--l2", "-1"], "--l2 must be"),
        (["--learning-rate", "nan"], "--learning-rate must be a finite number"),
        (["--decay", "0"], "--decay must be a finite number in (0.0, 1.0]"),
        (["--batch-size", "0"], "--batch-size must be a positive integer, got 0"),
        (["--epochs", "0"], "--epochs must be a positive integer, got 0"),
        (["--device", "abacus"], "--device: torch cannot compute on 'abacus' here"),
        (["--target", "side"], "--target, --validation-share and the like describe a table: name it"),
        (["--data", "points.csv"], "--data needs --target COLUMN"),
        (["--data", "points.csv", "--target", "color"], "there is no column 'color': the columns are 'width'"),
        (["--data", "none.csv", "--target", "side"], "none.csv: there is no such file"),
        (
            ["--data", "points.csv", "--target", "side", "--validation-share", "1"],
            "--validation-share must be a share from 0 to below 1, got 1",
        ),
        (["--plot", "curves.gif"], "--plot: a plot is a file .png, .svg, .pdf, got 'curves.gif'"),
        (["--plot", "none/curves.png"], "none/curves.png"),
    ],
)
def test_a_bad_setting_exits_with_1_and_one_line(run, table, arguments, message):
    code, out, err = run("train", *arguments)
    assert (code, out) == (1, "")
    assert message in err
    assert err.startswith("functional-mlp: ")
    assert err.count("\n") == 1


def test_training_that_diverges_ends_with_the_last_finite_state_and_1(run):
    code, out, err = run("train", "--learning-rate", "1e9", "--batch-size", "100", "--epochs", "20")
    assert code == 1
    assert "the loss stopped being finite in epoch" in err.splitlines()[-1]
    assert all(map(math.isfinite, metrics(out, "training")))


def test_plots_are_written(run, table):
    code, out, _ = run("train", "--data", table, "--target", "side", "--epochs", "2", "--plot", "run.png")
    assert code == 0
    assert out.splitlines()[-2:] == ["plot: run.png", "plot: run-boundary.png"]
    for name in ("run.png", "run-boundary.png"):
        assert Path(name).read_bytes().startswith(b"\x89PNG")


def test_the_boundary_is_drawn_for_two_features_only(run, table):
    polars.read_csv(table).drop("height").write_csv("line.csv")
    code, out, _ = run("train", "--data", "line.csv", "--target", "side", "--epochs", "1", "--plot", "run.png")
    assert code == 0
    assert "1 feature, 2 classes" in out
    assert sorted(path.name for path in Path().glob("*.png")) == ["run.png"]


def test_a_plot_that_cannot_be_written_leaves_no_file(run):
    Path("run-boundary.png").mkdir()
    assert run("train", "--plot", "run.png")[0] == 1
    assert not Path("run.png").exists()


def test_more_classes_than_a_matrix_has_room_for_are_listed_by_mistake(run):
    rows = [f"{i % 40},class number {i % 40}" for i in range(160)]
    Path("many.csv").write_text("\n".join(["x,t", *rows]))
    code, out, _ = run("train", "--data", "many.csv", "--target", "t", "--epochs", "1")
    assert code == 0
    assert "Most frequent mistakes (validation)" in out
    assert re.search(r"│ class number \d+ +│ class number \d+ +│ +1 │", out)


def test_names_are_shown_as_they_are(run):
    rows = [f"{i},{'[red]' if i % 2 else '[/x]'}" for i in range(20)]
    Path("a [b].csv").write_text("\n".join(["x,[bold]", *rows]))
    code, out, _ = run("train", "--data", "a [b].csv", "--target", "[bold]", "--epochs", "1")
    assert code == 0
    assert "a [b].csv, classes from '[bold]'" in out
    assert "[red]" in out
    assert "[/x]" in out


def test_a_terminal_gets_a_bar_with_the_losses():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    record = fm.EpochRecord(0.25, 0.9, 0.125, 0.9, 0.01, 0.1)
    with training_display(console, 4) as display:
        display.progress(0.5)
        display.callback(0, None, fm.History.of([record]))
    assert "epoch 1/4" in screen.getvalue()
    assert "training loss 0.2500  validation loss 0.1250" in screen.getvalue()


def test_ctrl_c_before_training_exits_with_130(run, monkeypatch):
    def interrupt(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("functional_mlp.tables.read_table", interrupt)
    code, _, err = run("train", "--data", "x.csv", "--target", "t")
    assert (code, err) == (130, "functional-mlp: interrupted\n")


def test_the_installed_program_writes_plain_text_into_a_pipe():
    done = subprocess.run([PROGRAM, "train", "--epochs", "1", "--batch-size", "50"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "validation" in done.stdout
    for text in (done.stdout, done.stderr):
        assert "\x1b" not in text
        assert "\r" not in text
    failed = subprocess.run([PROGRAM, "train", "--decay", "7"], capture_output=True, text=True)
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr


def test_ctrl_c_ends_training_with_what_was_learnt_and_130():
    command = [PROGRAM, "train", "--engine", "reference", "--epochs", "1000", "--batch-size", "20"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline().startswith("epoch  100/1000")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert metrics(out, "validation")[1] > 0.6
    assert "samples a second" in out
    assert re.fullmatch(
        r"functional-mlp: interrupted after \d+ of 1000 epochs; the results are those so far", err.splitlines()[-1]
    )
    assert "Traceback" not in err


def test_the_library_does_not_load_what_only_the_command_needs():
    code = (
        "import sys, functional_mlp\n"
        "print(sorted({'cyclopts', 'rich', 'polars', 'matplotlib', 'hypothesis'} & set(sys.modules)))\n"
        "import functional_mlp.cli\n"
        "print(sorted({'polars', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]"]
