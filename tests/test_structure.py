"""The order of the package: every import points down, and none leads in a circle.

Imports inside functions, and by `import_module`, count as all others do; those for type checkers alone
(`if TYPE_CHECKING`) may point up, and lead in no circle either, but for that of `engine.llvm.vector` and `operands`.
"""

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import functional_mlp
from functional_mlp import api

ROOT = Path(functional_mlp.__file__).parent

# Each file and folder of the package is on one floor, from the lowest to the highest, and may import from its own floor
# and from those below. A new one is put as low as what it needs allows.
FLOORS = {
    "ground": (
        "algebra",
        "arrays",
        "bytecode",
        "calling",
        "checks",
        "compensation",
        "conversions",
        "escaping",
        "extras",
        "files",
        "forks",
        "from_type",
        "gates",
        "imports",
        "interrupts",
        "leaves",
        "lost",
        "markup",
        "operands",
        "pages",
        "pytree",
        "random",
        "reads",
        "recording",
        "shuffling",
        "spread",
        "straight",
        "targets",
        "trees",
        "unpacking",
        "usual",
        "value",
        "views",
    ),
    "values": (
        *(
            "catalogue",
            "datasets",
            "history",
            "initializers",
            "layers",
            "losses",
            "monitors",
            "optimizers",
            "penalties",
            "schedules",
        ),
        "samples",
        "stopping",
        "symbolic",
    ),
    "an epoch": (
        *(
            "arguments",
            "backprop",
            "buffers",
            "captured",
            "descent",
            "metrics",
            "monitor_checks",
            "orders",
            "passes",
            "reference",
            "state",
        ),
        "tracing",
    ),
    "native code": ("engine",),
    "the door to it": ("engines",),
    "training": ("bar", "course", "evaluation", "online", "standing", "training", "watching"),
    "figures": ("plotting", "style"),
    "around training": ("checkpoint", "ensemble", "tables"),
    "the public names": ("__init__", "api"),
    "ways in and out": ("distributed", "interop", "sklearn", "testing"),
    "the experiments": ("experiments",),
    "the command line": ("__main__", "cli"),
}
FLOOR = {name: level for level, names in enumerate(FLOORS.values()) for name in names}
HIGHEST = len(FLOORS) - 1
# Whoever needs the engine goes through `engines`, or, on the way out, through the public `fm.engine`: a graph for ONNX
# holds the numbers that the engine computes with.
MAY_USE_THE_ENGINE = ("engines", "interop.graphs")
# What makes a value's formula loads sympy, and what draws a class's values the testing kit: both are looked for above
# when a notebook or a test asks, for they could not make themselves known below without being loaded first.
LOOKED_FOR_ABOVE = {"value": "symbolic.formulas", "from_type": "testing.__init__"}
# These are known before any name of the package is.
PLAIN = {"__version__", "__file__"}


def modules() -> dict[str, Path]:
    """The files of the package by their places in it: `layers.base`, and `layers.__init__` for that of a folder."""
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(ROOT.rglob("*.py"))}


MODULES = modules()


def file_of(dotted: str) -> str:
    """The file that a dotted name is in; the names after `functional_mlp` are modules, and then what these hold."""
    parts = dotted.split(".")[1:]
    for length in range(len(parts), 0, -1):
        for name in (".".join(parts[:length]), ".".join([*parts[:length], "__init__"])):
            if name in MODULES:
                return name
    return "__init__"


def imports(source: str) -> set[str]:
    """The files of the package that a source imports from."""
    tree = ast.parse(source)
    found = {file_of(name) for name in _imported(tree)}
    return found - {"__init__"} | ({"__init__"} if _names_of_the_package(tree) - PLAIN else set())


def _imported(node: ast.AST) -> Iterator[str]:
    """The dotted names that are imported in a piece of code."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        for child in node.orelse:
            yield from _imported(child)
    elif isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "functional_mlp")
    elif isinstance(node, ast.ImportFrom):
        if (node.module or "").split(".")[0] == "functional_mlp":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
    else:
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            yield from (name for name in names if name.split(".")[0] == "functional_mlp")
        for child in ast.iter_child_nodes(node):
            yield from _imported(child)


def _names_of_the_package(tree: ast.AST) -> set[str]:
    """What a source reads from the package itself, as in `fm.Linear`."""
    imported = [alias for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    called = {alias.asname or alias.name for alias in imported if alias.name == "functional_mlp"}
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    return {node.attr for node in attributes if isinstance(node.value, ast.Name) and node.value.id in called}


IMPORTS = {name: imports(path.read_text()) for name, path in MODULES.items()}
GRAPH = {name: found - {name, LOOKED_FOR_ABOVE.get(name)} for name, found in IMPORTS.items()}

# What the package's pages load when one of its names is used: from below it is not there yet, but it may need no page.
LATER = {"__init__": functional_mlp._MODULES, "api": api._LATER.values()}
GRAPH_WITH_LATER = GRAPH | {
    page: GRAPH[page] | {file_of(f"functional_mlp.{name}") for name in names} for page, names in LATER.items()
}


# The package's pages give names of files that may need them; an operand's methods give vectors, whose methods take it.
UNTYPED = {"__init__", "api", "engine.llvm.operands"}


def typed_imports(source: str) -> set[str]:
    """The files of the package that a source imports from, those for type checkers alone as well."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    return {file_of(name) for node in nodes for name in _imported(node)} - {"__init__"}


