"""The whole job on tables as people have them: train, evaluate, predict, compare, for people and for machines."""

import json
import re
from pathlib import Path

import polars
import pytest
import torch

import functional_mlp as fm
from functional_mlp.cli.model import Model
from functional_mlp.cli.scores import area_under_curve, probabilities_of, score_classes, score_quantities

QUICK = ("--engine", "reference", "--batch-size", "16", "--hidden", "6")


@pytest.fixture
def tables(tmp_path: Path, run) -> None:
    """Two tables of rooms, with words, dates, missing values and numbers of rows: their quality, and their price."""
    draws = fm.random.uniform(fm.random.key(3), (90, 3), dtype=torch.float64).tolist()
    rows = []
    for index, (size, height, luck) in enumerate(draws):
        rows.append(
            {
                "": index,
                "id": f"room {index}",
                "size": None if luck < 0.1 else 20 + 80 * size,
                "style": ("old", "new", "odd")[int(3 * luck)],
                "day": f"2024-0{1 + index % 9}-1{index % 7}",
                "quality": "007" if size + 0.3 * height > 0.6 else "7",
                "price": f"{1000 * size + 100 * height:.2f}",
            }
        )
    frame = polars.DataFrame(rows)
    frame.head(60).write_csv("rooms.csv", separator=";")
    frame.tail(30).write_csv("new.csv")


def train(run, *arguments: str):
    return run("train", "--data", "rooms.csv", "--learning-rate", "0.03", "--decay", "1", *QUICK, *arguments)


def results(out: str) -> dict:
    return json.loads(out, parse_constant=pytest.fail)


def test_classes_are_learned_measured_and_predicted(run, tables):
    options = ("--target", "quality", "--drop", "id,price", "--epochs", "60", "--out", "model.safetensors")
    code, out, err = train(run, *options, "--test", "new.csv")
    assert code == 0, err
    assert "data      rooms.csv, classes from 'quality': 3 columns as" in out
    assert "note      'Unnamed: 0' left out: numbers of the rows" in out
    assert "note      columns are separated by semicolons" in out
    assert re.search(r"test +│ +30 │", out)
    assert re.search(r"│ 007 +│ +\d+ │ +[\d.]+ │ +[\d.]+ │ +[\d.]+ │", out)

    code, out, _ = run("evaluate", "new.csv", "--model", "model.safetensors", "--json")
    found = results(out)["results"]["data"]
    assert (code, found["samples"]) == (0, 30)
    assert found["accuracy"] > found["majority"]
    assert found["auc"] > 0.7
    assert [each["name"] for each in found["classes"]] == ["007", "7"]

    code, out, _ = run("predict", "new.csv", "--model", "model.safetensors", "--out", "-", "--keep", "id,quality")
    assert (code, out) == (1, "")  # the predictions have that name
    both = ("--out", "-", "--json")
    assert "--json: with --out -" in run("predict", "new.csv", "--model", "model.safetensors", *both)[2]
    code, out, _ = run("predict", "new.csv", "--model", "model.safetensors", "--out", "-", "--keep", "id,price")
    answers = polars.read_csv(out.encode(), infer_schema=False)
    assert answers.columns == ["id", "price", "quality", "probability of 007", "probability of 7"]
    truth = polars.read_csv("new.csv", infer_schema=False)
    assert answers["price"].equals(truth["price"])
    right = (answers["quality"] == truth["quality"]).mean()
    assert right == pytest.approx(found["accuracy"])


def test_a_quantity_is_learned_in_its_own_units(run, tables):
    options = ("--target", "price", "--drop", "id,quality", "--epochs", "80", "--plot", "run.svg", "--out", "m")
    code, out, err = train(run, *options)
    assert code == 0, err
    assert "quantity 'price'" in out
    assert "'price' is taken for a quantity: it has 60 distinct numbers" in out
    rmse, mae, r2 = map(
        float, re.search(r"training +│ +48 │ +[\d.]+ │ +([\d.e+]+) │ +([\d.]+) │ +([\d.]+)", out).groups()
    )
    mean = float(re.search(r"the mean +│ +│ +│ +([\d.]+)", out).group(1))
    assert mae <= rmse < 0.5 * mean
    assert r2 == pytest.approx(1 - (rmse / mean) ** 2, abs=1e-3)
    assert Path("run.svg").read_text().startswith("<?xml")
    assert "price" in Path("run-predictions.svg").read_text()

    assert run("predict", "--data", "new.csv", "m", "--out", "a.parquet", "--quiet")[:2] == (0, "")
    answers, truth = polars.read_parquet("a.parquet"), polars.read_csv("new.csv")
    assert answers.columns == ["price"]
    found = results(run("evaluate", "new.csv", "--model", "m", "--json")[1])["results"]["data"]
    errors = answers["price"] - truth["price"]
    assert found["rmse"] == pytest.approx((errors**2).mean() ** 0.5)
    assert found["mae"] == pytest.approx(errors.abs().mean())
    code, _, err = run("evaluate", "new.csv", "--model", "m", "--target", "id")
    assert (code, "'id' must hold finite numbers to be a quantity" in err) == (1, True)


