"""Kill workers and agents of comparisons under torchrun at random moments, and hold what the runs
end with against a run on one process that was not killed.

python benchmarks/elastic.py --help
"""

import sys
from importlib import import_module
from pathlib import Path

if __name__ == "__main__":
    root = str(Path(__file__).resolve().parents[1])
    if root not in sys.path:  # a file that is run puts only its folder there
        sys.path.insert(0, root)
    sys.exit(import_module("benchmarks.elastic_runs.command").main())
