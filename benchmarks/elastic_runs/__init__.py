"""Comparisons under torchrun that lose a worker or an agent, and end as if they had not.

    pip install -e ".[compare]"
    python benchmarks/elastic.py --output benchmarks/results/elastic-cpu

A run is the real command line on digits, on two workers of torchrun's own agent, or on one of each
of two. Once, at a random moment, SIGKILL ends one of the two workers, or the agent that does not
host the rendezvous: alone, or at once with its worker, as a host is lost. What is left starts
again, and the run goes on from its checkpoint. At the end all that was measured, and every tensor
of the teacher and the students, must equal bit for bit those of a run on one process. Steps that
were taken twice are what a loss has cost.
"""
