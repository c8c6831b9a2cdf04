"""`python benchmarks/ddp`, or from the root `python -m benchmarks.ddp`."""

import sys
from importlib import import_module
from pathlib import Path

if __name__ == "__main__":
    root = str(Path(__file__).resolve().parents[2])
    if root not in sys.path:  # a folder that is run puts only itself there
        sys.path.insert(0, root)
    sys.exit(import_module("benchmarks.ddp.command").main())
