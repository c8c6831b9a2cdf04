"""The memory that a comparison takes: exact where it can be, and held to what was measured."""

import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from compare.small_comparisons import EAGER, Narrow, Wide, trained_elsewhere, vectors
from torch.utils._pytree import tree_leaves

from benchmarks._forked import forked
from fkd import methods, optim
from fkd.compare import Comparison
from fkd.compare._setup.estimate import (
    Estimate,
    check_data,
    check_memory,
    estimated,
)
from fkd.compare._setup.task import check_methods, teacher_candidates
from fkd.distributed import Mesh
from fkd.ensemble import ensemble
from fkd.execution import Layout, Plan

ALONE = Mesh()
TIMEOUT = 240.0  # seconds
SETTLE = Plan.settle
TAUGHT: dict[str, Any] = {"teacher_state": trained_elsewhere()}


def comparison(chosen=None, **options) -> Comparison:
    options = {"seeds": range(3), "epochs": 2, "plan": EAGER} | options
    return Comparison(Wide, Narrow, chosen or {"kd": methods.kd()}, vectors(), **options)


def estimate_of(made: Comparison, mesh: Mesh = ALONE) -> Estimate:
    run = made._run
    teacher = None if run.teacher else teacher_candidates(run.task, run.context)
    return estimated(run.task, check_methods(run.task, run.context), teacher, mesh)


@pytest.mark.parametrize("optimizer", [optim.sgd(0.1), optim.averaged(optim.adam(0.1))])
def test_states_are_exact_to_the_byte(optimizer):
    chosen = {"ce": methods.ce(), "hint": methods.hint(layer="hidden", teacher_layer="hidden")}
    made = comparison(
        chosen, optimizer=optimizer, sweep={"lr": (0.1, 0.2)}, teacher_state=trained_elsewhere()
    )
    task, context = made._run.task, made._run.context
    students = task.recipe.students(task.student, chosen["hint"], context)  # with a head
    states = ensemble(students.distillation).init([0, 1, 2] * 2, {"lr": [0.1] * 3 + [0.2] * 3})
    estimate = estimate_of(made)
    assert estimate.members == 6
    assert estimate.states == estimate.copy == sum(leaf.nbytes for leaf in tree_leaves(states))


def test_methods_side_by_side_add_up_and_the_teacher_counts_where_it_is_trained():
    chosen = {"ce": methods.ce(), "kd": methods.kd()}
    apart = estimate_of(comparison(chosen, teacher_state=trained_elsewhere()))
    live = estimate_of(comparison(chosen, teacher_state=trained_elsewhere(), teacher_memory=0.0))
    assert (apart.members, live.members) == (3, 6)
    assert live.states > apart.states and live.outputs == 0
    alone = estimate_of(comparison({"ce": methods.ce()}, seeds=[0]))  # the teacher is wider
    parameters = 4 * 16 + 16 + 16 * 2 + 2
    assert alone.states >= 3 * 4 * parameters  # Adam's two averages


def test_a_rank_has_its_members_and_its_part_of_each_batch():
    made = comparison(teacher_state=trained_elsewhere())
    alone, first, last = (estimate_of(made, mesh) for mesh in (ALONE, Mesh(0, 2), Mesh(1, 2)))
    assert (alone.members, first.members, last.members) == (3, 2, 1)
    assert alone.states == first.states + last.states
    split = estimate_of(made, Mesh(0, 1, 2))
    assert split.states == alone.states and split.step < alone.step


def settled_on_a_gpu(self: Plan, device: torch.device, steps: int, members: int) -> Plan:
    return SETTLE(self, torch.device("cuda"), steps, members)


def test_a_rank_lays_its_one_of_two_members_as_one_process_lays_both(monkeypatch):
    monkeypatch.setattr(Plan, "settle", settled_on_a_gpu)
    plans = Plan("loop", compile="none"), Plan("vmap", compile="none"), Plan()
    made = (comparison(seeds=[0, 1], plan=plan, **TAUGHT) for plan in plans)
    loop, vmap, auto = (estimate_of(one, Mesh(0, 2)) for one in made)
    assert auto == vmap != loop


def test_students_that_may_join_count_where_they_lie_together_in_one_file():
    chosen = {"ce": methods.ce(), "kd": methods.kd()}
    few, many = (
        estimate_of(comparison(chosen, resolution=0.1, max_seeds=most, **TAUGHT))
        for most in (3, 1000)
    )
    assert few == estimate_of(comparison(chosen, **TAUGHT)) and few.copy == few.states
    assert many.copy == 1000 * 4 * (4 * 8 + 8 + 8 * 2 + 2)  # their parameters
    assert many.states == few.states  # for no more are trained at once


def test_ranks_of_one_machine_share_what_is_free(monkeypatch):
    made, mesh = comparison(teacher_state=trained_elsewhere()), Mesh(0, 3)
    task, candidates = made._run.task, check_methods(made._run.task, made._run.context)
    cpu = torch.device("cpu")
    need = sum(estimate_of(made, mesh).on(cpu, cpu).values())
    monkeypatch.setattr("fkd.compare._setup.estimate.free_memory", lambda place: 2.0 * need)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")  # each on a machine of its own
    assert not check_memory(task, candidates, None, mesh)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(ValueError, match="memory are free: "):
        check_memory(task, candidates, None, mesh)


