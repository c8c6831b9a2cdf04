"""All that is measured on a GPU, stage by stage in order of worth, in a time that is given.

    gpu="python benchmarks/gpu.py --root cifar10-jpeg.tar.xz --cache /tmp/gpu"
    $gpu --minutes 9 --output runs/gpu-a
    $gpu --minutes 4 --output runs/gpu-b --stages images fused-by-hand table-fp32
    python benchmarks/gpu.py --rehearse

A stage is a process of its own with a limit of its own. It writes what it measured into a folder of
its own, and what it says into a file beside that; after each, `summary.md` and `summary.json` tell
all that is known so far. One that fails, or that takes too long, stops nothing, and what it had
measured by then is kept. The first two calls measure what no GPU has yet, the table as a first run
and as a second, which finds what the first has compiled and tuned.

`--rehearse` runs every stage on the CPU with everything shrunk, and measures nothing of worth.
"""
