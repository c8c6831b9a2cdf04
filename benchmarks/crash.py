"""Kill comparisons at random moments, go on with them, and hold what they end with against runs
that were not killed.

python benchmarks/crash.py --help
"""

import sys
from importlib import import_module
from pathlib import Path

if __name__ == "__main__":
    root = str(Path(__file__).resolve().parents[1])
    if root not in sys.path:  # a file that is run puts only its folder there
        sys.path.insert(0, root)
    sys.exit(import_module("benchmarks.crashes.command").main())
