"""The README's examples run, and its tables are what the code says."""

import math
import re

import pytest
import readme_tables
import torch
from test_laws import CASES

from fkd import losses, methods
from fkd.compare._command.parser import parser
from fkd.methods import METHODS
from fkd.models import named

TEXT = readme_tables.README.read_text()
# The examples of one section go on from one another.
EXAMPLES = {
    section.partition("\n")[0]: re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    for section in TEXT.split("\n## ")
}
SECTIONS = [title for title, examples in EXAMPLES.items() if examples]


@pytest.fixture(autouse=True)
def _uncompiled():
    """What compiles runs as it is, for compiling takes a minute and has tests of its own."""
    with torch.compiler.set_stance("force_eager"):
        yield


@pytest.mark.parametrize("title", SECTIONS)
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
def test_examples_run(title, capsys):
    torch.manual_seed(0)
    names = {}
    for example in EXAMPLES[title]:
        exec(compile(example, "README.md", "exec"), names)
    for name, test in names.items():
        if name.startswith("test_"):
            (parametrized,) = test.pytestmark
            for law in parametrized.args[1]:
                test(law)


def lines_of(example: str) -> int:
    return len([line for line in example.splitlines() if line.strip()])


@pytest.mark.parametrize(
    ("title", "begins", "lines"),
    [
        ("Which method helps on my data?", "With networks and data of your own", 10),
        ("Distil your own module", "Eight students at once", 20),
    ],
)
def test_an_example_is_as_short_as_its_text_says(title, begins, lines):
    example = EXAMPLES[title][0]
    sentence = next(line for line in TEXT.splitlines() if line.startswith(begins))
    assert f"in {'ten' if lines == 10 else 'twenty'} lines:" in sentence
    assert lines_of(example) <= lines


def test_the_method_of_ones_own_is_one():
    names = {}
    (example,) = (e for e in EXAMPLES["Which method helps on my data?"] if "def mine" in e)
    exec(compile(example, "README.md", "exec"), names)
    assert list(names["mine"]()) == ["direction", *methods.kd()]


def test_the_tables_are_those_of_the_code():
    assert readme_tables.rewrite(TEXT) == TEXT, "run python tests/readme_tables.py"


def test_the_tables_list_every_loss_and_every_method():
    for table, names in (
        (readme_tables.losses_table(), losses.__all__),
        (readme_tables.methods_table(), METHODS),
    ):
        assert sorted(re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)) == sorted(names)


@pytest.mark.parametrize("name", CASES)
def test_a_loss_has_the_paper_and_the_range_of_its_laws(name):
    assert readme_tables.paper(getattr(losses, name))
    low, high, interval = CASES[name].low, CASES[name].high, readme_tables.bounds(name)
    if high is not None:
        upper = interval.strip("[0, ]").rstrip(")")
        by_name = {"√2": math.sqrt(2), "log 2": math.log(2), "3/2": 1.5}
        if not re.search(r"[BTn]$|[BTn]²?$", upper):  # whose value depends on the size
            assert float(by_name.get(upper, upper)) == high
    assert (interval == "any") == (low is None)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_stands_beside_every_loss_that_it_uses(method):
    beside = {name for name, users in readme_tables.methods_by_loss().items() if method in users}
    public = {term.loss.__name__ for term in METHODS[method]().values()} & set(losses.__all__)
    assert beside >= public - {"cross_entropy"}
    assert beside


def test_every_row_of_torchs_overview_has_its_test():
    table = TEXT.partition("<!-- rows -->")[2].partition("<!-- end of rows -->")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 14
    for row in rows:
        files = re.findall(r"`(tests/[^`]+)`", row.split("|")[-2])
        assert files and all((readme_tables.README.parent / file).exists() for file in files), row


def test_every_distiller_of_other_libraries_is_found_under_its_name():
    table = TEXT.partition("### Coming from RepDistiller")[2].partition("\n### ")[0]
    rows = [line.strip("|").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    theirs = {word for row in rows for word in re.findall(r"`(\w+)`", row[0])}
    # train_student.py --distill, and mdistiller/engine/cfg.py
    repdistiller = "kd hint attention similarity correlation vid crd kdsvd fsp rkd pkt abound"
    mdistiller = "KD AT RKD FITNET KDSVD OFD NST PKT SP VID CRD REVIEWKD DKD"
    assert theirs >= {*f"{repdistiller} factor nst {mdistiller}".split()}
    options = parser().format_help()
    for row in rows[1:]:
        assert all(option in options for option in re.findall(r"--[a-z][\w-]*", row[1])), row
        ours = re.findall(r"`([a-z-]+)`", row[1])
        assert all(name in METHODS for name in ours), row
        for call in re.findall(r"`(methods\..+?)`", row[1]):
            assert eval(call.replace("\\|", "|"), {"methods": methods})


def test_teachers_of_other_libraries_have_the_same_tensors():
    """Some names in RepDistiller's models/resnet.py, wrn.py and vgg.py."""
    for name, theirs in (
        ("resnet8x4", ["bn1.weight", "layer1.0.conv2.weight", "layer3.0.downsample.1.bias"]),
        ("wrn-16-2", ["conv1.weight", "block3.layer.0.convShortcut.weight", "bn1.bias"]),
        ("vgg8", ["block0.0.bias", "block4.1.running_var", "classifier.weight"]),
    ):
        assert named(name, 10)().state_dict().keys() >= set(theirs)


def test_the_tables_must_have_a_place():
    with pytest.raises(ValueError, match="the table losses must stand between"):
        readme_tables.rewrite("no markers")


@pytest.mark.parametrize("page", ["README.md", "benchmarks/README.md", ".github/CONTRIBUTING.md"])
def test_every_link_leads_somewhere(page):
    path = readme_tables.README.parent / page
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, heading = target.partition("#")
        if "://" in target:
            continue
        other = path.parent / file if file else path
        assert other.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", other.read_text(), re.MULTILINE)
            anchors = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
            assert heading in anchors, target
