"""The command `reproduce`, in its quick version, run once."""

import contextlib
import html.parser
import io
import json
import re
from pathlib import Path

import pytest

from functional_mlp.cli import main
from functional_mlp.experiments import paper

FIGURES = {
    "figure-1", "figure-2", "figure-3", "figure-4", "figure-6", "agreement", "batches", "factorial-curves",
    "factorial-shares", "epoch-time", "momentum-tuning", "initializations",
}  # fmt: skip


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> tuple[Path, str, str]:
    """The folder that the command has written, and what it has printed."""
    folder, out, err = tmp_path_factory.mktemp("runs") / "new" / "reproduction", io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main(["reproduce", "--quick", "--seed", "3", "--out", str(folder), "--json", "--quiet"]) == 0
    return folder, out.getvalue(), err.getvalue()


@pytest.fixture(scope="session")
def folder(written) -> Path:
    return written[0]


@pytest.fixture(scope="session")
def results(folder):
    return json.loads((folder / "results.json").read_text(), parse_constant=pytest.fail)


def test_machines_are_told_the_files_and_nothing_else_is_said(written):
    folder, out, err = written
    assert {Path(name) for name in json.loads(out)["files"]} == set(folder.iterdir())
    assert err == ""


def test_the_folder_holds_the_report_its_figures_and_its_numbers(folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {"report.html", "report.md", "results.json", *(f"{name}.png" for name in FIGURES)}
    for name in FIGURES:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")


class Page(html.parser.HTMLParser):
    """What a page refers to, and the tags it leaves open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.references += [value for name, value in attributes if name in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_holds_all_it_shows(folder):
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert len(page.references) == len(FIGURES)
    assert all(reference.startswith("data:image/png;base64,") for reference in page.references)
    assert not re.search(r"https?://|url\(|@import|<script", text)


def test_the_markdown_links_the_figures_beside_it(folder):
    links = re.findall(r"\]\((.+?)\)", (folder / "report.md").read_text())
    assert sorted(links) == sorted(f"{name}.png" for name in FIGURES)


def test_no_number_in_the_report_is_missing(folder):
    words = re.findall(r"\b(?:nan|inf|None)\b", re.sub(r"base64,[^\"]+", "", (folder / "report.html").read_text()))
    assert set(words) <= {"nan"}  # a single run of torch.nn has no standard error


def test_figure_1_lies_in_the_papers_range(results):
    performance = results["basic_model"]["sgd"]["performance"]
    assert 0.034 < performance["training_mse"]["mean"] < 0.052
    assert 0.036 < performance["validation_mse"]["mean"] < 0.052
    assert performance["training_accuracy"]["mean"] > 0.965
    assert performance["validation_accuracy"]["mean"] > 0.965


def test_figure_3_goes_wrong_near_the_circle(results):
    found = results["misclassified"]
    assert 0 < sum(found["wrong"]) < 60
    assert found["near_share"] > 0.9


def test_figure_5_lies_in_the_papers_range(results):
    ours = results["cells"][-1]["performance"]
    assert abs(ours["validation_mse"]["mean"] - paper.FIGURE_5.validation_mse.mean) < 0.012
    assert abs(ours["validation_accuracy"]["mean"] - paper.FIGURE_5.validation_accuracy.mean) < 0.03


def test_the_frameworks_agree(results):
    for steps in results["step_by_step"]:
        assert max(steps["differences"]) < 100 * steps["epsilon"]
    for cell in results["cells"]:
        assert max(cell["largest_loss_difference"]) < 1e-4
    for explanation in results["factorial"]["ours"]:
        assert sum(explanation["shares"].values()) == pytest.approx(1, abs=1e-6)


def test_torch_takes_longer_than_the_reference_and_that_longer_than_the_fused_engine(results):
    times = results["epoch_time"]
    assert min(times["torch_nn"]) > min(times["reference"]) > 10 * min(times["fused"])
    assert times["torch_profile"]["operators"] > times["reference_profile"]["operators"]
    for profile in ("torch_profile", "reference_profile"):
        assert sum(times[profile]["shares"].values()) == pytest.approx(1)


def test_batches_are_trained_at_equal_epochs_and_at_equal_time(results):
    batches = results["batch_gradient_descent"]
    assert [runs["batch_size"] for runs in batches["decayed"]] == [1, 10, 50, 100]
    assert {runs["epochs"] for runs in batches["decayed"] + batches["constant"]} == {100}
    assert batches["largest_difference"] < 1e-4
    for runs in batches["equal_time"]:
        assert runs["epochs"] * runs["seconds"] == pytest.approx(100 * batches["decayed"][0]["seconds"], rel=0.02)


def test_both_searches_have_the_same_budget(results):
    tuning = results["momentum_tuning"]
    assert len(tuning["sgd"]["candidates"]) == len(tuning["momentum"]["candidates"]) > 1
    for search in (tuning["sgd"], tuning["momentum"]):
        best = max(candidate["accuracy"]["mean"] for candidate in search["candidates"])
        assert search["best"]["accuracy"]["mean"] == best


def test_a_folder_that_cannot_be_made_is_one_line_of_error(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["reproduce", "--quick", "--out", str(tmp_path / "file")]) == 1
    assert "File exists" in capsys.readouterr().err
