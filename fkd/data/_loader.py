"""A `DataLoader` of torch's as a source uses it: which ones it takes, and what its workers do."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler

# What a terminal sends to all that was started from it, workers too. Windows has no SIGHUP.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]


class Rows:
    """A batch sampler that hands out the numbers of each row."""

    def __init__(self, rows: Sequence[Tensor]):
        self.rows = rows

    def __iter__(self) -> Iterator[list[int]]:
        return (row.tolist() for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def anew(
    loader: DataLoader, dataset: Any, worker_seed: int = 0, rows: Rows | None = None
) -> DataLoader:
    """A loader like this one of a data set, of batches by `rows` where there are any, with its
    workers' seed its own."""
    generator = torch.Generator()
    generator.manual_seed(worker_seed)
    return DataLoader(
        dataset,
        batch_size=1 if rows else loader.batch_size,
        batch_sampler=rows,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=partial(_start, loader.worker_init_fn),
        multiprocessing_context=loader.multiprocessing_context,
        generator=generator,
        prefetch_factor=loader.prefetch_factor,
    )


def _start(init: Callable[[int], Any] | None, worker: int) -> None:
    """Start a worker: the process that trains alone decides what a terminal's signal ends."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if init is not None:
        init(worker)


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Let a terminal's signals wait: a worker that is not yet started would die of them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def batches(loader: DataLoader) -> Iterator[Any]:
    """The loader's batches. A ValueError of a worker is raised in its own words, without torch's
    account of where it came from, which is its cause. At the end the workers end too."""
    with _signals_wait():
        iterator = iter(loader)
    try:
        yield from iterator
    except ValueError as error:
        own = str(error).rpartition("\nValueError: ")[2].rstrip()
        if own == str(error):
            raise
        raise ValueError(own) from error
    finally:
        # torch ends them once the iterator is collected, which an error that is kept puts off.
        getattr(iterator, "_shutdown_workers", int)()


def is_iterable(loader: DataLoader) -> bool:
    return isinstance(loader.dataset, IterableDataset)


def check_loader(loader: DataLoader) -> None:
    if loader.drop_last:
        raise ValueError(
            "Streamed: the loader must have drop_last=False, for an epoch shows every example, and "
            "its last batch is filled up to the size of the others"
        )
    if is_iterable(loader):
        return
    if loader.batch_sampler is None:
        raise ValueError(
            "Streamed: over a map-style data set the loader must put examples into batches, but it "
            "has batch_size=None; give it a batch_size"
        )
    if loader.batch_size is None:
        raise ValueError(
            "Streamed: the order of a map-style data set is the source's own, but the loader has "
            f"a {type(loader.batch_sampler).__name__} for batch_sampler; give it a batch_size "
            "instead"
        )
    if not _shows_each_once(loader):
        raise ValueError(
            "Streamed: the order of a map-style data set is the source's own, each example once an "
            f"epoch, but the loader has a {type(loader.sampler).__name__} of its own for sampler; "
            "leave sampler out, or put the choice into the data set (torch.utils.data.Subset)"
        )


def _shows_each_once(loader: DataLoader) -> bool:
    """Whether the sampler is what `shuffle` makes, True or False."""
    sampler = loader.sampler
    if type(sampler) is RandomSampler:
        whole = sampler.num_samples == len(sampler.data_source)
        return sampler.data_source is loader.dataset and not sampler.replacement and whole
    return type(sampler) is SequentialSampler and sampler.data_source is loader.dataset
