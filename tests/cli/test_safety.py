"""What the command must not do: overwrite its own files, obey the names in a file, or lose results to Ctrl-C."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import polars
import pytest

import functional_mlp as fm
from functional_mlp import interrupts
from functional_mlp.cli import ending, members, scores
from functional_mlp.escaping import printable
from tests.checkpoint.cases import rewritten

PROGRAM = str(Path(sys.executable).with_name("functional-mlp"))
TABLE = ("--data", "points.csv", "--target", "side")
TRAIN = ("train", *TABLE, "--engine", "reference", "--epochs", "2", "--hidden", "4")
SWEEP = ("sweep", *TABLE, "--engine", "reference", "--learning-rate", "0.1,0.2", "--epochs", "1", "--members", "1")
PREDICT = ("predict", "--model", "model.safetensors", "--data", "points.csv")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def table(run: Run) -> Path:
    """A table of two features whose two classes a line separates, in the working folder."""
    points = fm.random.uniform(fm.random.key(7), (80, 2)).tolist()
    lines = [f"{x},{y},{'above' if y > x else 'below'}" for x, y in points]
    Path("points.csv").write_text("\n".join(["width,height,side", *lines]))
    return Path("points.csv")


@pytest.fixture
def model(run: Run, table: Path) -> Path:
    assert run(*TRAIN, "--out", "model.safetensors")[0] == 0
    return Path("model.safetensors")


ONE_FILE = {
    "predict over its data": ((*PREDICT, "--out", "points.csv"), "--out and --data are one file, points.csv"),
    "predict over its model": (
        ("predict", "--model", "model.csv", "--data", "points.csv", "--out", "model.csv"),
        "--out and --model are one file, model.csv",
    ),
    "predict through a link": ((*PREDICT, "--out", "link.csv"), "--out and --data are one file, link.csv"),
    "predict through a hard link": ((*PREDICT, "--out", "hard.csv"), "--out and --data are one file, hard.csv"),
    "predict by another way": ((*PREDICT, "--out", "../{folder}/points.csv"), "--out and --data are one file"),
    "train": ((*TRAIN, "--out", "a.png", "--plot", "a.png"), "--out and --plot are one file, a.png"),
    "train, a link that leads nowhere yet": (
        (*TRAIN, "--out", "new", "--plot", "dangling.png"),
        "--out and --plot are one file, new",
    ),
    "train, the second plot": (
        (*TRAIN, "--out", "a-boundary.png", "--plot", "a.png"),
        "--out and the decision boundary of --plot are one file, a-boundary.png",
    ),
    "train over its data": ((*TRAIN, "--plot", "link.png"), "--plot and --data are one file, link.png"),
    "train, many members": ((*TRAIN, "--members", "2", "--plot", "link.png"), "--plot and --data are one file"),
    "sweep over its data": ((*SWEEP, "--plot", "link.png"), "--plot and --data are one file, link.png"),
}


@pytest.mark.parametrize("name", ONE_FILE)
def test_options_that_name_one_file_are_refused_before_any_work(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    model.rename("model.csv")
    Path("model.safetensors").symlink_to("model.csv")
    for link in ("link.csv", "link.png"):
        Path(link).symlink_to("points.csv")
    os.link("points.csv", "hard.csv")
    Path("dangling.png").symlink_to("new")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.exists()}
    monkeypatch.setattr(fm, "fit", None)
    monkeypatch.setattr(fm, "fit_ensemble", None)
    monkeypatch.setattr(fm, "load", None)
    arguments, message = ONE_FILE[name]
    code, out, err = run(*(argument.replace("{folder}", tmp_path.name) for argument in arguments))
    assert (code, out) == (1, "")
    assert message in err
    assert err.endswith("which would be overwritten: name another file\n")
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.exists()} == before


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ((*PREDICT, "--out", "none/a.csv"), "none/a.csv"),
        ((*PREDICT, "--out", "pipe.csv"), "pipe.csv"),
        ((*TRAIN, "--out", "none/model"), "none/model"),
        ((*TRAIN, "--out", "pipe.csv"), "pipe.csv"),
        ((*TRAIN, "--plot", "pipe.png"), "pipe.png"),
        ((*SWEEP, "--plot", "null.png"), "null.png"),
    ],
)
def test_what_cannot_be_written_is_refused_before_any_work(
    run: Run, model: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], path: str
) -> None:
    for name in ("pipe.csv", "pipe.png"):
        os.mkfifo(name)
    Path("null.png").symlink_to("/dev/null")
    for work in ("fit", "fit_ensemble", "load"):
        monkeypatch.setattr(fm, work, None)
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert f"'{path}'" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["answers.csv", "answers.parquet", "run.png"])
def test_a_file_that_could_not_be_written_whole_is_as_it_was(
    run: Run, model: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    Path(name).write_text("old")
    monkeypatch.setattr(os, "replace", fail)
    arguments = (*TRAIN, "--plot", name) if name.endswith("png") else (*PREDICT, "--out", name, "--force")
    code, _, err = run(*arguments)
    assert code == 1
    assert err.endswith(f"functional-mlp: [Errno 28] No space left on device: '{name}'\n")
    assert Path(name).read_text() == "old"
    assert sorted(os.listdir()) == sorted(["model.safetensors", "points.csv", name])


# A colour, a title of the window, a return, 8-bit control, an override, an isolate, markup, an emoji of rich's.
NASTY = "\x1b[31mred\x1b]0;title\x07\rgone\n\x9b2J\u202egnp\u2066[bold]b[/bold] :smile:"
ESCAPED = r"\x1b[31mred\x1b]0;title\x07\rgone\n\x9b2J\u202egnp\u2066[bold]b[/bold] :smile:"
FORBIDDEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def assert_shown(text: str) -> None:
    """That the nasty name is shown as it is written, perhaps over lines, and nothing else of it."""
    assert not FORBIDDEN.search(text)
    assert ESCAPED in text


@pytest.fixture
def nasty(run: Run) -> str:
    """A table whose file, whose features and whose classes have such names."""
    name = f"{NASTY.replace('/', '')}.csv"
    frame = polars.DataFrame({f"x{NASTY}": [0.1 * i for i in range(20)], "side": [NASTY, "plain"] * 10})
    frame.rename({"side": f"side{NASTY}"}).write_csv(name)
    return name


@pytest.mark.parametrize("extra", [(), ("--members", "2")])
def test_names_of_a_table_are_shown_as_they_are_written(
    run: Run, nasty: str, extra: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    arguments = ("train", "--data", nasty, "--target", f"side{NASTY}", "--engine", "reference", "--epochs", "1", *extra)
    code, out, err = run(*arguments, *(() if extra else ("--out", nasty.removesuffix(".csv"))))
    assert code == 0
    assert not FORBIDDEN.search(err)
    assert_shown(out)
    assert out.count(ESCAPED) >= 3  # the target; the matrix's column and row


def test_predictions_are_written_to_the_letter_but_to_a_terminal(
    run: Run, nasty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("train", "--data", nasty, "--target", f"side{NASTY}", "--engine", "reference", "--epochs", "1")
    assert run(*arguments, "--out", "model.safetensors")[0] == 0
    predict = ("predict", nasty, "--model", "model.safetensors", "--out")
    assert run(*predict, "out.csv")[0] == 0
    _, out, _ = run(*predict, "-")
    assert out.encode() == Path("out.csv").read_bytes()
    assert NASTY in out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    _, out, _ = run(*predict, "-")
    assert not FORBIDDEN.search(out)
    assert ESCAPED.replace(r"\n", "\n") in out  # lines are those of the table


def test_long_names_of_classes_are_shown_as_they_are_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    rows = [[i % 20, f"{i % 20}{NASTY}"] for i in range(100)]
    polars.DataFrame(rows, schema=["x", "side"], orient="row").write_csv("points.csv")
    code, out, _ = run(*TRAIN)
    assert code == 0
    assert "Most frequent mistakes" in out
    assert_shown(out)


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "--data", NASTY, "--target", "side"),
        ("train", "--data", "points.csv", "--target", NASTY),
        ("train", "--device", NASTY),
        ("evaluate", NASTY, "--model", NASTY),
        ("train", "--epochs", NASTY),
        ("train", NASTY),
        (f"--{NASTY}",),
        ("train", "--activation", NASTY),
        ("inspect", "--model", NASTY),
        ("predict", "--model", NASTY, "--data", "points.csv", "--out", "a.csv"),
        ("reproduce", "--quick", "--out", f"points.csv/{NASTY}"),
    ],
)
def test_errors_show_what_they_are_about_as_it_is_written(run: Run, table: Path, arguments: tuple[str, ...]) -> None:
    code, out, err = run(*arguments)
    assert code in (1, 2)
    assert not FORBIDDEN.search(out + err)
    assert err.count("\n") == 1


def test_a_model_file_cannot_steer_the_terminal(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(header: dict, document: dict) -> None:
        document["extra"]["data"]["classes"] = [NASTY, "plain"]
        document["extra"]["data"]["preparation"]["recipes"][0]["name"] = NASTY

    model.write_bytes(rewritten(model.read_bytes(), rename))
    code, out, _ = run("inspect", "--model", str(model))
    assert code == 0
    assert_shown(out)
    assert out.count(ESCAPED) == 2  # the feature and the class, in a line each
    assert "red" in out[out.index("what becomes of it") :]  # and the column, over lines
    code, out, err = run(*PREDICT, "--out", "answers.csv")  # the table has no such feature
    assert code == 1
    assert not FORBIDDEN.search(out + err)
    for spoil in (
        lambda header, document: document["network"].update({"type": NASTY}),
        lambda header, document: document["network"].update({NASTY: 1}),
        lambda header, document: document.update({"format": NASTY}),
        lambda header, document: header.update({NASTY: header.pop("params[0].weight")}),
        lambda header, document: document.update({"extra": {"data": {"features": {NASTY: NASTY}, "classes": NASTY}}}),
        lambda header, document: document.update({"extra": {NASTY: [NASTY]}}),
    ):
        Path("spoilt").write_bytes(rewritten(model.read_bytes(), spoil))
        code, out, err = run("inspect", "--model", "spoilt")
        assert (code == 0) == (err == "")
        assert not FORBIDDEN.search(out + err)


def test_paths_that_are_no_text_are_shown(run: Run, table: Path) -> None:
    name = os.fsdecode(b"model\xff")
    code, out, _ = run(*TRAIN, "--out", name)
    assert code == 0
    assert out.endswith("model: model\\udcff\n")
    assert run("inspect", "--model", name)[0] == 0


def test_what_is_no_danger_stays_as_it_is() -> None:
    text = "Grüße, 日本語, العربية, ❤\ufe0f, a\\b, [red]x[/red], ± 100 %"
    assert printable(text) == text
    assert printable(NASTY) == ESCAPED


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("arguments", [TRAIN, (*TRAIN, "--members", "2"), SWEEP])
def test_ctrl_c_while_results_are_finished_loses_none(
    run: Run, table: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """Ctrl-C at each evaluation, at each table and at each file."""
    pressed = []

    def pressing(function: Callable) -> Callable:
        def call(*args: object, **named: object) -> object:
            pressed.append(function)
            interrupt()
            return function(*args, **named)

        return call

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(fm, "predict", pressing(fm.predict))
    monkeypatch.setattr(scores, "confusion_matrix", pressing(scores.confusion_matrix))
    monkeypatch.setattr(members, "plus_minus", pressing(members.plus_minus))
    monkeypatch.setattr(os, "replace", pressing(os.replace))
    code, out, err = run(*arguments, "--plot", "run.png")
    assert code == 0
    assert len(pressed) >= 3
    assert "plot: run.png" in out
    assert "interrupted" not in err
    assert Path("run.png").read_bytes().startswith(b"\x89PNG")
    assert signal.getsignal(signal.SIGINT) is handler


def test_ctrl_c_before_the_results_ends_a_command_with_130(run: Run, table: Path, monkeypatch) -> None:
    monkeypatch.setattr(fm.random, "key", lambda seed: interrupt())
    assert run(*TRAIN) == (130, "", "functional-mlp: interrupted\n")


@pytest.mark.parametrize("answer", [signal.SIG_IGN, lambda number, frame: None])
def test_other_answers_to_ctrl_c_than_pythons_stay(answer: Callable | signal.Handlers) -> None:
    before = signal.signal(signal.SIGINT, answer)
    try:
        with interrupts.ending_interrupt(os.abort), interrupts.no_interrupt():
            assert signal.getsignal(signal.SIGINT) == answer
        assert signal.getsignal(signal.SIGINT) == answer
    finally:
        signal.signal(signal.SIGINT, before)


def test_commands_may_run_in_a_thread(run: Run, table: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run, *TRAIN).result(timeout=100)[0] == 0


DIVERGED = "the loss{} stopped being finite{}: try a smaller --learning-rate"


def test_ctrl_c_comes_before_divergence() -> None:
    state = fm.TrainState(fm.SGD(0.1).init(()), fm.random.key(0), epoch=3)
    finished, diverged, interrupted, both = (
        fm.FitResult(state, fm.History(), epoch, ended)
        for epoch, ended in ((None, False), (3, False), (None, True), (3, True))
    )
    ending.check_completed(finished, epochs=3)
    ending.check_members_completed(fm.EnsembleResult((finished, finished)))
    for result in (interrupted, both):
        with pytest.raises(KeyboardInterrupt, match=r"^interrupted after 3 of 5 epochs; the results are those so far$"):
            ending.check_completed(result, epochs=5)
        with pytest.raises(KeyboardInterrupt, match=r"^interrupted; the results are those so far$"):
            ending.check_members_completed(fm.EnsembleResult((diverged, result)))
    text = DIVERGED.format("", " in epoch 4; the results are those after 3 of 5 epochs")
    with pytest.raises(ValueError, match=f"^{text}$"):
        ending.check_completed(diverged, epochs=5)
    text = DIVERGED.format(" of 1 of 2 networks", "; their results are those before")
    with pytest.raises(ValueError, match=f"^{text}$"):
        ending.check_members_completed(fm.EnsembleResult((diverged, finished)))


def test_the_first_ctrl_c_counts_and_no_other(run: Run, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handler, predict = signal.getsignal(signal.SIGINT), fm.predict

    def fit(*args: object, **named: object) -> fm.FitResult:
        named["callbacks"] = (lambda epoch, state, history: interrupt(),)
        result = original(*args, **named)
        interrupt()  # between the end of the training and that of the command
        return result

    original = fm.fit
    monkeypatch.setattr(fm, "fit", fit)
    monkeypatch.setattr(fm, "predict", lambda *args: interrupt() or predict(*args))
    code, out, err = run(*TRAIN, "--plot", "run.png", "--out", "model")
    assert code == 130
    assert re.search(r"functional-mlp: interrupted after \d of 2 epochs; the results are those so far\n$", err)
    assert "Confusion matrix" in out
    assert out.endswith("model: model\n")
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("arguments", [(*TRAIN, "--members", "2"), SWEEP])
def test_ctrl_c_again_loses_no_results_of_many(
    run: Run, table: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    def fit(*args: object, **named: object) -> fm.EnsembleResult:
        result = original(*args, **named)
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        interrupt()
        return attrs.evolve(result, members=tuple(attrs.evolve(one, interrupted=True) for one in result.members))

    original = fm.fit_ensemble
    monkeypatch.setattr(fm, "fit_ensemble", fit)
    code, out, err = run(*arguments, "--plot", "run.png")
    assert (code, err) == (130, "functional-mlp: interrupted; the results are those so far\n")
    assert out.endswith("plot: run.png\n")


def test_ctrl_c_that_is_held_down_to_the_end_of_the_process_loses_nothing(run: Run, table: Path) -> None:
    command = [PROGRAM, *TRAIN[:-4], "--epochs", "1000", "--plot", "run.png", "--out", "model"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("epoch  100/1000")
        for _ in range(60_000):  # a minute
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.001)
                break
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.fullmatch(r"(epoch .*\n)*functional-mlp: interrupted after \d+ of 1000 epochs; the results .*\n", err)
    assert out.endswith("plot: run.png\nplot: run-boundary.png\nmodel: model\n")
    assert Path("run.png").read_bytes().startswith(b"\x89PNG")
    assert fm.load("model").history is not None


# Presses Ctrl-C where a module would be found, which swallows what that raises.
PRESSED_WHILE_LOADING = """
import os, signal, sys
from functional_mlp.cli import main
class Pressing:
    def find_spec(self, name, path, target=None):
        if name == "functional_mlp.cli.app":
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                pass
sys.meta_path.insert(0, Pressing())
sys.exit(main())
"""


def test_ctrl_c_while_the_command_is_loaded_ends_it_quietly() -> None:
    done = subprocess.run([sys.executable, "-c", PRESSED_WHILE_LOADING, *TRAIN], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "functional-mlp: interrupted\n")


def test_ctrl_c_that_python_drops_is_raised_again() -> None:
    """Pressed on in a finalizer, and while what was dropped is answered."""

    class Pressing:
        def __del__(self) -> None:
            for _ in range(3):
                interrupt()

    with interrupts.one_interrupt():
        Pressing()  # which is dropped at once
        with pytest.raises(KeyboardInterrupt):
            time.sleep(100)


def test_ctrl_c_ends_a_program_until_training_begins() -> None:
    ends: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    try:
        with interrupts.ending_interrupt(lambda: ends.append(1)):
            interrupt()
            interrupt()
            assert len(ends) == 2
            with pytest.raises(KeyboardInterrupt), interrupts.one_interrupt():
                interrupt()
            with interrupts.one_interrupt():
                interrupt()  # the first has been heard
        interrupt()
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(ends) == 2


@pytest.mark.parametrize("arguments", [("summary",), ("summary", "--json")])
def test_a_reader_that_has_gone_ends_the_command_quietly(arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen([PROGRAM, *arguments], stdout=writer, stderr=subprocess.PIPE, text=True) as process:
        os.close(writer)
        assert process.communicate(timeout=100)[1] == ""
    assert process.returncode == 1
