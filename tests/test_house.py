"""The house is as the README draws it: short files, imports one way, tests beside their sources."""

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST = 400  # lines of a file
# A file imports only from parts above its own: the README's floor plan, in its order.
PARTS = [
    "_check",
    "_random",
    "_imported",
    "_draws",
    "losses",
    "statistics",
    "checkpoint",
    "model",
    "split",
    "_digest",
    "models",
    "heads",
    "schedules",
    "methods",
    "optim",
    "data",
    "distillation",
    "ensemble",
    "execution",
    "evaluate",
    "export",
    "teachers",
    "train",
    "distributed",
    "compare",
    "testing",
]
# The folders of a comparison, in CONTRIBUTING's order: none imports from one that is below it.
FOLDERS = ["_setup", "_job", "_store", "presentation", "_command", "report", "_several"]
# Imports within a function that close a circle: a record loads what writes and draws it when asked.
LATE = {
    ("fkd.compare.results", "fkd.compare.presentation.table"),
    ("fkd.compare.results", "fkd.compare.presentation.figures"),
    ("fkd.compare.results", "fkd.compare.conclusions"),
    ("fkd.compare.variance", "fkd.compare.presentation.variance_table"),
    ("fkd.compare.variance", "fkd.compare.presentation.variance_figures"),
    ("fkd.compare.teachers", "fkd.compare.presentation.teachers_table"),
    ("fkd.compare.teachers", "fkd.compare.presentation.teachers_figures"),
}


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {_module(path): path for path in sorted((ROOT / "fkd").rglob("*.py"))}
FILES = [path for part in ("fkd", "tests", "benchmarks") for path in (ROOT / part).rglob("*.py")]


@cache
def _imports(module: str) -> frozenset[str]:
    """The modules of fkd that a file imports anywhere in it, for types and in functions too."""
    imported = set()
    for node in ast.walk(ast.parse(SOURCES[module].read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: imports are written out, from fkd on"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                imported.add(inner if inner in SOURCES else node.module)
    return frozenset(imported & set(SOURCES)) - {module}


def _part(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_short(path):
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST, f"{lines} lines; give a part of it a file of its own"


def test_the_parts_are_all_there_is():
    assert {_part(module) for module in SOURCES if module != "fkd"} == set(PARTS)


def test_the_readme_draws_the_parts_in_this_order():
    plan = (ROOT / "README.md").read_text().partition("## Floor plan")[2].partition("tests/ ")[0]
    parts = re.findall(r"^  (\w+)(?:\.py|/)|(?<=\.py  )(_\w+)\.py", plan, re.MULTILINE)
    assert [first or second for first, second in parts] == PARTS


@pytest.mark.parametrize("module", [module for module in SOURCES if module != "fkd"])
def test_imports_run_one_way(module):
    own = PARTS.index(_part(module))
    for imported in _imports(module):
        assert imported == "fkd" or PARTS.index(_part(imported)) <= own, (
            f"{module} imports {imported}, which stands below it"
        )


def test_the_folders_of_a_comparison_are_those_of_contributing():
    text = (ROOT / ".github" / "CONTRIBUTING.md").read_text()
    told = text.partition("- **A comparison in folders.**")[2].partition("\n")[0]
    assert re.findall(r"`(\w+)/`", told) == FOLDERS
    assert {path.parent.name for path in (ROOT / "fkd/compare").glob("*/*.py")} == set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_of_a_comparison_imports_from_none_below_it(folder):
    below = tuple(f"fkd.compare.{x}." for x in FOLDERS[FOLDERS.index(folder) + 1 :])
    for module in SOURCES:
        if module.startswith(f"fkd.compare.{folder}."):
            assert not [name for name in _imports(module) if name.startswith(below)], module


def test_no_imports_go_in_a_circle():
    edges = {module: set(_imports(module)) for module in SOURCES if module != "fkd"}
    for module, imported in LATE:
        edges[module].remove(imported)
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("part", PARTS)
def test_a_part_has_its_tests(part):
    name = part.lstrip("_")
    places = ROOT / "tests" / f"test_{name}.py", ROOT / "tests" / name
    assert any(place.exists() for place in places)


# What tests of a package hold that stands in no single file of it.
ACROSS = {
    "statistics": {"coverage"},
    "losses": {"absent", "anomaly", "bounds", "door", "memory", "public", "soft_labels"},
    "methods": {"methods", "shapes"},
    "compare": {
        "compiling",
        "door",
        "failed_teacher",
        "going_on",
        "kept_by_ranks",
        "names",
        "own_recipes",
        "parts",
        "ranks",
    },
    "distributed": {"rows"},
}


@pytest.mark.parametrize(
    "path",
    [path for part in PARTS for path in sorted((ROOT / "tests" / part).rglob("test_*.py"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_test_stands_where_what_it_tests_does(path):
    name = path.stem.removeprefix("test_")
    if name in ACROSS.get(path.parent.name, set()):
        return
    folder = ROOT / "fkd" / path.parent.relative_to(ROOT / "tests")
    assert (folder / f"{name}.py").exists() or (folder / f"_{name}.py").exists()


def _checked() -> set[Path]:
    """The folders and files of tests that .ci/run runs with shapes checked, as it writes them."""
    words = re.findall(r"(tests/\S*)\{(\S+)\}(\S*)", (ROOT / ".ci/run").read_text())
    return {ROOT / f"{a}{name}{b}" for a, names, b in words for name in names.split(",")}


# The tests of Triton's kernels are plain: they run on a GPU, or in an interpreter of their own.
SHAPED = [path for path in SOURCES.values() if "convolution" not in path.parts]


def test_what_has_shapes_is_tested_with_them_checked():
    checked = _checked()
    assert all(place.exists() for place in checked)
    for path in filter(_has_shapes, SHAPED):
        inner = path.relative_to(ROOT / "fkd")
        tests = ROOT / "tests" / inner.with_name(f"test_{inner.stem.lstrip('_')}.py")
        assert checked & {tests, *tests.parents}, f".ci/run checks no shapes in the tests of {path}"


def _has_shapes(path: Path) -> bool:
    return "from jaxtyping import" in path.read_text()
