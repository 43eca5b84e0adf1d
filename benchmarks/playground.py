"""How long a change of the playground takes, from the move of a control to the picture, in a browser on this machine.

    pip install -c constraints.txt -e '.[playground]' playwright
    python benchmarks/playground.py [--browser chromium] [--changes 7] [--networks 1 16 32] [--most "How many" Epochs]

Two kinds of changes are timed: of the seed, which gives other points and weights to the same code; and of the network,
to a width or an activation for which there is no code yet, the folder in which it is kept being empty at first. The
figures are medians. The page itself takes the time, from the press of an arrow key or the choice of an activation to
the new picture of the boundary, and says below its pictures what of it went into code and training, and what into
answers and pictures. Server and browser share the processor. With `--most` the sliders of these names are moved to
their right ends first, and only changes of the seed are timed.
"""

import argparse
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

PICTURE = "img[alt^='The plane in the colours']"
SIZES = (1, 2, 4, 8, 16, 32)  # those of the slider of networks
ACTIVATIONS = ("Tanh", "ReLU", "SiLU", "Sigmoid")  # but for the one that is there at first
QUIET = 1000  # milliseconds after which nothing goes on any more
WATCH = """
(picture) => {
  const shown = () => document.querySelector(picture)?.getAttribute("src");
  window.changes = [];
  const watch = () => {
    const begun = performance.now(), before = shown();
    const look = () => {
      const now = shown();
      if (now && now !== before && document.querySelector(picture).complete)
        window.changes.push(performance.now() - begun);
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  };
  for (const kind of ["keydown", "input"]) window.addEventListener(kind, watch, true);
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", default="chromium", help="a Chromium's name or path")
    parser.add_argument("--changes", type=int, default=7, choices=range(1, 9), metavar="N", help="1 to 8 of a kind (7)")
    parser.add_argument("--networks", type=int, nargs="+", default=[1, 16, 32], choices=SIZES)
    parser.add_argument("--most", nargs="+", default=[], metavar="SLIDER", help="sliders that are moved to their ends")
    options = parser.parse_args()
    path = shutil.which(options.browser)
    if path is None:
        sys.exit(f"there is no {options.browser}: --browser takes the name or the path of a Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for networks in options.networks:
            with serving() as address:
                page = browser.new_page(viewport={"width": 1400, "height": 1200})
                measure(page, address, networks, options.most, options.changes)
        browser.close()


def measure(page: Any, address: str, networks: int, most: Sequence[str], count: int) -> None:
    """Print how long as many changes of each kind take, with a number of networks."""
    started = time.perf_counter()
    page.goto(address)
    page.wait_for_selector(PICTURE)
    print(f"{networks} networks; the page opened in {time.perf_counter() - started:.1f} s")
    page.wait_for_timeout(QUIET)
    page.evaluate(WATCH, PICTURE)
    for _ in range(SIZES.index(networks)):
        change(page, lambda: press(page, "Networks"))
    for slider in most:
        change(page, lambda slider=slider: press(page, slider, "End"))
    kinds = {"seed": seeds(page)} if most else {"seed": seeds(page), "network": new_networks(page)}
    for kind, moves in kinds.items():
        times, trained, drawn = zip(*(change(page, next(moves)) for _ in range(count)), strict=True)
        whole, *parts = map(statistics.median, (times, trained, drawn))
        print(f"  another {kind}: {whole:.2f} s ({min(times):.2f} to {max(times):.2f})", end=", ")
        print("of these {:.2f} s code and training, {:.2f} s answers and pictures".format(*parts), flush=True)
    page.close()


@contextmanager
def serving() -> Iterator[str]:
    """The address of a playground that is served meanwhile, to which no code has been left."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "functional_mlp", "playground", "--no-browser", "--port", str(port)]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "FUNCTIONAL_MLP_CACHE": folder}
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as server:
            try:
                while True:
                    time.sleep(0.2)
                    with socket.socket() as door:
                        if door.connect_ex(("127.0.0.1", port)) == 0:
                            break
                yield f"http://127.0.0.1:{port}/"
            finally:
                server.terminate()


def seeds(page: Any) -> Iterator[Callable[[], None]]:
    """Moves to other seeds."""
    while True:
        yield lambda: press(page, "Seed")


def new_networks(page: Any) -> Iterator[Callable[[], None]]:
    """Moves to networks that have not been there: wider ones, and in turn with other activations."""
    for name in ACTIVATIONS:
        yield lambda: press(page, "Width of layer 1")
        yield (
            lambda name=name: (
                page.locator("marimo-dropdown", has_text="Activation").locator("select").select_option(name)
            )
        )


def press(page: Any, slider: str, key: str = "ArrowRight") -> None:
    page.locator("marimo-slider", has_text=slider).get_by_role("slider").press(key)


def change(page: Any, move: Callable[[], None]) -> tuple[float, float, float]:
    """The seconds that a change takes, and what the page says of them: for code and training, and to draw."""
    count = page.evaluate("window.changes.length")
    move()
    page.wait_for_function("count => window.changes.length > count", arg=count, polling=200)
    page.wait_for_timeout(QUIET)
    said = re.findall(r"took ([\d.]+) s, answers and pictures ([\d.]+) s", page.inner_text("body"))[0]
    return page.evaluate("window.changes.at(-1)") / 1000, *map(float, said)


if __name__ == "__main__":
    main()
