"""README's picture, which is kept for those who read it without the site's build, is what that build would draw."""

import importlib
import io
import re
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from tests.docs.pages import ROOT
from tests.test_structure import FLOORS

KEPT = ROOT / "docs" / "gallery.png"


def coarse(image: Image.Image) -> np.ndarray:
    """The colours of an image in squares of 11 by 11 pixels, in which letters and single points count little."""
    width, height = image.size
    return np.asarray(image.convert("RGB").resize((width // 11, height // 11), Image.Resampling.BOX), dtype=float)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "docs")
    return importlib.import_module("figures")


def test_the_picture_of_the_readme_is_drawn_by_its_function(figures: ModuleType) -> None:
    drawn, kept = Image.open(io.BytesIO(figures.png(figures.gallery()))), Image.open(KEPT)
    assert drawn.size == kept.size
    # The titles say how long it took. Where there are no points an answer depends on the machine's rounding: with the
    # reference engine 1.4 % of the squares differ as much, and with another key 13 %.
    differing = (abs(coarse(drawn) - coarse(kept)).max(axis=2) > 20).mean()
    assert differing < 0.05, "run python docs/figures.py gallery docs/gallery.png"


def test_the_house_holds_what_is_in_it(figures: ModuleType) -> None:
    figure = figures.house()
    figure.draw_without_rendering()
    (axes,) = figure.axes
    # An annotation's extent is that of its arrow.
    arrows = [text.get_window_extent() for text in axes.texts if text.get_text() == ""]
    texts = [text.get_window_extent() for text in axes.texts if text.get_text() != ""]
    assert len(arrows) > len(FLOORS)
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in [*arrows, *texts])
    floors = [patch.get_window_extent() for patch in axes.patches]
    for floor, names in zip(floors, texts[1::2], strict=True):
        assert floor.x0 < names.x0 < names.x1 < floor.x1
        assert floor.y0 < names.y0 < names.y1 < floor.y1


def test_the_page_names_every_floor_of_the_house_in_turn() -> None:
    named = re.findall(r"^- \*\*(.+?)\*\*: ", (ROOT / "docs" / "design.md").read_text(), re.MULTILINE)
    assert [floor.lower() for floor in named] == list(FLOORS)
