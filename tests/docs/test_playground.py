"""The playground in a browser: controls move, pictures change, nothing fails, and its server ends with its command."""

import contextlib
import io
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image

from tests.docs.pages import commands, left_to

SECONDS = 120
SLIDERS = (
    *("How many", "Noise", "Seed", "Hidden layers"),
    *("Width of layer 1", "Width of layer 2", "Width of layer 3"),
    *("Networks", "Learning rate", "Batch size", "Epochs"),
)
CHOICES = {0: "three spirals", 1: "Tanh", 2: "mean squared error", 3: "SGD"}
BOUNDARY, SPREAD = "img[alt^='The plane in the colours']", "img[alt^='The deviation of the members']"


def eventually(holds: Callable[[], object], what: str) -> None:
    """Wait for something; `AssertionError` where it does not come."""
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, f"{what} has not come in {SECONDS} s"
        time.sleep(0.05)


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def serving(number: signal.Signals) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    """The page's command and the port at which it serves the playground, until it is ended by a signal."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (block,) = left_to(__file__, "docs/playground.md")
    (line,) = commands(block)
    command = [sys.executable, "-m", *line.replace("-", "_").split(), "--no-browser", "--port", str(port)]
    # What is said goes to a file: a pipe would stay open as long as a server that has been left behind.
    with tempfile.TemporaryFile("w+") as said, subprocess.Popen(command, stdout=said, stderr=said, text=True) as server:
        try:
            eventually(lambda: answers(port) or server.poll() is not None, "the server")
            yield port, server
        finally:
            server.send_signal(number)
            server.wait(timeout=SECONDS)
            said.seek(0)
            text = said.read()
    assert "Traceback" not in text, text
    assert not answers(port)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The page, served by the command, and ended by Ctrl-C."""
    with serving(signal.SIGINT) as (port, server):
        yield f"http://127.0.0.1:{port}/"
    assert server.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_the_server_ends_with_the_command(browser: Any, number: signal.Signals) -> None:
    with serving(number) as (port, server):
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
    page.close()
    assert server.returncode == 128 + number


class Visit:
    """A page in the browser, with the errors of its console."""

    def __init__(self, page: Any, address: str) -> None:
        self.page, self.errors = page, []
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(address)
        page.wait_for_selector(BOUNDARY, timeout=1000 * SECONDS)

    def picture(self) -> str:
        """The content of the picture of the boundary; a picture that is being replaced has none."""
        shown = self.page.locator(BOUNDARY)
        return shown.first.get_attribute("src") if shown.count() else ""

    def changes(self, move: Callable[[], object], what: str) -> None:
        """Move a control; the picture changes."""
        before = self.picture()
        move()
        eventually(lambda: self.picture() not in ("", before), f"another picture, for another {what}")

    def press(self, slider: str, key: str = "ArrowRight") -> None:
        self.slider(slider).press(key)

    def slider(self, name: str) -> Any:
        return self.page.locator("marimo-slider", has_text=name).get_by_role("slider")


WIDE, NARROW = (1400, "light"), (400, "dark")


@pytest.fixture(params=[WIDE])
def visit(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[Visit]:
    width, scheme = request.param
    page = browser.new_page(viewport={"width": width, "height": 1200}, color_scheme=scheme)
    opened = Visit(page, address)
    yield opened
    page.close()
    assert not opened.errors


@pytest.mark.parametrize("visit", [WIDE, NARROW], indirect=True, ids=["wide and light", "narrow and dark"])
def test_the_page_fits_and_its_colors_are_those_that_are_wished_for(visit: Visit) -> None:
    page = visit.page
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    assert page.locator("img").count() == 4  # one network has no spread
    is_dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    brightness = Image.open(io.BytesIO(page.screenshot())).convert("L").getpixel((3, 600))  # beside what is shown
    assert (brightness < 128) == is_dark


def test_every_control_trains_anew(visit: Visit) -> None:
    for slider in SLIDERS:
        visit.changes(lambda slider=slider: visit.press(slider), slider)
    eventually(lambda: visit.page.locator(SPREAD).count() == 1, "the spread of several networks")
    for index, choice in CHOICES.items():
        visit.changes(
            lambda index=index, choice=choice: visit.page.locator("select").nth(index).select_option(choice), choice
        )


def test_each_hidden_layer_has_a_width_of_its_own(visit: Visit) -> None:
    # From the layers 2-16-16-2 to 2-12-16-2, 2-12-12-2 and 2-12-2: how many parameters, and controls of widths.
    for slider, parameters, widths in (
        ("Width of layer 1", "278", 2),
        ("Width of layer 2", "218", 2),
        ("Hidden layers", "62", 1),
    ):
        visit.press(slider, "ArrowLeft")
        eventually(visit.page.get_by_text(parameters, exact=True).count, f"a network with {parameters} parameters")
        assert visit.slider("Width of layer").count() == widths


def test_a_run_that_diverges_is_said_to(visit: Visit) -> None:
    visit.changes(lambda: visit.page.locator("select").nth(2).select_option("mean squared error"), "loss")
    visit.changes(lambda: visit.page.locator("select").nth(3).select_option("SGD"), "optimizer")
    visit.press("Learning rate", "End")
    eventually(lambda: visit.page.get_by_text("Choose a smaller learning rate").count() > 0, "the warning")


def test_a_slider_that_is_dragged_leaves_no_error(visit: Visit) -> None:
    before = visit.picture()
    for step in range(40):
        visit.press(SLIDERS[step % 4], "ArrowLeft" if step % 3 else "ArrowRight")
    eventually(lambda: visit.picture() not in ("", before), "another picture, for a drag")
    visit.page.wait_for_timeout(3000)  # the errors of what is late, which `visit` and `serving` look for
