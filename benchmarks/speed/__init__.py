"""How fast fkd trains, beside PyTorch's tutorial, torchdistill, JAX, and what the machine could do.

    pip install -e ".[compare,rivals]"
    python benchmarks/speed --output benchmarks/results/speed-cpu
    python benchmarks/speed --device cuda --members 1 8 32 128 --jax-members 1 32

Three parts: `steps`, a member's step of kd by the number of members, beside the plain loop (the
tutorial's, with data on the device and the teacher's logits looked up) and the other loops;
`table`, all of the tutorial's methods over all their epochs; `floor`, the least time a step could
take here. Each side lives in a process of its own; they are warmed up, then timed in turn, and a
figure is a median over rounds.
"""
