"""Where the compiler keeps what it compiled, so that the next run is faster."""

import hashlib
import os
import re
from pathlib import Path

import torch

from fkd import execution
from fkd.data import datasets

OPERATORS = Path(execution.__file__).with_name("convolution")


def keep_compiled() -> None:
    """Let torch.compile keep its results in fkd's cache directory, beside the downloads, and Triton
    in the same folder what it compiles and how fast its kernels were.

    Their own defaults are the system's temporary directory, which a restart empties, and for what
    Triton runs before the compiler does, another. To be called before anything is compiled. A
    `TORCHINDUCTOR_CACHE_DIR` or `TRITON_CACHE_DIR` that the user set stays as it is, and so do the
    defaults where fkd's cache cannot be written.

    Each instruction set, number of threads and version of fkd's own operators has a folder of its
    own: what was compiled under others is taken from a common one without a word, and gives wrong
    numbers.
    """
    if not _is_asked_for("TORCHINDUCTOR_CACHE_DIR"):
        capability = torch.backends.cpu.get_cpu_capability().lower()
        kind = f"{capability}-{torch.get_num_threads()}-{_version()}"
        folder = datasets.cache_dir().absolute() / "compiled" / kind
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return
        if not os.access(folder, os.W_OK):
            return
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    if not _is_asked_for("TRITON_CACHE_DIR", r"/triton/\d+"):
        folder = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]) / "triton"
        os.environ["TRITON_CACHE_DIR"] = str(folder)


def _is_asked_for(variable: str, below: str = "") -> bool:
    """Whether the user set where; once its compiler is imported, torch has set its own default, for
    Triton one `below` it."""
    folder = os.environ.get(variable)
    if folder is None:
        return False
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir  # late: it takes a second

    return not re.fullmatch(re.escape(default_cache_dir()) + below, folder)


def _version() -> str:
    """That of the operators, by their source: the compiler knows no more of them than a name."""
    sources = b"".join(path.read_bytes() for path in sorted(OPERATORS.glob("*.py")))
    return hashlib.sha256(sources).hexdigest()[:8]
