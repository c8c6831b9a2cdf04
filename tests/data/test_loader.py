"""What a source makes of torch's loaders: workers that end, and that tell what is wrong."""

import multiprocessing
import os
import signal
import traceback
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, get_worker_info

from fkd.data import Streamed
from fkd.data._loader import Rows, anew

# from Python 3.12 on, a fork of a process with threads warns; torch's workers are forks on Linux
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


class Interrupted(Dataset):
    """Numbers; the process that reads one is sent a signal first, if it is a worker."""

    def __init__(self, number: int):
        self.number = number

    def __len__(self) -> int:
        return 8

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        if get_worker_info():
            os.kill(os.getpid(), self.number)
        return torch.tensor([float(number)]), number


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_workers_leave_a_terminals_signals_to_the_process_that_trains(name):
    loader = DataLoader(Interrupted(getattr(signal, name)), batch_size=2, num_workers=2)
    batches = Streamed(loader).in_order(4)
    assert [batch.targets["labels"].tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) & {signal.SIGINT, signal.SIGHUP} == set()


def test_all_else_is_read_as_the_loader_says():
    options = {
        "num_workers": 2,
        "collate_fn": list,
        "pin_memory": True,
        "timeout": 7,
        "multiprocessing_context": multiprocessing.get_context("spawn"),
        "prefetch_factor": 3,
    }
    dataset = Interrupted(0)
    for rows in (None, Rows([torch.tensor([0])])):
        loader = anew(DataLoader(dataset, batch_size=5, **options), dataset, rows=rows)
        assert {name: getattr(loader, name) for name in options} == options
        assert loader.batch_size == (None if rows else 5)


@pytest.mark.parametrize(
    "options",
    [{"replacement": True}, {"num_samples": 7}, {"num_samples": 9}, {"replacement": False}],
)
def test_a_sampler_that_shows_an_example_twice_or_never_is_refused(options):
    """The source would show each once all the same; that of another data set is the last."""
    dataset = Interrupted(0)
    shown = Interrupted(0) if options == {"replacement": False} else dataset
    loader = DataLoader(dataset, batch_size=2, sampler=RandomSampler(shown, **options))
    with pytest.raises(ValueError, match="the loader has a RandomSampler of its own for sampler"):
        Streamed(loader)


def _note(worker: int) -> None:
    os.environ["FKD_TEST_WORKER"] = str(worker)


class Noted(Interrupted):
    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return torch.tensor([1.0]), int(os.environ["FKD_TEST_WORKER"])


def test_a_worker_is_prepared_as_the_loader_says():
    loader = DataLoader(Noted(0), batch_size=2, num_workers=2, worker_init_fn=_note)
    batches = Streamed(loader).in_order(2)
    assert [batch.targets["labels"].tolist() for batch in batches] == [[0, 0], [1, 1]] * 2


class Refusing(Interrupted):
    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        if number == 5:
            raise ValueError("a/b.png: it cannot be read;\nmend it")
        return torch.tensor([1.0]), number


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_refused_while_it_is_read_is_told_in_its_own_words(workers):
    source = Streamed(DataLoader(Refusing(0), batch_size=2, num_workers=workers))
    with pytest.raises(ValueError) as error:
        list(source.in_order(2))
    assert str(error.value) == "a/b.png: it cannot be read;\nmend it"
    told = "".join(traceback.format_exception(error.value))
    assert "__getitem__" in told  # where it came from, for whoever looks


def test_no_worker_is_left_behind():
    source = Streamed(DataLoader(Refusing(0), batch_size=1, num_workers=2))
    for read in (partial(source.in_order, 1), partial(source.feeds, 0, 0)):
        feeds = read()
        next(feeds)
        assert len(multiprocessing.active_children()) == 2
        del feeds
        assert multiprocessing.active_children() == []
    with pytest.raises(ValueError) as error:
        list(source.in_order(1))
    assert multiprocessing.active_children() == []  # while the error is still at hand
    assert error.value
