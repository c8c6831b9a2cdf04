"""Modules that other devices or processes have a part in are refused, with what to use instead."""

from torch import nn

# By the name of torch's class, for torch.distributed need not be there: why, and what to use.
_DATA = (
    "give the module that it wraps, start a process for each device with torchrun, and split each "
    "batch with distill(..., split=mesh.split)"
)
_WHOLE = (
    "give the module as it was before; a student's state is sharded by fkd.distributed.sharded, "
    "and a teacher by fkd.distributed.sharded_teacher"
)
_HOOKS = "gathers its parameters in hooks of autograd, which raise under torch.func.grad"
REFUSED = {
    "DataParallel": (
        "copies the module to each GPU in each pass, which no pure function of its state does",
        _DATA,
    ),
    "DistributedDataParallel": (
        "averages gradients in hooks of backward(), which torch.func.grad never calls: each rank "
        "would train alone, in silence",
        _DATA,
    ),
    "FullyShardedDataParallel": (_HOOKS, _WHOLE),
    "FSDPModule": (_HOOKS, _WHOLE),  # what fully_shard makes of a module
    "DTensor": ("is held in parts by several ranks, of which a pure function sees one", _WHOLE),
}


def refuse_parallel(where: str, module: nn.Module) -> None:
    """Raise ValueError for a module that is or holds torch's DataParallel, DistributedDataParallel
    or FullyShardedDataParallel, or that `fully_shard` or tensor parallelism has made DTensors of.

    `where` begins the error. The module is only looked at.
    """
    held = [*module.named_modules(), *module.named_parameters(), *module.named_buffers()]
    for name, part in held:
        for kind in type(part).__mro__:
            if kind.__name__ in REFUSED and kind.__module__.startswith("torch."):
                why, remedy = REFUSED[kind.__name__]
                what = f"its {name!r} is" if name else "it is"
                raise ValueError(
                    f"{where} must be a plain module, but {what} a {kind.__name__}, which {why}; "
                    f"{remedy}"
                )


def refuse_synchronised(module: nn.Module) -> None:
    """Raise ValueError for a student that is or holds a SyncBatchNorm.

    It would meet every rank there is, those of other members too. In evaluation it meets nobody, so
    a teacher may hold one.
    """
    for name, part in module.named_modules():
        if isinstance(part, nn.SyncBatchNorm):
            raise ValueError(
                f"the model must hold no SyncBatchNorm, but {f'its {name!r}' if name else 'it'} is "
                "one, which would mix the statistics of all ranks, other members' too; take plain "
                "nn.BatchNorm, of the same state_dict: with distill(..., split=...) it takes the "
                "whole batch's statistics by itself"
            )
