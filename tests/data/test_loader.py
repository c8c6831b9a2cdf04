"""What a source makes of torch's loaders: workers that end, and that tell what is wrong."""

import multiprocessing
import os
import signal
import traceback
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from fkd.data import Streamed

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