TYPED_GRAPH = {name: typed_imports(path.read_text()) - {name} for name, path in MODULES.items() if name not in UNTYPED}


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Some nodes of a graph that lead in a circle, none where nothing does."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        nodes: list[str] = error.args[1]
        return nodes
    return []


def within(folder: str) -> dict[str, set[str]]:
    """The imports between the files and folders of a folder, each a node with all that is in it."""
    graph: dict[str, set[str]] = {}
    for name, targets in GRAPH.items():
        if name.startswith(folder):
            node = name.removeprefix(folder).split(".")[0]
            inner = {target.removeprefix(folder).split(".")[0] for target in targets if target.startswith(folder)}
            graph.setdefault(node, set()).update(inner - {node})
    return graph


def top(name: str) -> str:
    return name.split(".")[0]


def floor(name: str) -> int:
    """The floor of a file; what is started as a program is a way in."""
    return HIGHEST if name.endswith("__main__") else FLOOR[top(name)]


def test_every_file_and_folder_is_on_a_floor() -> None:
    assert {top(name) for name in MODULES} == set(FLOOR)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_down(name: str) -> None:
    above = [target for target in GRAPH[name] if floor(target) > floor(name)]
    assert not above, f"{name} is below what it imports"


def test_what_is_looked_for_above_is_imported_there() -> None:
    for name, target in LOOKED_FOR_ABOVE.items():
        assert target in IMPORTS[name]
        assert floor(target) > floor(name)


def test_no_imports_between_files_lead_in_a_circle() -> None:
    assert not circle(GRAPH_WITH_LATER)
    assert not circle(TYPED_GRAPH)


def test_what_pages_load_later_is_known() -> None:
    assert {name for name, path in MODULES.items() if 'import_module(f"functional_mlp.' in path.read_text()} == {*LATER}


@pytest.mark.parametrize("folder", ["", *sorted({f"{name.rpartition('.')[0]}." for name in MODULES if "." in name})])
def test_no_imports_between_folders_lead_in_a_circle(folder: str) -> None:
    # The page of a folder gives names of its files, and may be needed by them.
    graph = {node: targets - {"__init__"} for node, targets in within(folder).items() if node != "__init__"}
    assert not circle(graph)


def test_there_is_one_door_to_the_engine() -> None:
    users = {name for name, targets in GRAPH.items() if any(top(target) == "engine" for target in targets)}
    assert {name for name in users if top(name) != "engine"} == {*MAY_USE_THE_ENGINE}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from functional_mlp.layers.base import Layer", {"layers.base"}),
        ("from functional_mlp.layers import base, linear as l", {"layers.base", "layers.linear"}),
        ("from functional_mlp import pytree, engine", {"pytree", "engine.__init__"}),
        ("def f():\n    from functional_mlp.engine import cache", {"engine.cache"}),
        ("class A:\n    def f(self):\n        import functional_mlp.random", {"random"}),
        ('importlib.import_module("functional_mlp.engine.cache")', {"engine.cache"}),
        ('def f():\n    return import_module("functional_mlp.testing").STRATEGIES', {"testing.__init__"}),
        ('importlib.import_module("polars")', set()),
        ("try:\n    from functional_mlp import losses\nexcept ImportError:\n    pass", {"losses.__init__"}),
        (
            "if TYPE_CHECKING:\n    from functional_mlp import losses\nelse:\n    from functional_mlp import files",
            {"files"},
        ),
        ("import functional_mlp as fm\nfm.Linear(2, 2)", {"__init__"}),
        ("import functional_mlp\nprint(functional_mlp.__version__)", set()),
        ("import torch\nfrom attrs import frozen", set()),
    ],
)
def test_imports_are_found(source: str, expected: set[str]) -> None:
    assert imports(source) == expected


def test_circles_are_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not circle({"a": {"b", "c"}, "b": {"c"}, "c": set()})
