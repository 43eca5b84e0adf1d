"""How long a change of the playground takes, from the key to the picture, in a browser on this machine.

    pip install -c constraints.txt -e '.[playground]' playwright
    python benchmarks/playground.py [--browser chromium] [--changes 7] [--networks 1 16 32]

Each figure is the median over as many changes of the seed: other points and weights, the same code. The page itself
takes the time, from the event of the key to the new picture of the boundary, and says below its pictures what training
and drawing took of the last change. Server and browser share the processor.
"""

import argparse
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PICTURE = "img[alt^='The plane in the colours']"
SEED, NETWORKS = 2, 5  # among the sliders of the page
SIZES = (1, 2, 4, 8, 16, 32)  # those of the slider of networks
WATCH = """
(picture) => {
  const shown = () => document.querySelector(picture)?.getAttribute("src");
  window.changes = [];
  window.addEventListener("keydown", () => {
    const begun = performance.now(), before = shown();
    const look = () => {
      const now = shown();
      if (now && now !== before && document.querySelector(picture).complete)
        window.changes.push(performance.now() - begun);
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }, true);
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", default="chromium", help="a Chromium's name or path")
    parser.add_argument("--changes", type=int, default=7, choices=range(1, 20), metavar="N", help="1 to 19 (7)")
    parser.add_argument("--networks", type=int, nargs="+", default=[1, 16, 32], choices=SIZES)
    options = parser.parse_args()
    path = shutil.which(options.browser)
    if path is None:
        sys.exit(f"there is no {options.browser}: --browser takes the name or the path of a Chromium")
    from playwright.sync_api import sync_playwright

    with serving() as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 1200})
        started = time.perf_counter()
        page.goto(address)
        page.wait_for_selector(PICTURE)
        print(f"opened in {time.perf_counter() - started:.1f} s")
        page.evaluate(WATCH, PICTURE)
        for networks in options.networks:
            choose(page, networks)
            times = [change(page) for _ in range(options.changes)]
            said = re.findall(r"Code and training took [^\n]*", page.inner_text("body"))[0]
            spread = f"{statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"
            print(f"{networks:>3} networks: {spread}. {said}", flush=True)
        browser.close()


@contextmanager
def serving() -> Iterator[str]:
    """The address of a playground that is served meanwhile."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "functional_mlp", "playground", "--no-browser", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            while True:
                time.sleep(0.2)
                with socket.socket() as door:
                    if door.connect_ex(("127.0.0.1", port)) == 0:
                        break
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.terminate()


def choose(page: Any, networks: int) -> None:
    """Move the slider to a number of networks, and wait until all is quiet, the code being made."""
    page.get_by_role("slider").nth(SEED).press("Home")
    slider = page.get_by_role("slider").nth(NETWORKS)
    slider.press("Home")
    for _ in range(SIZES.index(networks)):
        slider.press("ArrowRight")
    page.wait_for_timeout(5000)


def change(page: Any) -> float:
    """The seconds of one change."""
    count = page.evaluate("window.changes.length")
    page.get_by_role("slider").nth(SEED).press("ArrowRight")
    page.wait_for_function("count => window.changes.length > count", arg=count, polling=200)
    page.wait_for_timeout(700)  # the other pictures
    return float(page.evaluate("window.changes.at(-1)")) / 1000


if __name__ == "__main__":
    main()
