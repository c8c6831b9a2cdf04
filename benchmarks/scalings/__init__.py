"""How students scale over processes: measured here, and on paper for more GPUs than there are.

    pip install -e ".[compare]"
    python benchmarks/scaling.py --output benchmarks/results/scaling-cpu

Each side is a launch of its own by torchrun, one core a process unless it says otherwise, and sides
are timed in turn, round by round. What is sent is counted in the process group, in a second launch
of each side, and held against what it should be by hand.
"""