def test_an_ensemble_is_saved_and_answers_with_its_spread(run, tables):
    options = ("--target", "price", "--features", "style", "--members", "3", "--out", "m")
    code, out, err = train(run, *options, "--epochs", "20", "--plot", "curves.svg")
    assert code == 0, err
    assert "quantity 'price': 1 column as " in out
    assert out.endswith("plot: curves.svg\nplot: curves-predictions.svg\nmodel: m\n")
    assert "validation samples" in Path("curves-predictions.svg").read_text()
    members = fm.load("m").members
    assert len(members) == 3
    assert run("predict", "new.csv", "--model", "m", "--out", "a.csv")[0] == 0
    answers = polars.read_csv("a.csv")
    assert answers.columns == ["price", "spread"]
    model = Model.load(Path("m"))
    columns = fm.tables.read_table("new.csv", preparation=model.about.preparation).columns
    each = model.quantities(columns)
    assert each.shape == (3, 30)
    assert answers["price"].to_list() == pytest.approx(each.mean(0).tolist())
    assert answers["spread"].to_list() == pytest.approx(each.std(0).tolist())
    found = results(run("evaluate", "new.csv", "--model", "m", "--json")[1])["results"]["data"]
    truth = torch.tensor(polars.read_csv("new.csv")["price"].to_list(), dtype=torch.float64)
    assert found["rmse"] == pytest.approx((each.mean(0) - truth).square().mean().sqrt().item())
    assert "networks  3, of which this is the first:" in run("inspect", "m")[1]
    again = train(run, *options, "--resume", "--epochs", "22")
    assert again[0] == 0, again[2]
    assert [member.state.epoch for member in fm.load("m").members] == [22] * 3


@pytest.mark.parametrize(
    ("target", "columns"),
    [
        ("spread", ["spread", "probability of 007", "probability of 7", "spread_"]),
        ("probability of 7", ["probability of 7", "probability of 007", "probability of 7_", "spread"]),
    ],
)
def test_a_target_with_the_name_of_another_column_keeps_it(run, tables, target, columns):
    polars.read_csv("rooms.csv", separator=";", infer_schema=False).rename({"quality": target}).write_csv("rooms.csv")
    options = ("--target", target, "--features", "size", "--members", "2", "--epochs", "1", "--out", "m")
    assert train(run, *options)[0] == 0
    assert run("predict", "rooms.csv", "--model", "m", "--out", "a.csv", "--keep", "id,id")[0] == 0
    answers = polars.read_csv("a.csv", infer_schema=False)
    assert answers.columns == ["id", *columns]
    assert set(answers[target]) <= {"007", "7"}
    code, _, err = run("predict", "rooms.csv", "--model", "m", "--out", "b.csv", "--keep", target)
    assert (code, f"--keep: '{target}' is the name of a column of the predictions" in err) == (1, True)


def test_trainings_are_validated_on_each_part(run, tables):
    options = ("--target", "quality", "--features", "size", "--epochs", "3", "--cross-validate", "3")
    code, out, err = train(run, *options)
    assert code == 0, err
    assert "Results of 3 trainings" in out
    assert re.search(r"validation +│ +20 │ +[\d.]+ ± [\d.]+ │ +[\d.]+ ± [\d.]+ │", out)
    parts = results(train(run, *options, "--json", "--quiet")[1])["parts"]
    assert [part["validation"]["samples"] for part in parts] == [20, 20, 20]


