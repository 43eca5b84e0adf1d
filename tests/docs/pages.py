"""The pages of the documentation, and what their code prints.

    python -m tests.docs.pages [PAGE.md ...]

writes the outputs of all pages, or of those that are named, into them anew.

The blocks of Python of a page are one program, and so are its commands. A block of text below a block of code is what
that prints. Commands that install or measure something are not run. What needs a cluster, ranks or a browser is run by
tests of its own: they find the block by the comment above it, `<!-- run by tests/FILE.py -->`.
"""

import contextlib
import io
import itertools
import os
import re
import shlex
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path

from functional_mlp.cli import main
from functional_mlp.engine.__main__ import main as show_code

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(
    r"(?P<mark><!-- run by (?P<test>[^\n]*) -->\n\n)?"
    r"^```(?P<language>python|sh)\n(?P<code>.*?)^```$(?P<between>\n\n```text\n(?P<output>.*?)^```$)?",
    re.DOTALL | re.MULTILINE,
)
# Our commands, as functions of their arguments.
PROGRAMS = {"functional-mlp": main, "python -m functional_mlp.engine": show_code}
NOT_RUN = ("python3 -m venv", "pip install", ".venv/bin/pip install", "source ", "python benchmarks/")
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?")


def left_to(test: str, page: str) -> list[str]:
    """The blocks of code of a page, named from the root, that are run by the tests of a file, which is `__file__`."""
    file = str(Path(test).relative_to(ROOT))
    return [block["code"] for block in BLOCK.finditer((ROOT / page).read_text()) if block["test"] == file]


@contextlib.contextmanager
def module_of(page: Path) -> Iterator[types.ModuleType]:
    """A module for a page's names, which can be imported, as pickling its classes asks for; in an empty folder."""
    module = types.ModuleType(f"page_{re.sub('[^a-z]', '_', page.stem)}")
    sys.modules[module.__name__] = module
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            yield module
    finally:
        del sys.modules[module.__name__]


def output_of(block: re.Match[str], page: Path, module: types.ModuleType) -> str:
    """What a block of code prints, with the failure of a check that ends it."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if block["language"] == "sh":
            for command in commands(block["code"]):
                (name,) = (name for name in PROGRAMS if command.startswith(f"{name} "))
                code = PROGRAMS[name](shlex.split(command.removeprefix(name)))
                assert not code, f"{page.name}: {command} ended with {code}"
        else:
            try:
                exec(compile(block["code"], str(page), "exec"), vars(module))
            except AssertionError as failure:
                print(f"AssertionError: {failure}")
    return "".join(f"{line.rstrip()}\n" for line in printed.getvalue().splitlines())


def commands(code: str) -> list[str]:
    """The commands of a block that can be run here; `AssertionError` for one that is neither of ours nor installs."""
    lines = [line for line in code.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    ours = tuple(f"{name} " for name in PROGRAMS)
    unknown = [line for line in lines if not line.startswith((*ours, *NOT_RUN))]
    assert not unknown, f"no test can run {unknown}"
    return [line for line in lines if line.startswith(ours)]


def with_outputs(page: Path) -> str:
    """The page with what its code prints."""
    with module_of(page) as module:

        def rewritten(block: re.Match[str]) -> str:
            if block["mark"]:
                return block[0]
            output = output_of(block, page, module)
            # What a command prints may be of no interest.
            is_shown = block["between"] or (output and block["language"] == "python")
            shown = f"\n\n```text\n{output}```" if is_shown else ""
            return f"```{block['language']}\n{block['code']}```{shown}"

        return BLOCK.sub(rewritten, page.read_text())


def first_difference(page: str, now: str) -> str | None:
    """The first line in which two texts of a page differ by more than their numbers may.

    Numbers differ from one processor to the next, and with a run's time: what follows from training is within a tenth,
    and what is a time is left out of account.

    >>> first_difference("loss 0.42, 3.1 s", "loss 0.43, 9.5 s") is None
    True
    >>> print(first_difference("loss 0.42", "loss 0.52"))
    the page says 'loss 0.42', and the code now prints 'loss 0.52'
    """
    for said, printed in itertools.zip_longest(page.splitlines(), now.splitlines(), fillvalue=""):
        if not _agree(_without_times(said), _without_times(printed)):
            return f"the page says {said!r}, and the code now prints {printed!r}"
    return None


def _without_times(line: str) -> str:
    return re.sub(r"[\d.,]+ (m?s\b|samples a second)", r"– \1", line)


def _agree(said: str, printed: str) -> bool:
    numbers = [[float(text.replace(",", "")) for text in NUMBER.findall(line)] for line in (said, printed)]
    if NUMBER.sub("0", said).split() != NUMBER.sub("0", printed).split() or len(numbers[0]) != len(numbers[1]):
        return False
    return all(abs(a - b) <= 0.1 * max(abs(a), abs(b)) + 0.005 for a, b in zip(*numbers, strict=True))


if __name__ == "__main__":
    os.environ.setdefault("COLUMNS", "100")
    for path in [Path(name).resolve() for name in sys.argv[1:]] or PAGES:
        path.write_text(with_outputs(path))
