"""The command line's options, in groups, with their defaults and what they mean."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from fkd.compare._command.console import console_on
from fkd.compare.recipes import OPTIMIZERS, RECIPES, SCHEDULES
from fkd.compare.vary import SOURCES
from fkd.data import augmentations, datasets
from fkd.execution import Plan
from fkd.methods import METHODS
from fkd.models import MODELS

BASELINE = "ce"
DEFAULT_METHODS = (BASELINE, "kd", "cosine", "hint")
NETWORK = "torchvision:resnet18, timm:..., or mypackage.nets:build for one of your own"

EXAMPLES = """\
examples:
  Four methods and eight seeds on scikit-learn's digits:
      %(prog)s

  On your own images, ROOT/train/<class>/* and ROOT/test/<class>/*:
      %(prog)s --dataset folder --root ROOT --methods ce kd hint --seeds 16

  The field's table: its networks by its recipe, 240 epochs on CIFAR-100:
      %(prog)s --dataset cifar100 --recipe crd --teacher-model resnet56 \\
          --student-model resnet20 --methods ce kd dkd dist

  With the same chance for each method, its best setting chosen on a validation split:
      %(prog)s --sweep lr=3e-4,1e-3,3e-3 kd.temperature=1,2,4,8

  How much initial weights and the order of batches bring into each difference:
      %(prog)s --vary init,order --levels 4

  With four teachers, and what holds with teachers like these:
      %(prog)s --teachers 4

  On four processes, which share the students:
      torchrun --nproc-per-node 4 -m fkd.compare --seeds 16

  A method of your own, a function `mine` in mypackage/mymodule.py that returns a Method:
      %(prog)s --methods ce kd mypackage.mymodule:mine

  The report of a run that is there, or of several side by side (report --help):
      %(prog)s report runs/first runs/second
"""


class Parser(argparse.ArgumentParser):
    """Tells its help as a console tells anything: a reader that has gone ends it quietly."""

    def print_help(self, file: Any = None) -> None:
        console_on(file or sys.stdout).out(self.format_help(), end="", highlight=False)


class Format(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Every option with its default, but for those that say it; the examples as they stand."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        says_it = action.default in (None, []) or "(default: " in (action.help or "")
        return action.help if says_it else super()._get_help_string(action)


def parser(recipe: str | None = None) -> argparse.ArgumentParser:
    """The options in groups, with a recipe's values for defaults."""
    whole = Parser(
        prog="python -m fkd.compare",
        description="Compare distillation methods over many seeds: which one helps, and how sure "
        "are we?",
        epilog=EXAMPLES,
        formatter_class=Format,
        allow_abbrev=False,
    )
    _add_data(whole)
    _add_networks(whole)
    _add_methods(whole)
    _add_training(whole)
    _add_hardware(whole)
    _add_sweep(whole)
    _add_vary(whole)
    _add_output(whole)
    if recipe is not None:
        whole.set_defaults(**RECIPES[recipe].options)
    return whole


def _add_data(whole: argparse.ArgumentParser) -> None:
    add = whole.add_argument_group("data").add_argument
    add("--dataset", default="digits", help=f"one of {', '.join(datasets.DATASETS)}")
    add("--data", help="mypackage.data:build in its place, which returns data of your own")
    add("--root", help="the folder of images, or where downloads are kept (default: a cache)")
    add("--image-size", type=int, default=32, help="the side that images are brought to")
    add("--channels", type=int, default=3, help="the images': 1 (grey), 3 (RGB) or 4 (RGBA)")
    add(
        "--memory",
        type=float,
        default=4.0,
        metavar="GIB",
        help="images are kept in memory where they fit; else they are read from disk",
    )
    add("--mean", type=numbers, help="what images are normalised by (default: ImageNet's)")
    add("--std", type=numbers, help="what images are normalised by (default: ImageNet's)")
    add(
        "--augment",
        nargs="+",
        default=[],
        metavar="NAME",
        help="what is done to images in training, in turn, of "
        + f"{' '.join([*augmentations.AUGMENTATIONS, *augmentations.MIXES])}",
    )
    add("--batch-size", type=int, default=128, help="the examples of a step")
    add(
        "--order",
        default="auto",
        help="of batches and what augments them: each seed's own, or shared by all; auto is own "
        "where images and the teacher's outputs are in memory",
    )


def _add_networks(whole: argparse.ArgumentParser) -> None:
    add = whole.add_argument_group("networks").add_argument
    add(
        "--teacher-model",
        default="deepnn",
        metavar="NETWORK",
        help=f"one of {' '.join(MODELS)}; {NETWORK} (default: deepnn)",
    )
    add("--student-model", default="lightnn", metavar="NETWORK", help="the same of the student")
    add("--teacher", default="train", help="`train`, or the path of the teacher's state_dict")
    add(
        "--teacher-member",
        type=int,
        metavar="N",
        help="which student, counted from 0, where --teacher is the students-METHOD.safetensors of "
        "a run: it teaches, as a teacher's assistant or its own kind's next generation",
    )
    add(
        "--layer",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=NODE",
        help="an output of both networks by a name that methods take, such as "
        "feature_map=layer3, where the networks do not give it themselves",
    )
    add(
        "--teacher-layer",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=NODE",
        help="the same of the teacher alone, where its node has another name",
    )
    add(
        "--teacher-memory",
        type=float,
        default=4.0,
        metavar="GIB",
        help="the teacher's outputs are kept where they fit; else it is asked about each batch",
    )


def _add_methods(whole: argparse.ArgumentParser) -> None:
    add = whole.add_argument_group("methods").add_argument
    add(
        "--methods",
        nargs="+",
        default=list(DEFAULT_METHODS),
        metavar="METHOD",
        help="all, or some of these, or mypackage.mymodule:function for one of your own: "
        + f"{' '.join(METHODS)} (default: {' '.join(DEFAULT_METHODS)})",
    )
    add(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="a number in place of its default, such as kd.weight=0.9, wherever a method has it",
    )


def _add_training(whole: argparse.ArgumentParser) -> None:
    add = whole.add_argument_group("training").add_argument
    add(
        "--recipe",
        metavar="NAME",
        help=f"the field's options by one word, {' or '.join(RECIPES)}; options beside it count",
    )
    add("--seeds", default="8", help="how many (8), or which (3,5,8)")
    add(
        "--resolution",
        type=float,
        metavar="POINTS",
        help="the seeds are a pilot, and as many more join it as let every difference be known to "
        "so many points of accuracy at 95 %%",
    )
    add("--max-seeds", type=int, default=64, metavar="N", help="the most seeds for --resolution")
    add("--epochs", type=int, default=10, help="how often each example is seen")
    add("--teacher-epochs", type=int, help="the same of a teacher that is trained (default: same)")
    add("--optimizer", default="adam", help=f"one of {', '.join(OPTIMIZERS)}")
    add("--lr", type=float, help="the learning rate (default: the optimizer's own, of adam 0.001)")
    add("--momentum", type=float, help="of sgd (default: none)")
    add("--nesterov", action="store_true", help="sgd's momentum as Nesterov's")
    add("--weight-decay", type=float, help="of all parameters (default: the optimizer's own)")
    add("--clip-norm", type=float, help="bounds each student's gradient (default: not)")
    add("--ema", type=float, help="also test a running average of the weights, such as 0.999")
    add("--schedule", default="constant", help=f"of the rate: {', '.join(SCHEDULES)}")
    add(
        "--milestones",
        type=numbers,
        help="the shares of the epochs after which the rate of `steps` falls to a tenth "
        "(default: 0.625,0.75,0.875)",
    )
    add("--warmup-epochs", type=int, default=0, help="over which the rate rises")


def _add_hardware(whole: argparse.ArgumentParser) -> None:
    add = whole.add_argument_group("hardware").add_argument
    add("--device", default="auto", help="auto, cpu or cuda")
    add(
        "--precision",
        default="fp32",
        help="what students and teacher compute in: fp32, bf16, or on a GPU tf32",
    )
    add(
        "--compile",
        default="auto",
        help="whether to use torch.compile: yes, no, or auto, which is where it pays",
    )
    add(
        "--no-compile",
        dest="compile",
        action="store_const",
        const="no",
        default=argparse.SUPPRESS,
        help="the same as --compile no",
    )
    add("--layout", default="auto", help="how members lie on the device: auto, vmap or loop")
    add("--chunk", type=int, help="how many members vmap takes at once (default: all)")
    add(
        "--data-ranks",
        type=int,
        default=1,
        metavar="N",
        help="of many processes, as torchrun starts them, how many share each student: they split "
        "its batches; the students are dealt over the rest",
    )
    add("--graph", type=int, default=Plan().graph, help="steps a CUDA graph holds, or 0 for none")


def _add_sweep(whole: argparse.ArgumentParser) -> None:
    add = whole.add_argument_group("sweep").add_argument
    add(
        "--sweep",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE,VALUE",
        help="train every setting of these, such as lr=3e-4,1e-3 kd.temperature=1,4, and report "
        "each method's best on a validation split (default: none)",
    )
    add("--validation", type=float, default=0.2, help="the share of the training set for --sweep")


def _add_vary(whole: argparse.ArgumentParser) -> None:
    add = whole.add_argument_group("what varies").add_argument
    add(
        "--vary",
        metavar="SOURCE,SOURCE",
        help=f"train every combination of levels of some sources of chance, {', '.join(SOURCES)}, "
        "and tell the variance that each brings into the methods' accuracies and differences",
    )
    add("--levels", type=int, help="how many seeds each source of --vary has (default: 4)")
    add(
        "--teachers",
        type=int,
        metavar="N",
        help="do the comparison with each of N teachers, trained from seeds of their own, and tell "
        "which differences hold with these teachers and which with teachers like these",
    )


def _add_output(whole: argparse.ArgumentParser) -> None:
    add = whole.add_argument_group("output").add_argument
    add("--output", help="a new folder for the results (default: runs/DATASET-DATE)")
    add("--resume", metavar="DIR", help="go on with the run in this folder, with its options")
    add(
        "--checkpoint-minutes",
        type=float,
        default=5.0,
        metavar="M",
        help="how much of a training is lost at most where it is killed; above zero",
    )


def numbers(text: str) -> tuple[float, ...]:
    """`0.5,0.25` as numbers; argparse tells what is none."""
    return tuple(float(part) for part in text.split(",") if part.strip())


def early(arguments: Sequence[str] | None) -> tuple[str | None, str | None]:
    """The words behind --recipe and --resume, before any other option is read."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--recipe")
    first.add_argument("--resume")
    values = _given(first, first.parse_known_args(arguments)[0])
    return values["recipe"], values["resume"]


def read(whole: argparse.ArgumentParser, arguments: Sequence[str] | None) -> dict[str, Any]:
    """The options by name; raises ValueError where one has no value though it takes one."""
    return _given(whole, whole.parse_args(arguments))


def _given(whole: argparse.ArgumentParser, values: argparse.Namespace) -> dict[str, Any]:
    # argparse takes `--root=--` as no value at all, and newer ones, 3.13's too, as that word
    for action in whole._actions:
        if action.nargs is None and getattr(values, action.dest, None) in ([], "--"):
            raise ValueError(f"{action.option_strings[0]}: it takes a value, but '--' is none")
    return vars(values)