def test_what_is_to_be_said_of_each_part_is_said(run, tables):
    rows = "".join(f"{7 * index % 11},{index == 5:d},{'ab'[index % 2]}\n" for index in range(12))
    Path("once.csv").write_text(f"x,y,t\n{rows}4,0,c\n")
    options = ("--target", "t", "--epochs", "1", "--cross-validate", "3", "--hidden", "none", "--engine", "reference")
    code, out, err = run("train", "--data", "once.csv", *options)
    assert code == 0, err
    once = "seen once, and so in the training part alone: 'c'"
    left = "'y' left out: it is 0 throughout"
    notes = results(run("train", "--data", "once.csv", *options, "--json")[1])["notes"]
    assert sorted(notes) == [left, once]
    assert out.count(once) == out.count(left) == 1
    assert "folds" not in err


def test_a_network_without_hidden_layers_is_linear(run, tables):
    options = ("--target", "price", "--features", "style", "--hidden", "none", "--epochs", "2")
    code, out, _ = run("train", "--data", "rooms.csv", *options)
    assert code == 0
    assert "network   3-1, kaiming_uniform: 4 parameters" in out


@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_quantities_have_losses_of_their_own(run, tables, loss):
    code, out, _ = train(run, "--target", "price", "--features", "size", "--epochs", "1", "--loss", loss)
    assert code == 0
    assert f"training  {loss}, adam" in out


@pytest.mark.parametrize("members", [(), ("--members", "2")], ids=["one", "two"])
def test_two_classes_are_told_by_one_output(run, tables, members):
    options = ("--target", "quality", "--features", "size,style", "--loss", "bce", "--class-weights", "balanced")
    files = ("--test", "new.csv", "--out", "m", "--plot", "run.svg")
    code, out, err = train(run, *options, *members, *files, "--epochs", "30", "--early-stopping", "30")
    assert code == 0, err
    assert "network   5-6-1, gelu, kaiming_uniform: 43 parameters" in out
    assert "training  bce, adam" in out
    model = Model.load(Path("m"))
    assert (model.loss, model.saved.network.out_features) == (fm.BinaryCrossEntropy(), 1)
    assert run("predict", "new.csv", "--model", "m", "--out", "a.csv")[0] == 0
    answers, truth = (polars.read_csv(path, infer_schema=False) for path in ("a.csv", "new.csv"))
    columns = fm.tables.read_table("new.csv", preparation=model.about.preparation).columns
    inputs = model.about.preparation.apply(columns, torch.float32)
    shares = [fm.predict(model.saved.network, own, inputs).double().sigmoid().squeeze(1) for own in model.members]
    second = torch.stack(shares).mean(0)
    assert answers["probability of 7"].cast(float).to_list() == pytest.approx(second.tolist())
    assert answers["probability of 007"].cast(float).to_list() == pytest.approx((1 - second).tolist())
    assert answers["quality"].to_list() == ["7" if share > 0.5 else "007" for share in second]
    found = results(run("evaluate", "new.csv", "--model", "m", "--json")[1])["results"]["data"]
    assert found["accuracy"] == pytest.approx((answers["quality"] == truth["quality"]).mean())
    assert found["accuracy"] > found["majority"]
    assert "loss      BinaryCrossEntropy()" in run("inspect", "m")[1]
    assert train(run, *options, *members, *files, "--epochs", "31", "--early-stopping", "30", "--resume")[0] == 0


def test_one_output_is_drawn_compared_and_cross_validated(run, tables):
    options = ("--target", "quality", "--features", "size", "--loss", "bce", "--epochs", "1")
    code, out, err = run("train", "--loss", "bce", "--epochs", "1", "--plot", "disk.svg")
    assert code == 0, err
    assert "network   2-25-25-25-1" in out
    assert "misclassified" in Path("disk-boundary.svg").read_text()
    code, out, err = train(run, *options, "--cross-validate", "2")
    assert code == 0, err
    assert re.search(r"validation +│ +30 │ +[\d.]+ ± [\d.]+ │ +[\d.]+ ± [\d.]+ │", out)
    code, _, err = run(
        "sweep", "--data", "rooms.csv", *options, "--l2", "0,1", "--members", "2", "--out", "best", *QUICK[:2]
    )
    assert code == 0, err
    assert run("evaluate", "new.csv", "--model", "best")[0] == 0


