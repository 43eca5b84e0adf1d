"""The page "Write your own layer and prove it": its code runs, and prints what the page says.

    python -m tests.testing.test_docs

writes the outputs into the page anew.
"""

import contextlib
import io
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "write-your-own-layer.md"
CODE_AND_OUTPUT = re.compile(r"```python\n(?P<code>.*?)```(?P<between>\n\n```text\n(?P<output>.*?)```)?", re.DOTALL)


@contextlib.contextmanager
def module_of_the_page() -> Iterator[types.ModuleType]:
    """A module for the page's names, which can be imported, as pickling its classes asks for."""
    module = types.ModuleType("page_write_your_own_layer")
    sys.modules[module.__name__] = module
    try:
        yield module
    finally:
        del sys.modules[module.__name__]


def output_of(code: str, module: types.ModuleType) -> str:
    """What a block of code prints, with the failure of a check that ends it."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(code, str(PAGE), "exec"), vars(module))
        except AssertionError as failure:
            print(f"AssertionError: {failure}")
    return printed.getvalue()


def page_with_outputs(page: str) -> str:
    """The page with what its code prints."""
    with module_of_the_page() as module:

        def rewritten(block: re.Match[str]) -> str:
            output = output_of(block["code"], module)
            shown = f"\n\n```text\n{output}```" if block["between"] or output else ""
            return f"```python\n{block['code']}```{shown}"

        return CODE_AND_OUTPUT.sub(rewritten, page)


def test_the_page_says_what_its_code_prints() -> None:
    page = PAGE.read_text()
    assert page_with_outputs(page) == page


def test_the_pages_mistakes_are_found() -> None:
    assert PAGE.read_text().count("the gradient of x is wrong at") == 1
    assert PAGE.read_text().count("the derivative is wrong: where s < 0, at s = -1") == 1


if __name__ == "__main__":
    PAGE.write_text(page_with_outputs(PAGE.read_text()))
