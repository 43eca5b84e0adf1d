"""`sweep`, run in process."""

import io
import itertools
import json
import re
from pathlib import Path

import attrs
import polars
import pytest
from rich.console import Console

import functional_mlp as fm
from functional_mlp.cli import main, sweep
from functional_mlp.cli.grids import grid
from functional_mlp.cli.outcomes import Planned
from functional_mlp.cli.progress import sweep_display
from functional_mlp.cli.run import fit_ensemble


def test_sweep_shows_the_best_first(run, tmp_path):
    arguments = ("--learning-rate", "1e-5:0.03:log2", "--beta", "0,0.5", "--members", "2", "--epochs", "3")
    code, out, _ = run("sweep", *arguments, "--plot", "sweep.png")
    assert code == 0
    rows = re.findall(r"│ +([\d.e-]+) │ +([\d.]+) │ +(0\.\d+) ± 0\.\d+ │ +0\.\d+ ± 0\.\d+ │", out)
    assert len(rows) == 4
    losses = [float(loss) for _, _, loss in rows]
    assert losses == sorted(losses)
    assert {rate for rate, _, _ in rows[:2]} == {"0.03"}
    assert {beta for _, beta, _ in rows[2:]} == {"0", "0.5"}
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_no_number_is_drawn_by_name(run, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(sweep, "write_figure", lambda figure, path: drawn.append(figure))
    code, _, err = run(
        "sweep", "--hidden", "4,3/none", "--l2", "0", "--members", "1", "--epochs", "1", "--plot", "a.png"
    )
    assert code == 0, err
    drawn[0].draw_without_rendering()
    axes = drawn[0].axes[0]
    assert axes.get_xlabel() == "hidden"
    assert {label.get_text() for label in axes.get_xticklabels()} == {"4,3", "none"}


def test_sweep_takes_every_option_of_train_that_it_does_not_vary(run):
    options = {command: set(re.findall(r"│ (--[a-z-]+)", run(command, "--help")[1])) for command in ("train", "sweep")}
    assert options["train"] - options["sweep"] == {"--resume", "--with-changes", "--cross-validate"}


def explained(text: str) -> dict[str, str]:
    """What a command's help says of each option, without the form of its value."""
    lines = re.sub(r"^[╭╰].*|│", "", text, flags=re.MULTILINE)
    _, *parts = re.split(r"^ (--[a-z0-9-]+)(?: [A-Z]\S+)?", lines, flags=re.MULTILINE)
    return {option: " ".join(says.split()) for option, says in zip(parts[::2], parts[1::2], strict=True)}


def test_an_option_is_explained_alike_in_each_command(run):
    train, sweep, trace = (explained(run(command, "--help")[1]) for command in ("train", "sweep", "trace"))
    assert re.fullmatch(r"Step size of the first epoch.*0\.001 for lion\.", train["--learning-rate"])
    assert {option for option in train.keys() & sweep.keys() if train[option] != sweep[option]} == {
        "--members",
        "--out",
    }
    assert trace.items() - train.items() == {("--sample", trace["--sample"])}


def test_sweep_puts_settings_that_diverge_last(run):
    code, out, _ = run("sweep", "--learning-rate", "1000,0.01", "--members", "2", "--epochs", "2")
    assert code == 0
    assert re.search(r"0\.01 │[^\n]*\n│ +1000 │ +│ +│ +2 │", out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep"], "nothing varies: give several values to one of --hidden, --activation, --learning-rate"),
        (["sweep", "--learning-rate", "0.1", "--members", "0"], "at least one network a setting, got 0"),
        (["sweep", "--learning-rate", "fast"], "expected numbers such as 0,0.5,0.9 or"),
        (["sweep", "--learning-rate", "0:1:log3"], "above 0 for log"),
        (["sweep", "--beta", "0.9:0.1:lin3"], "from low to high"),
        (["sweep", "--beta", "0.5", "--optimizer", "sgd"], "sgd keeps nothing of the past"),
        (["sweep", "--beta", "0.5", "--device", "abacus"], "--device: torch cannot compute on 'abacus' here"),
        (["sweep", "--beta", "1.5"], "beta must be a finite number"),
        (["sweep", "--l2", "0,1", "--engine", "fused", "--dtype", "float16"], "--engine: fused cannot run this: the"),
    ],
)
def test_bad_options_are_one_line_and_nothing_is_printed_before(run, arguments, message):
    code, out, err = run(*arguments)
    assert code in (1, 2)
    assert out == ""
    assert message in err


def test_grids():
    assert grid("0.1") == (0.1,)
    assert grid("0.001:0.1:log3") == (0.001, 0.01, 0.1)
    assert len(grid("0.001:0.1:log8")) == 8