def test_machines_get_one_object(run, tables):
    options = ("--target", "quality", "--features", "size", "--epochs", "2", "--json", "--quiet", "--out", "m")
    code, out, err = train(run, *options)
    found = results(out)
    assert (code, err) == (0, "")
    assert found["results"]["training"]["samples"] == 48
    assert len(found["history"]["train_loss"]) == 2
    assert found["model"] == "m"
    for arguments in (
        ("inspect", "m"),
        ("summary", "--hidden", "3"),
        ("trace", "--hidden", "3"),
        ("predict", "new.csv", "--model", "m", "--out", "a.csv"),
        (
            "sweep",
            "--data",
            "rooms.csv",
            "--target",
            "quality",
            *QUICK[:2],
            "--epochs",
            "1",
            "--l2",
            "0,1",
            "--members",
            "1",
        ),
        (*("train", "--data", "rooms.csv", "--target", "quality", *QUICK, "--epochs", "1"), "--members", "2"),
    ):
        code, out, err = run(*arguments, "--json")
        assert code == 0, err
        assert isinstance(results(out), dict)


def test_rows_that_training_has_not_seen_are_told(run, tables):
    assert train(run, "--target", "quality", "--features", "size,style", "--epochs", "1", "--out", "m")[0] == 0
    Path("odd.csv").write_text("size,style,quality\n1e6,new,7\n30,baroque,8\n40,old,007\n")
    code, out, err = run("predict", "odd.csv", "--model", "m", "--out", "a.csv")
    assert (code, out) == (0, "3 rows: a.csv\n")
    assert "'size': 1 value far from those of training" in err
    assert "'style': 1 value not seen in training, 'baroque' the first" in err
    code, out, _ = run("evaluate", "odd.csv", "--model", "m")
    assert "note      odd.csv: 1 row of unknown classes left out, '8' the first" in out
    assert re.search(r"data +│ +2 │", out)


def test_files_of_older_versions_stay_loadable(run, tables):
    scale = {"features": ["size"], "mean": [60.0], "std": [25.0]}
    known = {"data": {"features": ["size"], "classes": ["007", "7"], "standardization": scale}}
    old = fm.Linear(1, 2)
    saved = {"network": old, "optimizer": fm.SGD(0.1), "loss": fm.CrossEntropy()}
    fm.save("old", old.init(fm.random.key(0)), **saved, extra=known)
    Path("rows.csv").write_text("size\n85\n")
    assert run("predict", "rows.csv", "--model", "old", "--out", "a.csv")[0] == 0
    answers = polars.read_csv("a.csv", infer_schema=False)
    expected = old.apply(fm.load("old").params, torch.tensor([1.0])).double().softmax(0)
    assert float(answers["probability of 7"][0]) == pytest.approx(expected[1].item())
    assert answers.columns[0] == "class"
    assert "features  size" in run("inspect", "old")[1]


