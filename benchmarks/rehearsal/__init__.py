"""All that is measured on a GPU, stage by stage in order of worth, in a time that is given.

    python benchmarks/gpu.py --root cifar10-jpeg.tar.xz --minutes 9 --output runs/gpu-h100
    python benchmarks/gpu.py --root cifar10-jpeg.tar.xz --minutes 3 --stages images table-bf16
    python benchmarks/gpu.py --rehearse

A stage is a process of its own with a limit of its own. It writes what it measured into a folder of
its own, and what it says into a file beside that; after each, `summary.md` and `summary.json` tell
all that is known so far. One that fails, or that takes too long, stops nothing, and what it had
measured by then is kept. Nine minutes are enough for what no GPU has measured yet, and three more
for the table.

`--rehearse` runs every stage on the CPU with everything shrunk, and measures nothing of worth.
"""
