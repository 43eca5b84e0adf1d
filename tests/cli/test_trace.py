"""`trace`, run in process."""

import json

import functional_mlp as fm


def test_trace_shows_the_first_step_of_train(run):
    code, out, _ = run("trace", "--hidden", "3", "--activation", "tanh", "--seed", "4")
    data_key, fit_key = fm.random.key(4).split()
    row = fm.datasets.disk(data_key.split()[0], 1000)
    inits = {"weight_init": fm.initializers.uniform(-1.0, 1.0), "bias_init": fm.initializers.uniform(-1.0, 1.0)}
    network = fm.Sequential(fm.Linear(2, 3, **inits), fm.Tanh(), fm.Linear(3, 2, **inits))
    params = network.init(fit_key.split()[0])
    step = fm.trace(network, fm.MeanSquaredError(), params, row.inputs[0], row.targets[0])
    assert (code, out) == (0, f"{step!r}\n")


def test_trace_gives_machines_numbers(run):
    seen = json.loads(run("trace", "--hidden", "3", "--json")[1])
    by_name = {quantity["name"]: quantity for part in ("forward", "backward") for quantity in seen[part]}
    assert by_name["δ⁽²⁾"]["equation"] == "(1)"
    assert [len(row) for row in by_name["∂ℓ/∂w⁽¹⁾"]["value"]] == [2, 2, 2]
    assert isinstance(by_name["ℓ"]["value"], float)


def test_trace_takes_a_table_and_any_of_its_rows(run, tmp_path):
    numbers = [(x, y) for x in range(5) for y in range(4)]
    rows = "\n".join(f"{x},{y},{'far' if x + y > 4 else 'near'}" for x, y in numbers)
    (tmp_path / "points.csv").write_text(f"x,y,side\n{rows}\n")
    table = ("--data", "points.csv", "--target", "side", "--hidden", "2")
    first, second = (run("trace", *table, "--sample", str(sample))[1] for sample in (0, 15))
    assert first != second
    assert "CrossEntropy()" in first
    assert "MeanSquaredError()" in run("trace", *table, "--loss", "mse")[1]


def test_trace_refuses_a_sample_that_is_not_there(run):
    code, _, err = run("trace", "--sample", "1000")
    assert code == 1
    assert err == "functional-mlp: --sample: there are 1,000 samples, counted from 0, got 1000\n"


def test_trace_takes_every_loss_that_train_does(run):
    code, out, err = run("trace", "--hidden", "2", "--loss", "bce")
    assert (code, err) == (0, "")
    assert "BinaryCrossEntropy()" in out


def test_trace_has_no_options_that_would_change_nothing(run):
    for option in ("--class-weights=balanced", "--test=points.csv"):
        code, _, err = run("trace", option)
        assert code == 2
        assert option.partition("=")[0] in err
