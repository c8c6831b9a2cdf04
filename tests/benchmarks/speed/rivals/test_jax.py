"""The loop in JAX does the work that fkd's step does."""

import numpy as np
import pytest
import torch
from rival_students import EXAMPLES, STEPS, by_hand, light

from benchmarks.speed.rivals import LEARNING_RATE, jax, missing

pytestmark = pytest.mark.skipif(missing("jax") is not None, reason="JAX is not installed")


@pytest.mark.parametrize("layout", ["vmap", "loop"])
def test_jax_loses_as_by_hand(layout, images, labels, outputs):
    library = pytest.importorskip("jax")
    logits, seeds = outputs["logits"], (3, 4)
    state, data, train = jax.program(images, labels, logits, seeds, dropout=0.0, layout=layout)
    results = []
    for _ in range(STEPS):
        state, losses = library.jit(train)(state, data, np.arange(EXAMPLES)[::-1])
        results.append(losses)
    expected = [by_hand(light(seed), logits, images, labels, LEARNING_RATE) for seed in seeds]
    np.testing.assert_allclose(np.stack(results, axis=1), expected, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_jax_lowers_the_loss_with_dropout(dtype, images, labels, outputs):
    library = pytest.importorskip("jax")
    state, data, train = jax.program(images, labels, outputs["logits"], [3, 3, 4], dtype=dtype)
    train, results = library.jit(train), []
    for _ in range(20):
        state, losses = train(state, data, np.arange(EXAMPLES))
        results.append(losses)
    assert (results[-1] < results[0]).all()
    assert results[5][0] == results[5][1] != results[5][2]  # the seed is the member's dropout too


def test_jax_runs_on_in_calls_of_several_steps_and_of_one(images, labels, monkeypatch):
    library = pytest.importorskip("jax")
    calls, program = [], jax.program

    def counting(images, labels, teacher_logits, seeds, *, dtype, layout):
        state, data, train = program(
            images, labels, teacher_logits, seeds, dtype=dtype, layout=layout
        )

        def counted(state, data, index):
            library.debug.callback(lambda steps: calls.append(int(steps)), state[2])
            return train(state, data, index)

        return state, data, counted

    monkeypatch.setattr(jax, "program", counting)
    run = jax.loop(
        images,
        labels,
        teacher_logits=torch.zeros(EXAMPLES, 10),
        seeds=[0],
        batch_size=8,
        steps_per_call=2,
    )
    run(2)
    run(5)
    library.effects_barrier()
    assert calls == list(range(7))
