"""Threads that use the package, or what it looks for, while another one imports it."""

import ast
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import functional_mlp as fm
from functional_mlp import imports

MODULES = sorted(Path(fm.__file__).parent.rglob("*.py"))
# Seconds: longer than nothing needs, and than anything here takes.
SHORT, LONG = 1.2, 60.0

# A module whose import waits in the middle until it may go on, and says so.
HALF = """
import tests.test_imports as test
test.half.set()
assert test.go_on.wait(test.LONG)
{then}
whole = True
"""

half, go_on = threading.Event(), threading.Event()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Writes the module of the name that it gives back, with some lines of code in its second half."""
    name = "half_imported"
    monkeypatch.syspath_prepend(tmp_path)
    half.clear()
    go_on.clear()

    def write(then: str) -> str:
        (tmp_path / f"{name}.py").write_text(HALF.format(then=then))
        return name

    yield write
    sys.modules.pop(name, None)


def started(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def test_what_another_thread_has_half_imported_is_waited_for(module: Callable[[str], str]) -> None:
    name = module("")
    found: list[ModuleType | None] = []
    threads = [started(lambda: __import__(name))]
    assert half.wait(LONG)
    threads.append(started(lambda: found.append(imports.loaded(name))))
    threads[1].join(0.05)
    assert not found
    go_on.set()
    [thread.join(LONG) for thread in threads]
    assert [vars(each)["whole"] for each in found if each] == [True]


def test_what_nobody_has_imported_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert imports.loaded("no_such_module") is None
    monkeypatch.setitem(sys.modules, "forbidden_module", None)  # as Python forbids an import
    assert imports.loaded("forbidden_module") is None


@pytest.mark.parametrize("owner_needs_it", [False, True])
def test_a_thread_waits_for_anothers_import_unless_that_one_waits_for_it(
    module: Callable[[str], str], owner_needs_it: bool
) -> None:
    name = module("from functional_mlp import imports\nwith imports.importing():\n    test.entered.append('importer')")
    entered.clear()
    owning, enough = threading.Event(), threading.Event()

    def own() -> None:
        with imports.importing():
            owning.set()
            if owner_needs_it:
                __import__(name)
            assert owner_needs_it or enough.wait(LONG)
            entered.append("owner")

    def enter() -> None:
        with imports.importing():
            entered.append("other")

    importer = started(lambda: __import__(name))
    assert half.wait(LONG)
    owner = started(own)
    assert owning.wait(LONG)
    other = started(enter)
    go_on.set()
    if owner_needs_it:
        owner.join(LONG)
    else:
        other.join(SHORT)  # however long it takes
        assert not entered
        enough.set()
    [thread.join(LONG) for thread in (importer, owner, other)]
    assert sorted(entered) == ["importer", "other", "owner"]
    assert (entered.index("importer") < entered.index("owner")) is owner_needs_it


entered: list[str] = []


def test_each_item_is_taken_by_one_of_the_threads() -> None:
    items = list(range(2000))
    shares: list[list[int]] = [[], []]
    threads = [started(lambda share=share: share.extend(imports.taken(items))) for share in shares]
    [thread.join(LONG) for thread in threads]
    assert sorted(shares[0] + shares[1]) == list(range(2000))


@pytest.mark.parametrize("path", [path for path in MODULES if "numpy.typing" in path.read_text()], ids=str)
def test_a_module_imports_numpy_before_its_types(path: Path) -> None:
    # numpy cannot be imported by one thread while another one begins with numpy.typing.
    statements = ast.parse(path.read_text()).body
    at_once = [ast.unparse(each) for each in statements if isinstance(each, ast.Import | ast.ImportFrom)]
    of_numpy = [line.removesuffix(" as np") for line in at_once if "numpy" in line]
    assert of_numpy[:1] in ([], ["import numpy"])
