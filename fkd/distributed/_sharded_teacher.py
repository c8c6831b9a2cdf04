"""A teacher that no device holds whole: each rank keeps a part of every tensor."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from fkd import _check
from fkd._draws import Draws
from fkd.data import Transform, unchanged
from fkd.data._source import check_device
from fkd.distributed._hand_out import Weights, as_bytes, hand_out
from fkd.distributed._wire import check_timeout
from fkd.model import Tensors, arguments, by_name, keywords
from fkd.teachers._teacher import check_names, chosen


class ShardedTeacher:
    """A teacher whose tensors lie in parts on several ranks; `sharded_teacher` makes it.

    `module` is the network as FSDP2 holds it: its parameters are `DTensor`s, of which each rank has
    its own rows.
    """

    def __init__(
        self,
        module: nn.Module,
        shards: dist.ProcessGroup,
        talk: dist.ProcessGroup,
        device: torch.device,
        transform: Transform,
        names: Sequence[str] | None,
        split: bool,
        timeout: float,
    ):
        self.module = module
        self._shards, self._talk, self._device = shards, talk, device
        self._transform, self._names, self._split = transform, names, split
        self._timeout = timeout
        self._keywords = keywords(module)

    @torch.no_grad()
    def __call__(self, inputs: Any) -> Tensors:
        examples = _examples(inputs)
        # What all ranks meet for first, with a timeout: a rank that does not come would leave the
        # others waiting inside the network.
        told = [examples, _fingerprint(inputs) if self._split else 0]
        rows = self._meet(told)
        if not self._split:
            return self._answer(inputs)
        if any(row != told for row in rows):
            raise ValueError(
                "sharded_teacher: the ranks must ask about one batch, whose rows they share, but "
                f"they ask about others, of {[row[0] for row in rows]} examples by rank; give "
                "them one order of the examples, or ask with split=False"
            )
        rank, ranks = dist.get_rank(self._shards), dist.get_world_size(self._shards)
        bounds = [part.tolist() for part in torch.arange(examples).tensor_split(ranks)]
        # The network's collectives want every rank: one without rows shows the first example.
        own = slice(bounds[rank][0], bounds[rank][-1] + 1) if bounds[rank] else slice(0, 1)
        answers = self._answer(tree_map(lambda leaf: leaf[own], inputs))
        lengths = [len(part) for part in bounds]
        return {k: _joined(k, x, own, lengths, self._shards) for k, x in answers.items()}

    def _answer(self, inputs: Any) -> Tensors:
        # A module may write into its inputs, which are the student's too.
        own = self._transform(tree_map(lambda leaf: leaf.to(self._device, copy=True), inputs), None)
        positional, named = arguments(own, self._keywords)
        with (
            _unmoved(self.module),
            _check.fitting("sharded_teacher", "inputs must be the network's"),
            Draws(None, _examples(own)),
        ):
            outputs = by_name(self.module(*positional, **named))
        outputs = chosen("sharded_teacher", outputs, self._names)
        for name, x in outputs.items():
            if type(x) is not Tensor or (x.numel() and not x.untyped_storage().nbytes()):
                raise ValueError(
                    f"sharded_teacher: output {name!r} is a parameter, which no rank keeps whole; "
                    "leave it out of names, or let the network return a copy"
                )
        return outputs

    def _meet(self, told: list[int]) -> list[list[int]]:
        """What each rank tells, on all ranks."""
        parts = [torch.zeros(len(told), dtype=torch.int64) for _ in range(self._talk.size())]
        try:
            dist.all_gather(parts, torch.tensor(told), group=self._talk)
        except RuntimeError as error:
            raise TimeoutError(
                f"sharded_teacher: not all {len(parts)} ranks have asked within {self._timeout:g} "
                "seconds of the first that did; every rank must ask equally often, and one that "
                "has failed or ended leaves the others here: look for its error, and start anew "
                f"(torch says: {str(error).splitlines()[0]:.200})"
            ) from error
        return [part.tolist() for part in parts]


def sharded_teacher(
    build: Callable[[], nn.Module],
    weights: Weights | None,
    *,
    names: Sequence[str] | None = None,
    transform: Transform = unchanged,
    blocks: Sequence[str] | None = None,
    split: bool = True,
    ranks: Sequence[int] | None = None,
    device: torch.device | str | None = None,
    timeout: float = 60.0,
) -> ShardedTeacher:
    """A trained network that is asked about a batch, and of which each rank holds a part.

    All ranks, or those of `ranks`, call it alike, and then ask it equally often. `build()` runs on
    the meta device, so nothing of its size is ever allocated; `torch.distributed.fsdp.fully_shard`
    deals the rows of each parameter to the ranks. `weights`, a state_dict or a file that
    `fkd.checkpoint.read` reads, counts on the first rank alone, which hands out the tensors one by
    one; of a safetensors file it has no more in memory at a time than one of them. The network is
    evaluated, receives no gradient, and neither its buffers nor its inputs are moved.

    While it answers, a rank holds one block's parameters whole, beside those that are in no block.
    `blocks` names the modules that are blocks; by default they are the children of each ModuleList
    and Sequential. A module that shares a parameter with another outside it is never a block.

    With `split` all ranks ask about one batch: rank r of R answers for its rows, those that
    `torch.tensor_split` gives it, and each gets the answers for all. That is exact for a network
    that holds each example apart, and every output that is asked for must lead with the examples.
    Without it each rank answers for its whole batch, which may be another on each.

    `device` is by default this process's current CUDA device where the ranks talk by NCCL, and the
    CPU elsewhere. `names` and `transform` are as in `fkd.teachers.Teacher`.

    Raises ValueError where there is no process group, for arguments of another kind, for weights
    that are not the network's (a name that is missing or not wanted, a shape, a dtype that does not
    hold the same numbers, two values for one tied parameter), on all ranks alike; and, when it is
    asked, for different batches on the ranks, an output that there is not, and inputs that do not
    fit. A rank that does not ask while another does is a TimeoutError there after `timeout`
    seconds, and then the teacher is lost.

    Zhao et al., "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel" (2023),
    section 3.
    """
    # Late, for who shares no network need not wait a second for them.
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import fully_shard

    _check_arguments(build, names, transform, blocks, split, timeout)
    if not dist.is_available() or not dist.is_initialized():
        raise ValueError(
            "sharded_teacher: there is no process group, so there is nobody to share with; call it "
            "within fkd.distributed.started(), or use fkd.teachers.teacher_of_module"
        )
    if ranks is not None:
        _check_ranks(ranks)
    where = _device(device)
    shards, talk = _group(ranks, timeout, None), _group(ranks, timeout, "gloo")
    with Hollow():
        module = build()
    _check.kind("sharded_teacher", nn.Module, **{"what build() makes": module})
    module.eval().requires_grad_(False)
    aliases = _aliases(module)
    kept = {name: x.clone() for name, x in module.named_buffers() if not x.is_meta}
    mesh = DeviceMesh.from_group(shards, where.type)
    scalars = {x for x in module.parameters() if not x.ndim}  # which cannot be dealt
    for block in _blocks(module, blocks):
        fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=scalars)
    fully_shard(module, mesh=mesh, reshard_after_forward=True, ignored_params=scalars)
    module.to_empty(device=where)
    _tie(module, aliases)
    for name, x in module.named_buffers():
        if name in kept:
            x.copy_(kept[name])
    hand_out(module, weights, aliases, kept.keys(), talk, shards)
    return ShardedTeacher(module, shards, talk, where, transform, names, split, timeout)


def _check_arguments(
    build: Callable[[], nn.Module],
    names: Sequence[str] | None,
    transform: Transform,
    blocks: Sequence[str] | None,
    split: bool,
    timeout: float,
) -> None:
    _check.function("sharded_teacher", build=build, transform=transform)
    check_names("sharded_teacher", names)
    if blocks is not None:
        _check.words("sharded_teacher", blocks=blocks)
    _check.kind("sharded_teacher", bool, split=split)
    check_timeout("sharded_teacher", timeout)


def _check_ranks(ranks: Sequence[int]) -> None:
    _check.sequence("sharded_teacher", ranks=ranks)
    for rank in ranks:
        _check.count("sharded_teacher", 0, dist.get_world_size() - 1, **{"each of ranks": rank})
    if len(set(ranks)) < len(ranks) or dist.get_rank() not in ranks:
        raise ValueError(
            f"sharded_teacher: ranks must name each rank once, this one, {dist.get_rank()}, among "
            f"them, but they are {list(ranks)}"
        )


def _group(ranks: Sequence[int] | None, timeout: float, backend: str | None) -> dist.ProcessGroup:
    """A group of these ranks for this teacher's traffic alone, with a timeout of its own."""
    group = dist.new_group(
        None if ranks is None else list(ranks),
        timeout=timedelta(seconds=timeout),
        backend=backend,
        use_local_synchronization=ranks is not None,  # the other ranks need not call
    )
    assert isinstance(group, dist.ProcessGroup)
    return group


