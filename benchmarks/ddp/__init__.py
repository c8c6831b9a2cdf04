"""The tutorial's distillation under DistributedDataParallel on two processes, beside fkd on two.

    python benchmarks/ddp --output benchmarks/results/ddp-cpu

Several seeds of LightNN learn from a DeepNN. The tutorial's loop, wrapped as torch's tutorial of
DistributedDataParallel wraps one, trains them one after the other, each batch split over the
processes; fkd trains them side by side, with the students or with each batch dealt to the
processes. All sides take as many steps of as many students on batches of one size, in float32; a
check before the clock starts shows that they come to the same losses.
"""
