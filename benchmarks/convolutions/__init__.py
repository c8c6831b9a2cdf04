"""Which way of convolving an ensemble is the fastest: a race, forward and gradient.

    pip install -e ".[compare]"
    python benchmarks/convolutions --output benchmarks/results/convolutions-cpu
    python benchmarks/convolutions --device cuda --compile

Each of K members has its own 3x3 weights, and the input is one for all or each member's own, as in
the two convolutions of a LightNN student whose members share their batches; in a block with the
ReLU and the pooling that follow, which Triton's kernel has in itself. A candidate takes its
input and leaves its output in the memory layout that suits it, as it would within a network, and
takes the weights as a state holds them. The loops must unbind and stack, as a batching rule would.

On a GPU a candidate is replayed from a CUDA graph; where it cannot be captured it runs eagerly, and
its row says so. The tensors are the same ones over and over: of few members they stay in the cache.
A figure is a median over rounds, in which the candidates take turns after a warm-up.
"""