def _device(device: torch.device | str | None) -> torch.device:
    if device is not None:
        check_device("sharded_teacher", device)
        return torch.device(device)
    if "cuda:nccl" in dist.get_backend_config() and torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


class Hollow(TorchFunctionMode):
    """What is made without contents, or with random ones, has none: it lies on the meta device.

    So are the parameters of torch's layers made. What has values (a table of positions, a scale) is
    made as it is, for a buffer's value may stand nowhere else.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (torch.empty, torch.empty_strided, torch.rand, torch.randn, torch.normal):
            kwargs = {**kwargs, "device": "meta"}
        return func(*args, **kwargs)


def _aliases(module: nn.Module) -> dict[str, list[str]]:
    """The names of each parameter that has several, by the first of them."""
    names: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return {own[0]: own for own in names.values()}


def _tie(module: nn.Module, aliases: Mapping[str, Sequence[str]]) -> None:
    """Make parameters one again that had several names, for `to_empty` made one of each."""
    for first, others in aliases.items():
        for name in others[1:]:
            owner, _, own = name.rpartition(".")
            module.get_submodule(owner)._parameters[own] = module.get_parameter(first)


def _blocks(module: nn.Module, names: Sequence[str] | None) -> list[nn.Module]:
    """The modules that are dealt each for itself, those within others before these."""
    if names is None:
        return [block for block in _children(module) if _is_alone(block, module)]
    blocks = []
    for name in sorted(names, key=_depth, reverse=True):  # those within others are dealt first
        _check.known("sharded_teacher", "block", name, dict(module.named_modules()))
        block = module.get_submodule(name)
        if not name or not _is_alone(block, module):
            raise ValueError(
                f"sharded_teacher: block {name!r} must be a part of the network that shares no "
                "parameter with the rest; leave it out of blocks"
            )
        blocks.append(block)
    return blocks


def _depth(name: str) -> int:
    return name.count(".")


def _children(module: nn.Module) -> Iterator[nn.Module]:
    """The children of the containers that are not within another's child."""
    for child in module.children():
        if isinstance(module, nn.ModuleList | nn.Sequential) and not isinstance(
            child, nn.ModuleList | nn.Sequential
        ):
            if any(True for _ in child.parameters()):
                yield child
        else:
            yield from _children(child)


