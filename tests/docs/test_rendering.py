"""A notebook in a browser, as Jupyter shows it: tables, the bar and figures are there to see."""

from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from tests.test_notebook import NOTEBOOK

MORE = """
result.params[0]
---
result.history
---
data
---
fm.fit_ensemble(network, fm.MeanSquaredError(), fm.Adam(0.01), data, keys=fm.random.key(2).split(3), epochs=2).history
---
fm.Dataset(data.inputs.repeat(1, 50), data.targets)
"""
WIDE, NARROW = 1400, 700


@pytest.fixture(scope="module")
def page_of_notebook(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The notebook, run, and written as the page that Jupyter makes of it."""
    from nbconvert import HTMLExporter

    cells = [nbformat.v4.new_code_cell(source.strip()) for source in f"{NOTEBOOK}---{MORE}".split("---")]
    book = nbformat.v4.new_notebook(cells=cells)
    folder = tmp_path_factory.mktemp("notebook")
    nbclient.NotebookClient(book, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    html, _ = HTMLExporter(mathjax_url="", require_js_url="").from_notebook_node(book)
    (folder / "notebook.html").write_text(html)
    return folder / "notebook.html"


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_values_are_there_to_see(browser: Any, page_of_notebook: Path, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 1000})
    page.goto(page_of_notebook.as_uri())
    bar = page.locator("progress")
    assert (bar.count(), bar.get_attribute("value"), bar.is_visible()) == (1, "20", True)
    tables = page.locator(".jp-RenderedHTMLCommon table")
    assert tables.count() == 7  # the network, the result, params, the history, data, the ensemble, wide data
    for index in range(tables.count()):
        box = tables.nth(index).bounding_box()
        assert min(box["width"], box["height"]) > 40
        assert tables.nth(index).locator("td").first.is_visible()
    assert "<td>" not in page.inner_text("body")
    figure = page.locator("img")
    assert figure.count() == 1
    assert figure.evaluate("image => image.naturalWidth") > 200
    assert figure.bounding_box()["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
