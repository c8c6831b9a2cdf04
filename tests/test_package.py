"""The package as it is installed: its version, what it declares, and what an import loads."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import fkd

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# The distribution that a module comes from, where it has another name.
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn", "triton": "torch"}
# What parts of fkd may import beyond the dependencies: an extra is theirs alone.
EXTRAS_OF = {
    "compare": "compare",
    "data": "compare",
    "models": "models",
    "testing": "testing",
}
TRAINING = ("fkd.train", "fkd.compare", "fkd.distillation", "fkd.model", "fkd.methods")
HEAVY = ("torchvision", "sklearn", "matplotlib", "scipy", "rich", "hypothesis")


# Each script in a process of its own, forked from one that has imported what takes seconds.
IN_PROCESSES = """
import json, os, sys
first, scripts, names = json.loads(sys.argv[1])
exec(first)
for script in scripts:
    if not os.fork():
        exec(script)
        print(json.dumps([script, sorted(set(names) & set(sys.modules))]), flush=True)
        os._exit(0)
    os.wait()
"""


def _loaded(first: str, scripts: list[str], names: tuple[str, ...]) -> dict[str, list[str]]:
    """Which of these modules each script loads, after the first, in a Python of their own."""
    asked = json.dumps([first, scripts, names])
    command = [sys.executable, "-W", "ignore", "-c", IN_PROCESSES, asked]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(line) for line in told.splitlines())


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=]", requirement)[0] for requirement in requirements}


def test_the_version_is_that_of_the_project():
    assert fkd.__version__ == version("fkd") == PROJECT["version"]


@pytest.mark.plain
def test_losses_load_no_training_code_and_what_trains_neither_pictures_nor_data_sets():
    losses = ["import fkd; fkd.losses.kl_divergence", "from fkd import losses", "import fkd.losses"]
    trains = "from fkd import train, teachers, optim"
    loaded = _loaded("import torch", [*losses, trains], TRAINING + HEAVY)
    assert [loaded[script] for script in losses] == [[], [], []]
    assert set(loaded[trains]).isdisjoint(HEAVY)


@pytest.mark.plain
def test_fkd_itself_loads_nothing():
    assert _loaded("", ["import fkd"], ("torch", "numpy", "fkd.losses")) == {"import fkd": []}


def test_every_part_can_be_reached():
    for name in fkd.__all__:
        assert getattr(fkd, name).__name__ == f"fkd.{name}"
        assert name in dir(fkd)
    with pytest.raises(AttributeError, match="'fkd' has no attribute 'losse'; it has checkpoint"):
        fkd.losse  # noqa: B018


@pytest.mark.parametrize(
    "path", sorted((ROOT / "fkd").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_what_a_file_imports_is_declared(path):
    declared = _names(PROJECT["dependencies"])
    extra = EXTRAS_OF.get(path.relative_to(ROOT / "fkd").parts[0])
    if extra:
        declared |= _names(EXTRAS[extra])
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.split(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {"fkd"}
    assert {DISTRIBUTIONS.get(name, name) for name in foreign} <= declared