def _is_alone(block: nn.Module, whole: nn.Module) -> bool:
    """Whether a part of a network shares no parameter with what lies outside it."""
    inside = {id(part) for part in block.modules()}
    own = {id(x) for x in block.parameters()}
    outside = (part for part in whole.modules() if id(part) not in inside)
    return own.isdisjoint(id(x) for part in outside for x in part.parameters(recurse=False))


def _examples(inputs: Any) -> int:
    """How many examples all inputs lead with."""
    leaves = tree_leaves(inputs)
    for leaf in leaves:
        _check.tensor("sharded_teacher", **{"each of inputs": leaf})
    lengths = {len(leaf) if leaf.ndim else 0 for leaf in leaves}
    if len(lengths) != 1 or not min(lengths):
        shapes = [tuple(leaf.shape) for leaf in leaves]
        raise ValueError(
            "sharded_teacher: inputs must be tensors that lead with one number of examples, at "
            f"least one, but their shapes are {shapes}"
        )
    return min(lengths)


def _fingerprint(inputs: Any) -> int:
    """A number of 64 bits that two batches have in common by chance alone."""
    total = 0
    for place, leaf in enumerate(tree_leaves(inputs)):
        row = as_bytes(leaf)
        words = F.pad(row, (0, -len(row) % 8)).view(torch.int64)
        odd = 2 * torch.arange(len(words), device=row.device) + 1
        # Each word counts with its place: sums of products wrap around, on every device alike.
        total += (2 * place + 1) * int((words * odd).sum()) + hash(tuple(leaf.shape))
    return (total + 2**63) % 2**64 - 2**63


def _joined(
    name: str, own: Tensor, rows: slice, lengths: Sequence[int], shards: dist.ProcessGroup
) -> Tensor:
    """The answers for all rows, of which this rank has its own."""
    shown = rows.stop - rows.start
    if not own.ndim or len(own) != shown:
        raise ValueError(
            f"sharded_teacher: output {name!r} must lead with an axis of the {shown} examples that "
            f"this rank has shown, but it is {tuple(own.shape)}; leave it out of names, or ask "
            "with split=False"
        )
    padded = own.new_zeros(max(lengths), *own.shape[1:])  # a gather takes equal parts alone
    padded[:shown] = own
    parts = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather([as_bytes(part) for part in parts], as_bytes(padded), group=shards)
    return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])


@contextmanager
def _unmoved(module: nn.Module) -> Iterator[None]:
    """Within it a module may write into its buffers, which are afterwards what they were."""
    before = [(part, dict(part._buffers)) for part in module.modules()]
    values = [[x if x is None else x.clone() for x in own.values()] for _, own in before]
    try:
        yield
    finally:
        for (part, own), kept in zip(before, values, strict=True):
            for x, value in zip(own.values(), kept, strict=True):
                if x is not None and value is not None:
                    x.copy_(value)
            part._buffers.update(own)
