"""Draw runs whose truth is known, and count how often each interval and test misses it.

python benchmarks/coverage.py --help
"""

import sys
from importlib import import_module
from pathlib import Path

if __name__ == "__main__":
    root = str(Path(__file__).resolve().parents[1])
    if root not in sys.path:  # a file that is run puts only its folder there
        sys.path.insert(0, root)
    sys.exit(import_module("benchmarks.coverages.command").main())
