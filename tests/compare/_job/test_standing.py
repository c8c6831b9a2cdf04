"""Where training stands: what is taken of it, through a file and back, is all of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest
import torch
from compare.ranks import meshes
from compare.small_comparisons import EAGER, Narrow, vectors
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._pytree import tree_leaves, tree_map, tree_structure

from fkd import checkpoint, methods, optim
from fkd.compare._job.record import Record
from fkd.compare._job.standing import MEASURED, Saved, Standing, share
from fkd.data import Resident
from fkd.distillation import distill
from fkd.ensemble import ensemble
from fkd.execution import Plan
from fkd.methods import Context
from fkd.model import functional
from fkd.train import At, Students, train

CPU = torch.device("cpu")
SEEDS = (3, 5, 8)


@dataclass
class Trained:
    """Two ensembles in training, and where they stand."""

    students: dict[str, Students]
    records: dict[str, Record]
    source: Resident
    training: Iterator[At]
    at: At

    def saved(self, folder: Path) -> Saved:
        """Where they stand, through a file."""
        checkpoint.write(folder / "file", *Standing(self.at, self.records).taken())
        return Saved([folder / "file"])


@pytest.fixture
def trained() -> Trained:
    """After five steps of four an epoch. One method has a head with a memory."""
    data = vectors().train
    hidden = torch.randn(data.examples, 16, generator=torch.Generator().manual_seed(0))
    targets = {"labels": data.targets["labels"], "hidden": hidden}
    source = Resident(data.inputs, targets, batch_size=10)
    batch = source.read(torch.arange(10))
    context = Context(
        examples=source.examples,
        outputs={"logits": torch.Size([2]), "hidden": torch.Size([8])},
        targets={name: target.shape[1:] for name, target in batch.targets.items()},
    )
    optimizer = optim.averaged(optim.adam(0.01))
    students, records = {}, {}
    for name, method in {"ce": methods.ce(), "crd": methods.crd(negatives=4)}.items():
        model = functional(methods.wrapped(Narrow, method, context))
        one = distill(model, method, optimizer, batch, context=context)
        students[name], records[name] = Students(one, SEEDS), Record(model, SEEDS, [{}])
        records[name].curves = {"test_accuracy": [[0.5, float("nan"), float("inf")]]}
        records[name].seconds["steps"] = 1.25
        records[name].diverged = [-1, 4, -1]
        records[name].broken = ["", "the parameters are", ""]
        records[name].answers = ["hA==", None, "/w=="]
        records[name].plans = [EAGER]
    training = train(students, source, epochs=3, plan=EAGER)
    return Trained(students, records, source, training, list(islice(training, 5))[-1])


def assert_same(one, other) -> None:
    """Equal bit for bit, with the same keys, and numbers by their value."""
    assert tree_structure(one) == tree_structure(other)
    for a, b in zip(tree_leaves(one), tree_leaves(other), strict=True):
        assert torch.equal(a, b) and a.dtype == b.dtype


def tensors_of(at: At):
    return at.states, at.sums, at.diverged


def test_what_is_taken_comes_back_from_a_file(trained, tmp_path):
    saved, at = trained.saved(tmp_path), trained.at
    assert saved.seeds == {"ce": list(SEEDS), "crd": list(SEEDS)}
    assert str(saved) == "ce, crd at epoch 2, step 1 of 4"
    again = {name: Record(one.model, SEEDS, [{}]) for name, one in trained.records.items()}
    back = saved.restored(trained.students, again, CPU)
    assert (back.epoch, back.step, back.steps) == (at.epoch, at.step, at.steps) == (1, 1, 4)
    assert_same(tensors_of(back), tensors_of(at))
    assert "crd.0002.state.buffers.heads.crd.student_bank" in saved.tensors
    for name, record in again.items():
        assert record.state is back.states[name] and record.plans == [EAGER]
        for field in MEASURED:  # by repr, for a NaN is not equal to itself
            assert repr(getattr(record, field)) == repr(getattr(trained.records[name], field))


def test_a_copy_is_not_written_over_by_what_follows(trained):
    record = trained.records["ce"]
    tensors, about = Standing(trained.at, trained.records).taken()
    before = {name: x.clone() for name, x in tensors.items()}
    next(trained.training)
    record.curves["test_accuracy"].append([0.0])
    record.diverged[0] = 9
    assert all(torch.equal(x, before[name]) for name, x in tensors.items())
    assert len(about["records"]["ce"]["curves"]["test_accuracy"]) == 1
    assert about["records"]["ce"]["diverged"] == [-1, 4, -1] and about["step"] == 1


def test_a_training_goes_on_from_it_as_if_it_had_not_stopped(trained, tmp_path):
    start = trained.saved(tmp_path).restored(trained.students, trained.records, CPU)
    again = train(trained.students, trained.source, epochs=3, plan=EAGER, start=start)
    count = 0
    for expected, gone_on in zip(trained.training, again, strict=True):
        assert (expected.epoch, expected.step) == (gone_on.epoch, gone_on.step)
        assert_same(tensors_of(expected), tensors_of(gone_on))
        count += 1
    assert count == 7  # of twelve, after five


def test_another_ensemble_is_refused(trained, tmp_path):
    saved = trained.saved(tmp_path)
    fewer = {name: Students(one.distillation, (3, 5)) for name, one in trained.students.items()}
    records = {name: Record(one.model, (3, 5), [{}]) for name, one in trained.records.items()}
    with pytest.raises(ValueError, match="it is of 3 students of ce, and not of 2"):
        saved.restored(fewer, records, CPU)


def of_members(count: int) -> tuple[Students, Record, At]:
    """So many students where they might stand in training, each elsewhere."""
    data = vectors().train
    batch = data.read(torch.arange(10))
    model = functional(Narrow)
    one = distill(model, methods.ce(), optim.adam(0.01), batch)
    students, record = Students(one, range(count)), Record(model, range(count), [{}])
    state = ensemble(one).init(students.seeds)
    record.curves = {"test_accuracy": [[0.1 * k for k in range(count)]]}
    record.diverged, record.broken = [-1] * count, [""] * count
    sums = {"loss": torch.arange(count).double()}
    return students, record, At(1, 2, 4, {"ce": state}, {"ce": sums}, {"ce": torch.arange(count)})


def own_of(at: At, own: slice) -> At:
    """What a rank has of where all stand."""
    states, sums, diverged = tree_map(lambda leaf: leaf[own], tensors_of(at))
    return At(at.epoch, at.step, at.steps, states, sums, diverged)


@given(data=st.data(), count=st.integers(1, 6))
def test_what_any_ranks_wrote_any_other_ranks_read(data, count, tmp_path_factory):
    folder, (students, record, at) = tmp_path_factory.mktemp("ranks"), of_members(count)
    # Of the one teacher there are fewer than ranks: each has it, and the first writes it.
    ranks = st.integers(1, 4) if count == 1 else st.integers(1, min(count, 4))
    writers = meshes(data.draw(ranks, "writers"), data.draw(st.integers(1, 2), "of each row"))
    paths, parts = [], 1 if count == 1 else writers[0].member_ranks
    for mesh in writers:
        record.plans = [Plan("loop", compile="none", graph=0), Plan("loop", graph=mesh.rank)]
        standing = Standing(own_of(at, share(mesh, count)), {"ce": record}, mesh)
        assert standing.step == 6 and standing.parts == parts
        if standing.part is not None:
            assert standing.part == len(paths)
            paths.append(folder / str(standing.part))
            checkpoint.write(paths[-1], *standing.taken())
    assert len(paths) == parts
    readers = meshes(data.draw(ranks, "readers"), data.draw(st.integers(1, 2), "of each row"))
    for mesh in readers:
        own, again = share(mesh, count), Record(record.model, range(count), [{}])
        here = Students(students.distillation, students.seeds[own])
        saved = Saved(paths, mesh)
        assert {int(key.split(".")[1]) for key in saved.tensors} == set(range(count)[own])
        back = saved.restored({"ce": here}, {"ce": again}, CPU)
        assert_same(tensors_of(back), tensors_of(own_of(at, own)))
        assert (back.epoch, back.step, back.steps) == (at.epoch, at.step, at.steps)
        assert again.curves == record.curves and again.diverged == record.diverged
        of_ranks = [Plan("loop", graph=k * writers[0].data_ranks) for k in range(parts)]
        assert again.plans == [Plan("loop", compile="none", graph=0), *of_ranks]
    like = {"diverged": at.diverged["ce"], "state": at.states["ce"], "sums": at.sums["ce"]}
    for k in range(count):
        alone = checkpoint.load_members(paths, like, [k], "ce")
        assert_same(alone, tree_map(lambda leaf, k=k: leaf[k : k + 1], like))


def test_files_of_two_moments_are_refused(tmp_path):
    _, record, at = of_members(2)
    for mesh, step in zip(meshes(2), (2, 3), strict=True):
        one = own_of(At(1, step, 4, at.states, at.sums, at.diverged), share(mesh, 2))
        checkpoint.write(tmp_path / str(mesh.rank), *Standing(one, {"ce": record}, mesh).taken())
    with pytest.raises(ValueError, match="1: it is of another moment than 0; "):
        Saved([tmp_path / "0", tmp_path / "1"])


def test_what_is_no_checkpoint_is_refused(tmp_path):
    checkpoint.write(tmp_path / "x", {"a": torch.ones(1)}, {"seeds": {"ce": [3]}})
    with pytest.raises(ValueError, match=r"it is not of a training under way, .* say epoch"):
        Saved([tmp_path / "x"])


def test_a_rank_that_holds_other_members_than_its_own_is_a_mistake():
    _, record, at = of_members(4)
    with pytest.raises(AssertionError, match="ce has other members"):
        Standing(own_of(at, slice(0, 3)), {"ce": record}, meshes(2)[1]).taken()
