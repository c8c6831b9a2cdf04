"""Runs that are killed again and again until they end, and end as those that were not killed.

    pip install -e ".[compare]"
    python benchmarks/crash.py --output benchmarks/results/crash-cpu

An attempt at a run is a process of its own, forked from one that has torch in memory already. It is
sent SIGKILL, SIGTERM, SIGINT or SIGHUP at a random moment, sometimes twice, or sends it to itself
before, in or after a call of the system by which files are written. The next attempt goes on in the
same folder. At the end all that was measured, and every tensor of the teacher and the students,
must equal bit for bit those of a run in one go. Some runs are of the real command line.
"""
