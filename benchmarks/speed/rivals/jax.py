"""The tutorial's KD of LightNNs in JAX, a seed each, the teacher's logits looked up.

JAX warns, and may hang, where a DataLoader forks its workers after it has started: time those sides
in another process.
"""

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.speed.rivals import HARD, LEARNING_RATE, MEAN, SOFT, STD, TEMPERATURE
from benchmarks.speed.timed import Run
from fkd import _check
from fkd.data import order
from fkd.model import functional
from fkd.models import LightNN


def program(
    images: Tensor,
    labels: Tensor,
    teacher_logits: Tensor,
    seeds: Sequence[int],
    *,
    dtype: str = "float32",
    dropout: float = 0.1,
    layout: str = "auto",
) -> tuple[Any, Any, Callable[..., Any]]:
    """KD of one LightNN a seed in JAX: `state`, `data` and `step(state, data, index)`.

    A step takes the batch at `index` [batch] for all seeds and returns the state and the losses
    [seeds]. The weights start as torch's for the seed. "bfloat16" is for the forward and backward
    pass; weights, Adam and the loss stay in float32, which JAX multiplies as it sees fit (in TF32
    on a recent GPU). `layout` is "vmap", or "loop", which unrolls the seeds within the one
    program; "auto" takes the loop on a CPU.
    """
    _check.known("program", "dtype", dtype, ("float32", "bfloat16"))
    _check.known("program", "layout", layout, ("auto", "vmap", "loop"))
    # JAX would take most of the GPU's memory at its first use, which torch shares here.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    jax: Any = importlib.import_module("jax")
    optax: Any = importlib.import_module("optax")
    jnp = jax.numpy
    if layout == "auto":
        layout = "loop" if jax.default_backend() == "cpu" else "vmap"
    mean, deviation = jnp.array(MEAN), jnp.array(STD)
    keys = jax.vmap(jax.random.key)(jnp.array(seeds))
    adam = optax.adam(LEARNING_RATE)

    def convolution(x: Any, weight: Any, bias: Any) -> Any:
        axes = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=axes)
        x = jax.nn.relu(x + bias)
        # The gradient of a maximum over axes is several times quicker than reduce_window's.
        batch, height, width, channels = x.shape
        return x.reshape(batch, height // 2, 2, width // 2, 2, channels).max((2, 4))

    def loss(params: Any, x: Any, labels: Any, target: Any, key: Any) -> Any:
        p = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
        for layer in ("features.0", "features.3"):
            x = convolution(x, p[f"{layer}.weight"], p[f"{layer}.bias"])
        x = x.reshape(len(x), -1) @ p["classifier.0.weight"] + p["classifier.0.bias"]
        x = jax.nn.relu(x)
        if dropout:
            x = jnp.where(jax.random.bernoulli(key, 1 - dropout, x.shape), x / (1 - dropout), 0)
        logits = (x @ p["classifier.3.weight"] + p["classifier.3.bias"]).astype("float32")
        hard = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
        soft = optax.losses.softmax_cross_entropy(
            logits / TEMPERATURE, jax.nn.softmax(target / TEMPERATURE)
        )
        return (SOFT * TEMPERATURE**2 * soft + HARD * hard).mean()

    def step(state: Any, data: Any, index: Any) -> tuple[Any, Any]:
        params, moments, steps = state
        pixels, labels, target = (values[index] for values in data)
        x = ((pixels / 255 - mean) / deviation).astype(dtype)
        draws = jax.vmap(jax.random.fold_in, (0, None))(keys, steps)
        gradient = jax.value_and_grad(loss)
        if layout == "vmap":
            shared = (0, None, None, None, 0)
            losses, grads = jax.vmap(gradient, shared)(params, x, labels, target, draws)
        else:
            members = [jax.tree.map(lambda leaf, k=k: leaf[k], params) for k in range(len(seeds))]
            parts = [
                gradient(p, x, labels, target, key) for p, key in zip(members, draws, strict=True)
            ]
            losses, grads = jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)
        updates, moments = adam.update(grads, moments, params)
        return (optax.apply_updates(params, updates), moments, steps + 1), losses

    students = [
        functional(lambda: LightNN(teacher_logits.shape[1])).init(seed)[0] for seed in seeds
    ]
    params = jax.tree.map(jnp.asarray, channels_last(students))
    arrays = (images.permute(0, 2, 3, 1), labels.int(), teacher_logits.float())
    data = tuple(jnp.asarray(values.cpu().numpy()) for values in arrays)
    return (params, adam.init(params), jnp.zeros((), "int32")), data, step


def channels_last(students: Sequence[Mapping[str, Tensor]]) -> dict[str, np.ndarray]:
    """LightNNs' parameters stacked, for channels last: inputs before outputs, seeds first."""

    def transposed(name: str, value: np.ndarray) -> np.ndarray:
        if value.ndim == 5:  # [seeds, outputs, inputs, height, width]
            return value.transpose(0, 3, 4, 2, 1)
        if name == "classifier.0.weight":  # its inputs are a flattened map, [channels, 8, 8]
            value = value.reshape(*value.shape[:2], 16, 8, 8).transpose(0, 1, 3, 4, 2)
            value = value.reshape(*value.shape[:2], -1)
        return value.transpose(0, 2, 1) if value.ndim == 3 else value

    return {
        name: transposed(name, np.stack([student[name].cpu().numpy() for student in students]))
        for name in students[0]
    }


def loop(
    images: Tensor,
    labels: Tensor,
    *,
    teacher_logits: Tensor,
    seeds: Sequence[int],
    batch_size: int = 128,
    dtype: str = "float32",
    layout: str = "auto",
    steps_per_call: int | None = None,
) -> Run:
    """`program` on JAX's default device, compiled before it is returned.

    `steps_per_call` steps are one call by `lax.scan`: by default 10 on a GPU, and 1 on a CPU,
    where XLA runs convolutions inside a loop many times slower.
    """
    state, data, step = program(images, labels, teacher_logits, seeds, dtype=dtype, layout=layout)
    jax: Any = importlib.import_module("jax")
    if steps_per_call is None:
        steps_per_call = 1 if jax.default_backend() == "cpu" else 10

    def one(state: Any, data: Any, index: Any) -> Any:
        return step(state, data, index[0])

    def several(state: Any, data: Any, index: Any) -> Any:
        return jax.lax.scan(lambda state, one: step(state, data, one), state, index)

    compiled = {
        steps: jax.jit(one if steps == 1 else several, donate_argnums=0)
        .lower(state, data, np.zeros((steps, batch_size), np.int32))
        .compile()
        for steps in {1, steps_per_call}
    }
    orders = (order(0, epoch, len(images), batch_size).int().numpy() for epoch in count())
    batches = (batch for epoch in orders for batch in epoch)

    def run(steps: int) -> None:
        nonlocal state
        while steps > 0:
            few = steps_per_call if steps >= steps_per_call else 1
            index = np.stack([next(batches) for _ in range(few)])
            state, _ = compiled[few](state, data, index)
            steps -= few
        jax.block_until_ready(state)

    return run
