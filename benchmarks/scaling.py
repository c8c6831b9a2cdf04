"""Time students on more and more processes, count what they send each other, and say on paper how
far each axis of the mesh goes.

python benchmarks/scaling.py --help
"""

import sys
from importlib import import_module
from pathlib import Path

if __name__ == "__main__":
    # In place of this folder, whose modules would hide others of their names.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    sys.exit(import_module("benchmarks.scalings.command").main())