SWEEP = ("sweep", "--learning-rate", "0.01,0.03", "--hidden", "3/4", "--members", "2", "--epochs", "1")


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of networks that are trained at once, call by call."""
    trained: list[int] = []

    def noted(what, *arguments, **options):
        trained.append(len(what["keys"]))
        return fit_ensemble(what, *arguments, **options)

    monkeypatch.setattr(sweep, "fit_ensemble", noted)
    return trained


def test_settings_that_one_ensemble_can_train_are_trained_some_at_a_time():
    settings = [{"hidden": (width,), "beta": beta} for width in (3, 4) for beta in (0.1, 0.2, 0.3)]
    planned = [Planned(setting, None, members=5) for setting in settings]
    assert list(sweep._pieces(planned, {}, most=14)) == [[0, 1], [2], [3, 4], [5]]
    assert list(sweep._pieces(planned, {1: None, 5: None}, most=1)) == [[0], [2], [3], [4]]


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json"])
def test_the_same_command_trains_what_its_file_has_not(run, sizes, tmp_path, suffix):
    file = tmp_path / f"sweep.{suffix}"
    command = (*SWEEP, "--results", file.name)
    assert run(*command)[0] == 0
    assert sizes == [4, 4]
    whole = file.read_bytes()
    frame = {"csv": polars.read_csv, "parquet": polars.read_parquet, "json": polars.read_json}[suffix](file)
    assert frame["validation loss"].is_sorted()
    assert set(frame["networks"]) == {2}
    left = frame[1:3]
    if suffix == "json":
        file.write_text(json.dumps(left.to_dicts()))
    else:
        (left.write_csv if suffix == "csv" else left.write_parquet)(file)
    sizes.clear()
    code, out, err = run(*command)
    assert code == 0, err
    assert sum(sizes) == 4
    assert f"in {file.name} before: 2 settings of 4" in out
    assert out.count(" ± ") == 8
    assert file.read_bytes() == whole
    sizes.clear()
    assert run(*command)[0] == 0
    assert sizes == []


def test_what_was_found_before_an_interrupt_is_kept(run, sizes, monkeypatch, tmp_path):
    command, file = (*SWEEP, "--results", "sweep.csv"), tmp_path / "sweep.csv"
    assert run(*command)[0] == 0
    whole = file.read_bytes()
    file.unlink()
    noted = sweep.fit_ensemble

    def interrupted(*arguments, **options):
        if len(sizes) % 2 == 1:
            raise KeyboardInterrupt
        return noted(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(sweep, "fit_ensemble", interrupted)
        assert run(*command)[0] == 130
    kept = file.read_text().splitlines()
    assert len(kept) == 3
    assert set(kept) < set(whole.decode().splitlines())
    assert run(*command)[0] == 0
    assert file.read_bytes() == whole


def test_a_setting_that_ctrl_c_has_ended_early_is_shown_and_not_kept(run, monkeypatch, tmp_path):
    def interrupted(*arguments, **options):
        result = fit_ensemble(*arguments, **options)
        return attrs.evolve(result, members=tuple(attrs.evolve(own, interrupted=True) for own in result.members))

    monkeypatch.setattr(sweep, "fit_ensemble", interrupted)
    code, out, err = run(*SWEEP, "--results", "sweep.csv")
    assert code == 130
    assert "the results are those so far" in err
    assert out.count(" ± ") == 4
    assert not (tmp_path / "sweep.csv").exists()


def test_networks_whose_turn_had_not_come_have_no_part_in_the_figures(run, monkeypatch):
    def interrupted(*arguments, **options):
        result = fit_ensemble(*arguments, **options)
        untrained = attrs.evolve(result.members[0], history=fm.History(), interrupted=True)
        return attrs.evolve(result, members=(result.members[0], *[untrained] * (len(result) - 1)))

    monkeypatch.setattr(sweep, "fit_ensemble", interrupted)
    command = ("sweep", "--learning-rate", "0.01,0.03", "--members", "2", "--epochs", "1", "--json")
    code, out, _ = run(*command)
    (found,) = json.loads(out)["settings"]
    assert (code, found["learning rate"], found["diverged"]) == (130, 0.01, 0)


def test_the_best_network_is_saved_though_its_figures_are_from_the_file(run, sizes):
    command = (*SWEEP, "--results", "sweep.csv", "--out", "best", "--json")
    code, out, err = run(*command)
    assert code == 0, err
    first = fm.load("best")
    sizes.clear()
    code, again, err = run(*command)
    assert code == 0, err
    assert sizes == [2]
    assert again == out
    assert fm.pytree.equal(fm.load("best").params, first.params)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        (
            "--seed",
            "1",
            "training is 'mse, sgd 0.03, decay 0.9, batch size 1, 1 epoch, seed 0' there, and 'mse, sgd 0.03",
        ),
        ("--epochs", "2", "there, and 'mse, sgd 0.03, decay 0.9, batch size 1, 2 epochs, seed 0' in this command"),
        ("--members", "3", "networks is '2' there, and '3' in this command"),
        ("--initializer", "kaiming_normal", "network is '2-4-2, relu, uniform(-1,1): 22 parameters' there"),
        ("--hidden", "3/5", "it has hidden 4, learning rate 0.03, which is not asked for"),
        ("--l2", "0,1", "there is no column 'l2'"),
        ("--dtype", "float64", "training samples is '1000 rows of 2, digest"),
        ("--engine", "reference", "engine is 'auto' there, and 'reference' in this command"),
        ("--early-stopping", "3", "early stopping is 'none' there, and '3' in this command"),
    ],
)
def test_the_file_of_another_command_is_refused_by_what_differs(run, swept, option, value, message):
    options = dict(zip(SWEEP[1::2], SWEEP[2::2], strict=True)) | {option: value}
    code, out, err = run("sweep", *itertools.chain.from_iterable(options.items()), "--results", swept)
    assert (code, out) == (1, "")
    assert "is not of this command: " in err
    assert message in err
    assert err.count("\n") == 1


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> str:
    """A file of the sweep."""
    path = tmp_path_factory.mktemp("swept") / "sweep.csv"
    assert main([*SWEEP, "--results", str(path), "--quiet"]) == 0
    return str(path)


def test_a_row_that_is_cut_off_is_named(run, swept, tmp_path):
    cut = Path(swept).read_text().replace("\n", "\n\n", 1)[:-40]
    (tmp_path / "sweep.csv").write_text(cut)
    code, _, err = run(*SWEEP, "--results", "sweep.csv")
    assert code == 1
    assert "--results: sweep.csv cannot be read (line 6 has 11 cells, and the header 14): the file may be cut" in err
    assert (tmp_path / "sweep.csv").read_text() == cut


@pytest.mark.parametrize("name", ["sweep.csv", "sweep.parquet", "sweep.json"])
def test_a_file_that_is_no_results_is_refused_and_left(run, tmp_path, name):
    (tmp_path / name).write_bytes(b"\xff\x00x,y\n1,2\n")
    code, _, err = run(*SWEEP, "--results", name)
    assert (code, err.count("\n")) == (1, 1)
    assert f"--results: {name} cannot be read (" in err
    assert "the file may be cut off" in err
    assert (tmp_path / name).read_bytes() == b"\xff\x00x,y\n1,2\n"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: [rows[0] | {"diverged": None}], "None diverged of 2 networks"),
        (lambda rows: [rows[0] | {"diverged": -5}], "-5 diverged of 2 networks"),
        (lambda rows: [rows[0] | {"diverged": 0.5}], "0.5 diverged of 2 networks"),
        (lambda rows: [rows[0] | {"validation accuracy": [1]}], "[1] is no number"),
        (lambda rows: [rows[0] | {"validation loss": True}], "True is no number"),
        (lambda rows: [rows[0], rows[0]], "twice"),
        (lambda rows: {}, "it has other things than rows"),
    ],
)
def test_figures_that_cannot_be_are_refused_and_left(run, swept, tmp_path, spoil, message):
    rows = polars.read_csv(swept).to_dicts()
    file = tmp_path / "sweep.json"
    file.write_text(json.dumps(spoil(rows)))
    before = file.read_bytes()
    code, out, err = run(*SWEEP, "--results", file.name)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert message in err
    assert file.read_bytes() == before


def test_a_model_of_other_data_is_not_written_over(run, swept):
    network = fm.Linear(2, 2)
    fm.save("best", network.init(fm.random.key(0)), network=network, optimizer=fm.SGD(0.1))
    code, _, err = run(*SWEEP, "--results", swept, "--out", "best")
    assert code == 1
    assert "--out: best is there already, and is of other data" in err


def test_many_settings_are_not_all_shown(run, tmp_path):
    rates = ",".join(f"{0.001 * (1 + number):g}" for number in range(41))
    code, out, err = run("sweep", "--learning-rate", rates, "--hidden", "none", "--members", "1", "--epochs", "1")
    assert code == 0, err
    assert "the best 40 of 41 settings; --results FILE keeps all" in out


def test_a_terminal_shows_the_best_so_far_above_a_bar():
    output = io.StringIO()
    with sweep_display(Console(file=output, force_terminal=True, width=60), 10) as display:
        display.progress(5.5)
        display.show("the best so far", 4)
    assert re.search(r"the best so far.*55 %.*4 of 10 settings", output.getvalue(), re.DOTALL)
    silent = io.StringIO()
    with sweep_display(Console(file=silent), 10) as display:
        assert display.progress is None
        display.show("the best so far", 4)
    assert silent.getvalue() == ""
