"""Draw runs whose truth is known, and count how often each interval and test misses it.

python benchmarks/coverage.py --help
"""

import sys
from importlib import import_module
from pathlib import Path

if __name__ == "__main__":
    # In place of this folder, whose modules would hide others of their names.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    sys.exit(import_module("benchmarks.coverages.command").main())
