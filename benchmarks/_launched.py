"""A function on several processes, as torchrun starts them."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from benchmarks._forked import forked


def launched(function: Callable[..., Any], ranks: int, *arguments: Any) -> list[Any]:
    """What a function at module level returns on each of so many processes, in JSON's types.

    It is called with `arguments` in the environment that torchrun makes. An error on one rank ends
    all, and is raised.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=ranks,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            monitor_interval=0.1,
            start_method=forked().get_start_method(),
        )
        elastic_launch(config, _call)(function, folder, *arguments)
        files = [Path(folder) / f"{rank}.json" for rank in range(ranks)]
        return [json.loads(file.read_text()) for file in files]


def _call(function: Callable[..., Any], folder: str, *arguments: Any) -> None:
    value = function(*arguments)
    (Path(folder) / f"{os.environ['RANK']}.json").write_text(json.dumps(value))
