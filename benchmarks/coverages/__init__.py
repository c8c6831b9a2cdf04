"""Whether intervals and tests hold their level: of runs that are drawn, the share that miss.

    pip install -e ".[compare]"
    python benchmarks/coverage.py --output benchmarks/results/coverage-cpu

Differences are normal, exponential or lognormal with mean zero and deviation one, and methods share
half of their variance, as they do through one baseline. Each rate stands with what the simulation
itself may err: a level holds where the rate is not surely above it.
"""
