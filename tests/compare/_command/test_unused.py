"""Options that would change nothing are refused, and what a recipe gives is none of them."""

import pytest

from fkd.compare._command import options


@pytest.mark.parametrize(
    "line, message",
    [
        ("--root images", "--root: the digits lie in no folder, and images would not be read"),
        ("--data mine:build --root x", "--root: it is of a data set by name, but --data mine:buil"),
        ("--data mine:build --dataset cifar10", "--dataset: it is of a data set by name"),
        ("--data mine:build --image-size 64", "--image-size: it is of a data set by name"),
        ("--data mine:build --mean 0,0,0 --std 1,1,1", "--mean: it is of a data set by name"),
        (
            "--recipe crd --data mine:build --image-size 64",
            "--image-size: it is of a data set by name",
        ),
        ("--validation 0.3", "--validation: it goes with --sweep"),
        ("--max-seeds 9", "--max-seeds: it goes with --resolution"),
        ("--teacher-member 1", "--teacher-member: it goes with --teacher"),
        ("--milestones 0.5", "--milestones: they are of --schedule steps, but the schedule is co"),
        ("--lr 0.1 --set lr=0.2", "--set: lr is given by --lr too; leave one out"),
        ("--clip-norm 1 --set max_norm=2", "--set: max_norm is given by --clip-norm too"),
    ],
)
def test_what_would_count_for_nothing_is_refused(line, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        options.parse(line.split())


@pytest.mark.parametrize(
    "line",
    [
        "--recipe crd --data mine:build",
        "--recipe imagenet --data mine:build",
        "--recipe crd --schedule cosine",
        "--recipe crd --set lr=0.1",
        "--dataset folder --root images",
        "--dataset cifar10 --root downloads",
        "--sweep lr=1,2 --validation 0.3 --lr 0.1",
        "--resolution 1 --max-seeds 9",
    ],
)
def test_what_counts_is_taken(line):
    options.parse(line.split())
