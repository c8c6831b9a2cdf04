"""`python -m fkd.compare`: the command line of a comparison."""

import sys

from fkd.compare.command import main

if __name__ == "__main__":
    sys.exit(main())
