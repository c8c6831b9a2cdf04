"""The library speaks of no flag, and no code knows a method by its name."""

import ast
import re
from pathlib import Path

import pytest

import fkd
from fkd.compare._command.options import parser
from fkd.methods import METHODS

ROOT = Path(fkd.__file__).parent
FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))
PARTS_OF_IT = (
    "carry_out",
    "given_teacher",
    "layers",
    "prepare",
    "named",
    "options",
    "parser",
    "resume",
    "words",
    "unused",
)
COMMAND_LINE = {
    Path(f"compare/{name}.py") for name in ("command", *(f"_command/{x}" for x in PARTS_OF_IT))
}
COMMAND_LINE |= {Path(f"compare/report/{name}.py") for name in ("_again", "command")}
RECIPES = Path("compare/recipes.py")  # the field's numbers of methods, as data
FLAGS = [flag for flag in parser()._option_string_actions if flag.startswith("--")]
FLAG = re.compile(rf"(?<![\w-])({'|'.join(FLAGS)})\b")
# What methods are made of has names of its own, and some methods are named after it.
PARTS = ("losses", "schedules.py", "testing", "methods")
LAYERS = {"logits"}  # a method too


def strings(path: Path) -> list[str]:
    """Every string of a file that stands by itself, docstrings left out."""
    tree = ast.parse((ROOT / path).read_text())
    docstrings = {
        ast.get_docstring(node, clean=False)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    }
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return [text for text in constants if isinstance(text, str) and text not in docstrings]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_only_the_command_line_speaks_of_flags(path):
    if path not in COMMAND_LINE:
        lines = (ROOT / path).read_text().splitlines()
        assert not [line for line in lines if FLAG.search(line)]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_code_knows_a_method_by_its_name(path):
    if path.parts[0] not in PARTS and path not in COMMAND_LINE | {RECIPES}:
        known = (set(METHODS) - LAYERS).intersection(strings(path))
        assert not known