def test_a_sweep_goes_over_networks_and_keeps_the_best(run, tables):
    grids = ("--hidden", "3/4,4/none", "--batch-size", "8,16", "--l2", "0,0.01", "--learning-rate", "0.01,0.001")
    options = ("--data", "rooms.csv", "--target", "quality", "--drop", "id", "--engine", "reference")
    files = ("--results", "sweep.json", "--out", "best", "--plot", "sweep.pdf")
    code, out, err = run("sweep", *options, *grids, "--epochs", "1", "--members", "2", *files)
    assert code == 0, err
    assert "sweep     24 settings with 2 networks each: hidden 3, 4,4, none; batch size 8, 16; l2 0, 0.01" in out
    figures = json.loads(Path("sweep.json").read_text())
    assert len(figures) == 24
    losses = [each["validation loss"] for each in figures]
    assert losses == sorted(losses)
    best = fm.load("best")
    widths = figures[0]["hidden"]
    assert [layer.out_features for layer in best.network if isinstance(layer, fm.Linear)][:-1] == (
        [] if widths == "none" else list(map(int, widths.split(",")))
    )
    assert run("evaluate", "new.csv", "--model", "best")[0] == 0
    assert Path("sweep.pdf").read_bytes().startswith(b"%PDF")
    code, _, _ = run("sweep", *options, "--beta", "0.5,0.9", "--epochs", "1", "--members", "1", "--results", "s.csv")
    assert polars.read_csv("s.csv")["beta"].sort().to_list() == [0.5, 0.9]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("predict", "new.csv", "--model", "m", "--out", "a.csv"), "a.csv is there already: name another file, or add"),
        (("predict", "new.csv", "--out", "b.csv"), "--model is missing: name the file"),
        (("predict", "x", "--model", "m", "--data", "new.csv", "--out", "b.csv"), "x: --model and --data name both"),
        (("predict", "new.csv", "--model", "m", "--out", "b.csv", "--keep", "nome"), "there is no column 'nome'"),
        (("evaluate", "rows.csv", "--model", "m"), "there is no column 'quality'"),
        (("train", "--cross-validate", "3"), "--cross-validate needs --data"),
        (("train", "--data", "rooms.csv", "--target", "price", "--loss", "cross-entropy"), "the target is a quantity"),
        (("train", "--data", "rooms.csv", "--target", "price", "--loss", "bce"), "bce is of classes, and"),
        (("train", "--data", "rooms.csv", "--target", "style", "--loss", "bce"), "the target has 3: choose"),
        (("train", "--label-smoothing", "0.1"), "got the loss mse: add --loss cross-entropy"),
        (("train", "--data", "rooms.csv", "--target", "price", "--class-weights", "balanced"), "is a quantity: leave"),
        (("train", "--data", "rooms.csv", "--target", "style", "--task", "regression"), "must hold finite numbers"),
        (("train", "--early-stopping", "3", "--data", "rooms.csv", "--target", "style", "--validation-share", "0"),
         "--early-stopping looks at the validation loss"),
        (("sweep", "--l2", "0", "--results", "a.txt"), "--results: the figures go into a file .csv, .parquet or .json"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line(run, tables, arguments, message):
    assert train(run, "--target", "quality", "--features", "size", "--epochs", "1", "--out", "m")[0] == 0
    Path("a.csv").write_text("old")
    Path("rows.csv").write_text("size\n1\n")
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1
    assert run("predict", "new.csv", "--model", "m", "--out", "a.csv", "--force")[0] == 0


def test_a_misused_command_is_pointed_to_its_own_help(run):
    assert "(functional-mlp train --help explains the options)" in run("train", "--foo")[2]
    assert "(functional-mlp predict --help explains the options)" in run("predict", "x")[2]
    assert "(functional-mlp --help explains the commands)" in run("tarin")[2]


def test_scores_of_classes_are_those_of_their_definitions():
    probabilities = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.6, 0.4]], dtype=torch.float64)
    scores = score_classes(probabilities, torch.tensor([0, 0, 1, 1]), 0.5, ("a", "b"))
    assert (scores.accuracy, scores.majority, scores.auc) == (0.75, 0.5, 0.875)
    assert scores.confusion.tolist() == [[2, 0], [1, 1]]
    assert (scores.classes[0].precision, scores.classes[0].recall, scores.classes[0].f1) == (
        pytest.approx(2 / 3), 1.0, pytest.approx(0.8),
    )  # fmt: skip
    weighted = score_classes(probabilities, torch.tensor([0, 0, 1, 1]), 0.5, ("a", "b"), torch.tensor([0.0, 0, 2, 2]))
    assert (weighted.accuracy, weighted.majority) == (0.5, 1.0)


def test_scores_of_quantities_are_those_of_their_definitions():
    scale = fm.tables.Scale(mean=10.0, std=2.0, median=10.0, low=8.0, high=12.0)
    scores = score_quantities(torch.tensor([0.0, 1.0]), torch.tensor([1.0, -1.0]), 2.5, scale)
    assert (scores.rmse, scores.mae) == (pytest.approx(2 * 2.5**0.5), 3.0)
    assert (scores.r2, scores.mean_rmse, scores.mean_mae, scores.mean_r2) == (-1.5, 2.0, 2.0, 0.0)


def test_the_area_under_the_curve_is_that_of_all_pairs():
    scores = fm.random.uniform(fm.random.key(0), (60,)).mul(10).round()
    positive = fm.random.uniform(fm.random.key(1), (60,)) < 0.4
    pairs = scores[positive][:, None] - scores[~positive]
    expected = ((pairs > 0).double() + 0.5 * (pairs == 0).double()).mean().item()
    assert area_under_curve(scores, positive) == pytest.approx(expected)
    assert area_under_curve(scores, torch.ones(60, dtype=torch.bool)) is None


def test_outputs_become_probabilities_by_their_loss():
    outputs = torch.tensor([[2.0, 0.0], [0.0, 0.5]])
    assert probabilities_of(fm.CrossEntropy(), outputs).equal(outputs.double().softmax(-1))
    for loss in (fm.MeanSquaredError(), fm.BinaryCrossEntropy(), None):
        assert probabilities_of(loss, outputs).sum(-1).tolist() == pytest.approx([1, 1])
    assert probabilities_of(fm.MeanSquaredError(), outputs)[0].tolist() == pytest.approx([1, 0])
