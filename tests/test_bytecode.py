"""What is known of code without running it."""

import os
from pathlib import Path

import pytest
import torch

from functional_mlp.bytecode import is_installed


def test_what_lies_where_pip_has_put_packages_is_installed(tmp_path: Path) -> None:
    mine, others = tmp_path / "mine" / "part", tmp_path / "others" / "package"
    for folder in (mine, others, tmp_path / "others" / "package-1.0.dist-info"):
        folder.mkdir(parents=True)
    assert is_installed(str(others / "module.py"))
    assert not is_installed(str(mine / "module.py"))


@pytest.mark.parametrize("module", [os, torch], ids=["os", "torch"])
def test_python_and_its_packages_are_installed(module: object) -> None:
    assert is_installed(getattr(module, "__file__", ""))
