"""What the project needs is declared, and its bounds are those that are tested."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# What the package runs with, and what its tests do besides: the oldest versions are tested.
TESTED_EXTRAS = ("table", "plot", "testing", "onnx", "sklearn", "cluster")
TESTED = [*PROJECT["dependencies"], *(requirement for extra in TESTED_EXTRAS for requirement in EXTRAS[extra])]
TESTING = ("pytest", "pytest-xdist")


def bounds(requirements: list[str]) -> dict[str, str]:
    """The lower bound of each requirement, such as `numpy>=1.26`."""
    matches = [re.fullmatch(r"([\w-]+)(?:\[[\w,-]+\])?>=([\d.]+)", requirement) for requirement in requirements]
    assert None not in matches, requirements
    return {match[1]: match[2] for match in matches if match is not None}


def versions(name: str) -> dict[str, str]:
    """The versions that a file of constraints holds."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def is_version(version: str, bound: str) -> bool:
    """Whether a version is a bound, which may leave zeros out."""
    parts, least = version.split("."), bound.split(".")
    return parts[: len(least)] == least and set(parts[len(least) :]) <= {"0"}


TOOLS = [requirement for requirement in EXTRAS["dev"] if not requirement.startswith("functional-mlp")]


def test_the_oldest_versions_that_are_tested_are_the_bounds() -> None:
    declared = bounds(TESTED) | {name: bound for name, bound in bounds(TOOLS).items() if name in TESTING}
    lowest = versions("constraints-lowest.txt")
    assert lowest.keys() == declared.keys()
    wrong = {name: lowest[name] for name, bound in declared.items() if not is_version(lowest[name], bound)}
    assert wrong.keys() <= {"torch"}  # of which one version is large enough
    assert lowest["torch"] == versions("constraints.txt")["torch"]


@pytest.mark.parametrize("requirement", [*TOOLS, *EXTRAS["bench"]])
def test_other_tools_are_bounded_by_the_version_in_use(requirement: str) -> None:
    ((name, bound),) = bounds([requirement]).items()
    if name not in TESTING:
        assert f"{versions('constraints.txt')[name]}.".startswith(f"{bound}.")


SHOWN = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("functional_mlp/**/*.py"), *ROOT.glob(".ci/*")]
TEXTS = {path: path.read_text() for path in SHOWN}


def test_nobody_is_sent_to_an_index_that_has_no_such_package() -> None:
    assert not [path for path, text in TEXTS.items() if re.search(r"pip install [^&\n]*functional.mlp\b", text)]


def test_torch_is_installed_first_in_the_version_that_is_asked_for_then() -> None:
    said = {path.name: re.findall(r"pip install [^\n]*\btorch(\S*) --index-url", text) for path, text in TEXTS.items()}
    asked = [f"=={versions('constraints.txt')['torch']}"]
    assert {name: found for name, found in said.items() if found} == {"README.md": asked, "start.md": asked}


def test_every_requirement_has_a_version() -> None:
    wanted = bounds([*TESTED, *TOOLS, *EXTRAS["bench"]]).keys()
    assert wanted <= versions("constraints.txt").keys()
