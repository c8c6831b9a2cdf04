"""What each loss costs: time and peak memory, forward and gradient, beside torchdistill's version.

    pip install -e ".[compare,rivals]"
    python benchmarks/losses --output benchmarks/results/loss-costs-cpu

At batch 128: logits of 100 classes, maps of 64x8x8, and these flattened for losses of relations.
Both sides run eagerly in one process, in turn, on the same tensors; a figure is a median over
rounds. torchdistill's value is compared with ours times a factor where its convention differs.
"""
