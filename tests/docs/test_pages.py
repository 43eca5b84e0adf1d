"""The code of every page runs and prints what the page says; the reference has every public name."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

import functional_mlp as fm
from tests.docs.pages import BLOCK, PAGES, ROOT, first_difference, left_to, with_outputs

REFERENCE = "\n".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md"))
TEXTS = {path: path.read_text() for path in PAGES}


@pytest.mark.parametrize(
    "page", [path for path in PAGES if "```python" in TEXTS[path] or "```sh" in TEXTS[path]], ids=lambda path: path.name
)
def test_a_page_says_what_its_code_prints(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert first_difference(TEXTS[page], with_outputs(page)) is None


def test_the_callback_for_mlflow_logs_each_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="`.ci/run outside` runs this: MLflow is large")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # for mlflow-skinny, which has no database
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
    guide = "docs/guides/logging.md"
    start = BLOCK.search(TEXTS[ROOT / guide])
    assert start is not None
    names: dict[str, object] = {}
    for code in (start["code"], *left_to(__file__, guide)):
        exec(code, names)
    client = mlflow.MlflowClient()
    (found,) = client.search_runs(["0"])
    logged = client.get_metric_history(found.info.run_id, "train_loss")
    assert [metric.step for metric in logged] == list(range(15))
    result = names["result"]
    assert isinstance(result, fm.FitResult)
    assert [metric.value for metric in logged] == list(result.history.train_loss)


LEFT = [(page, block["test"]) for page in PAGES for block in BLOCK.finditer(TEXTS[page]) if block["test"]]


@pytest.mark.parametrize(("page", "test"), dict.fromkeys(LEFT), ids=lambda path: Path(path).name)
def test_what_a_page_leaves_to_other_tests_is_run_there(page: Path, test: str) -> None:
    text = (ROOT / test).read_text()
    assert "left_to(__file__, " in text
    assert str(page.relative_to(ROOT)) in text


def test_the_mistakes_of_a_page_are_found() -> None:
    page = TEXTS[ROOT / "docs" / "write-your-own-layer.md"]
    assert page.count("the gradient of x is wrong at") == 1
    assert page.count("the derivative is wrong: where s < 0, at s = -1") == 1


@pytest.mark.parametrize("name", [name for name in fm.__all__ if not inspect.ismodule(getattr(fm, name))])
def test_the_reference_has_every_public_name(name: str) -> None:
    assert re.search(rf"^::: functional_mlp\.([a-z_]+\.)*{name}$", REFERENCE, re.MULTILINE)


MODULES = ("checkpoint", "datasets", "distributed", "engine", "ensemble", "interop", "sklearn", "tables", "testing")


@pytest.mark.parametrize("module", MODULES)
def test_the_reference_has_every_public_name_of_a_module(module: str) -> None:
    names = importlib.import_module(f"functional_mlp.{module}").__all__
    places = rf"functional_mlp\.({module}\.([a-z_]+\.)*)?"  # a name of the package is there without its module
    assert not [name for name in names if not re.search(rf"^::: {places}{name}$", REFERENCE, re.MULTILINE)]


@pytest.mark.parametrize("name", ["random", *(name for name in fm.__all__ if inspect.ismodule(getattr(fm, name)))])
def test_the_reference_has_every_public_module(name: str) -> None:
    assert re.search(rf"^::: functional_mlp\.{name}(\.[a-z_]+)?$", REFERENCE, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(
        r"\]\(([^)#: ]+)(?:#[^)]*)?\)", re.sub(r"^```.*?^```", "", TEXTS[page], flags=re.DOTALL | re.MULTILINE)
    )
    made = re.compile(r"figures/[a-z_]+\.svg$")  # by the build
    assert not [link for link in links if not made.search(link) and not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_blocks_of_code_are_of_a_known_language(page: Path) -> None:
    # What else stands there would make the site take the block for text.
    openings = re.findall(r"^```(.*)$", TEXTS[page], re.MULTILINE)[::2]
    assert set(openings) <= {"diff", "python", "sh", "text"}