def test_outputs_data_and_logits_by_hand():
    estimate = estimate_of(comparison(teacher_state=trained_elsewhere()))
    assert estimate.outputs == 40 * 2 * 4  # examples, classes, bytes
    assert estimate.data == (40 + 30) * (4 * 4 + 8)  # four numbers and a label
    assert estimate.logits == 3 * 3 * 30 * 2 * 4  # copies, members, examples, classes, bytes


def test_a_sweep_is_examined_on_the_larger_of_validation_and_test():
    swept = {"sweep": {"lr": (0.1, 0.2)}, "teacher_state": trained_elsewhere()}
    small = estimate_of(comparison(validation=0.5, **swept))  # 20 to validate on, 30 to test
    own = vectors().train  # and 40
    large = estimate_of(comparison(validation=own, **swept))
    assert (small.logits, large.logits) == (3 * 6 * 30 * 2 * 4, 3 * 6 * 40 * 2 * 4)


@pytest.mark.parametrize(
    ("part", "begins", "remedy"),
    [
        ("states", "seeds", "choose fewer seeds or settings of a sweep, or a smaller network"),
        ("step", "batch_size", "choose a smaller batch, or a chunk of members at once"),
        ("outputs", "teacher_memory", "give less, and the teacher is asked about each batch"),
        ("logits", "seeds", "or fewer examples to test on"),
    ],
)
def test_more_than_is_free_is_refused_with_the_parts_and_the_remedy(
    part, begins, remedy, monkeypatch
):
    gib = 2**30
    sizes = dict.fromkeys(("states", "copy", "step", "outputs", "logits"), gib) | {part: 4 * gib}
    estimate = Estimate(members=512, data=gib // 2, **sizes)
    monkeypatch.setattr("fkd.compare._setup.estimate.estimated", lambda *_: estimate)
    monkeypatch.setattr("fkd.compare._setup.estimate.free_memory", lambda place: 7.5 * gib)
    told = r"the largest training \(members: 512\) takes about 8 GiB beside 0.5 GiB of data, and"
    free = "7.5 GiB of the cpu's memory are free"
    with pytest.raises(ValueError, match=f"^{begins}: {told} {free}: .* 4 GiB.*{remedy}$"):
        comparison(teacher_state=trained_elsewhere())
    monkeypatch.setattr("fkd.compare._setup.estimate.free_memory", lambda place: 9 * gib)
    (note,) = comparison(teacher_state=trained_elsewhere()).notes[-1:]
    assert note.startswith("Memory is tight: the largest training (members: 512)")
    monkeypatch.setattr("fkd.compare._setup.estimate.free_memory", lambda place: 11 * gib)
    assert not any("tight" in note for note in comparison().notes)


def test_data_that_a_gpu_cannot_hold_are_refused(monkeypatch):
    data = vectors()  # 70 examples of four numbers and a label
    gpu = torch.device("cuda")
    monkeypatch.setattr("fkd.compare._setup.estimate.free_memory", lambda place: 70 * 24)
    check_data(data, gpu)
    monkeypatch.setattr("fkd.compare._setup.estimate.free_memory", lambda place: 70 * 24 - 1)
    check_data(data, torch.device("cpu"))  # where they lie already
    with pytest.raises(
        ValueError, match=r"^memory: the data take .* of the cuda's memory are free"
    ):
        check_data(data, gpu)


def test_on_a_gpu_the_copy_lies_in_the_computers_own_memory():
    estimate = Estimate(members=1, states=2, copy=2, step=3, outputs=5, logits=7, data=0)
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert sum(estimate.on(gpu, gpu).values()) == 17 and estimate.on(cpu, gpu) == {"copy": 2}
    assert sum(estimate.on(cpu, cpu).values()) == 19


def measured(layout: Layout) -> tuple[int, int]:
    """What a comparison's training is estimated to hold, and what it holds, in bytes."""
    torch.set_num_threads(1)
    # A small one first, so that what is loaded and set up but once is not in the difference.
    for _ in noise(members=1, examples=32, layout=layout).run():
        pass
    made = noise(members=8, examples=256, layout=layout)
    estimate = estimate_of(made)
    held = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is this process's from here on
    for _ in made.run():
        pass
    status = Path("/proc/self/status").read_text()
    peak = 1024 * int(status.partition("VmHWM:")[2].split()[0])
    cpu = torch.device("cpu")
    return sum(estimate.on(cpu, cpu).values()), peak - held


def noise(members: int, examples: int, layout: Layout) -> Comparison:
    """LightNN on images of noise, in one batch, by a teacher of its own kind."""
    from fkd.data import Data, Resident
    from fkd.models import named

    images = torch.randn(examples, 3, 32, 32)
    source = Resident(images, {"labels": torch.arange(examples) % 10}, batch_size=examples)
    build = named("lightnn", 10)
    return Comparison(
        build,
        build,
        {"kd": methods.kd()},
        Data("noise", tuple("abcdefghij"), source, source),
        seeds=range(members),
        epochs=1,
        plan=Plan(layout=layout, compile="none"),
        teacher_state=build().state_dict(),
    )


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it reads Linux's /proc")
@pytest.mark.parametrize("layout", ["loop", "vmap"])
def test_the_estimate_is_within_a_factor_of_two_of_what_is_measured(layout):
    with ProcessPoolExecutor(1, mp_context=forked()) as process:
        estimate, taken = process.submit(measured, layout).result(TIMEOUT)
    assert taken / 2 <= estimate <= 2 * taken
    print(f"{layout}: {estimate / 2**20:.0f} MiB estimated, {taken / 2**20:.0f} MiB measured")
