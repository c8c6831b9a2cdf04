"""Where the compiler keeps what it compiled, so that the next run is faster."""

import os

import torch
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from fkd.data import datasets


def keep_compiled() -> None:
    """Let torch.compile keep its results in fkd's cache directory, beside the downloads.

    Its own default is the system's temporary directory, which a restart empties. To be called
    before anything is compiled. A `TORCHINDUCTOR_CACHE_DIR` that the user set stays as it is, and
    so does torch's default where fkd's cache cannot be written.

    Each instruction set and number of threads has a folder of its own: what was compiled under
    others is taken from a common one without a word, and gives wrong numbers.
    """
    # once parts of torch are imported, the variable holds torch's own default
    if os.environ.get("TORCHINDUCTOR_CACHE_DIR") not in (None, default_cache_dir()):
        return
    kind = f"{torch.backends.cpu.get_cpu_capability().lower()}-{torch.get_num_threads()}"
    folder = datasets.cache_dir().absolute() / "compiled" / kind
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
