"""What a checkpoint costs a training: per cent of its time, beside a training without.

    pip install -e ".[compare]"
    python benchmarks/checkpoints --output benchmarks/results/checkpoint-cost-cpu

Ensembles of LightNN learn from kept logits by kd and Adam. Blocks of steps with one checkpoint at
their beginning and without any come in turn, so that what else the machine does meets both. A block
lasts longer than the writing; the rest of the writing, if there is any, counts too. The difference
of two blocks is what one checkpoint costs, and `--minutes` says how often there is one.
"""
