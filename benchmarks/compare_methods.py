"""Compare distillation methods over many seeds: the command line of `fkd.compare`.

python benchmarks/compare_methods.py --help
"""

import sys

from fkd.compare.command import main

if __name__ == "__main__":
    sys.exit(main())
