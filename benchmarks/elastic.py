"""Kill workers and agents of comparisons under torchrun at random moments, and hold what the runs
end with against a run on one process that was not killed.

python benchmarks/elastic.py --help
"""

import sys
from importlib import import_module
from pathlib import Path

if __name__ == "__main__":
    # In place of this folder, whose modules would hide others of their names.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    sys.exit(import_module("benchmarks.elastic_runs.command").main())
