"""`python benchmarks/checkpoints`, or from the root `python -m benchmarks.checkpoints`."""

import sys
from importlib import import_module
from pathlib import Path

if __name__ == "__main__":
    # In place of this folder, whose modules would hide others of their names.
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    sys.exit(import_module("benchmarks.checkpoints.command").main())
