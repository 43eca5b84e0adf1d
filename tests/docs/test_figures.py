"""README's picture, which is kept for those who read it without the site's build, is what that build would draw."""

import importlib
import io

import numpy as np
import pytest
from PIL import Image

from tests.docs.pages import ROOT

KEPT = ROOT / "docs" / "gallery.png"


def coarse(image: Image.Image) -> np.ndarray:
    """The colours of an image in squares of 11 by 11 pixels, in which letters and single points count little."""
    width, height = image.size
    return np.asarray(image.convert("RGB").resize((width // 11, height // 11), Image.Resampling.BOX), dtype=float)


def test_the_picture_of_the_readme_is_drawn_by_its_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    figures = importlib.import_module("figures")
    drawn, kept = Image.open(io.BytesIO(figures.png(figures.gallery()))), Image.open(KEPT)
    assert drawn.size == kept.size
    # The titles say how long it took. Where there are no points an answer depends on the machine's rounding: with the
    # reference engine 1.4 % of the squares differ as much, and with another key 13 %.
    differing = (abs(coarse(drawn) - coarse(kept)).max(axis=2) > 20).mean()
    assert differing < 0.05, "run python docs/figures.py gallery docs/gallery.png"
