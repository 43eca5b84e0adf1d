"""The browser that looks at pages.

`FUNCTIONAL_MLP_BROWSER` names a Chromium to drive, as `.ci/run site` does; without it there is nothing to look with.
"""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

# Where there is no display, and no network beyond this machine.
OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    name = os.environ.get("FUNCTIONAL_MLP_BROWSER")
    if name is None:
        pytest.skip("FUNCTIONAL_MLP_BROWSER names no Chromium")
    from playwright.sync_api import sync_playwright

    path = shutil.which(name)
    assert path is not None, f"there is no {name}"
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=OPTIONS)
        yield chromium
        chromium.close()
