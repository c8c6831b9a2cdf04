"""What measures fkd. Each part is called as a folder or, from the repository root, as a module:

    python benchmarks/speed --help
    python -m benchmarks.speed --help

`speed` is how fast students train beside others, `losses` what each loss costs, `convolutions` a
race of the ways to convolve an ensemble, `ddp` how two processes train beside torch's
DistributedDataParallel; `results` is what they wrote.
"""
