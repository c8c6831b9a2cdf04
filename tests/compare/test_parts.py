"""A run's folder that several ranks write and read: one lock, one file, moments that are whole."""

import pickle
from pathlib import Path

import pytest
import torch
from compare.ranks import meshes, on_ranks
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fkd import checkpoint, methods, optim
from fkd.compare._accord import Accord
from fkd.compare._job.standing import MOMENT
from fkd.compare._store.folder import RunFolder, run_in
from fkd.compare._store.moment import Moment, whole_moments
from fkd.data import Batch
from fkd.distillation import State, distill, student_of
from fkd.distributed import Mesh
from fkd.ensemble import ensemble, part
from fkd.model import functional, state_dict

IDENTITY = {"config": {"epochs": 2, "seeds": (3, 5)}}
MEMBERS = 4


def opened(path: Path, mesh: Mesh, identity=IDENTITY) -> RunFolder:
    return RunFolder(path, identity, None, Accord(mesh))


def closing(path: Path, mesh: Mesh) -> list[str]:
    folder = opened(path, mesh)
    folder.close()
    return folder.notes


def test_ranks_take_a_folder_together_and_leave_it_free(tmp_path):
    assert on_ranks(lambda mesh: closing(tmp_path / "run", mesh), 2, 2) == [[]] * 4
    entry = run_in(tmp_path / "run")
    assert entry is not None and entry["environment"]["data_ranks"] == 2
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [".lock", "run.json"]
    assert on_ranks(lambda mesh: closing(tmp_path / "run", mesh), 4, 2) == [[]] * 8
    # How many ranks share the members is no part of what a run is; how a batch is split is told.
    told = "It began with data_ranks 2 and goes on with 1: its results may not be those of one go"
    assert on_ranks(lambda mesh: closing(tmp_path / "run", mesh), 2)[0] == [told]


def assert_refused(errors: list, told: str) -> None:
    for error in errors:
        assert isinstance(error, ValueError) and told in str(error)


def test_what_one_rank_refuses_all_refuse(tmp_path):
    alone = RunFolder(tmp_path / "run", IDENTITY)
    refused = on_ranks(lambda mesh: closing(tmp_path / "run", mesh), 3)
    assert_refused(refused, "folder: another process is writing to")
    alone.close()
    other = {"config": {"epochs": 3, "seeds": (3, 5)}}
    refused = on_ranks(lambda mesh: opened(tmp_path / "run", mesh, other), 3)
    assert_refused(refused, "is another: config.epochs was 2, and is 3")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    refused = on_ranks(lambda mesh: closing(tmp_path / "mine", mesh), 2)
    assert_refused(refused, "is not empty and holds no run")
    assert on_ranks(lambda mesh: closing(tmp_path / "run", mesh), 3) == [[]] * 3


def test_ranks_that_are_to_do_different_runs_are_refused(tmp_path):
    mine = {"data": {"train": 64 * "a"}}, {"data": {"train": 64 * "b"}}
    refused = on_ranks(lambda mesh: opened(tmp_path / "run", mesh, mine[mesh.rank // 2]), 3)
    assert_refused(refused, "rank 2 is to do another run than rank 0: the training examples are")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_a_rank_does_not_see_is_refused(tmp_path):
    refused = on_ranks(lambda mesh: closing(tmp_path / f"disk-{mesh.rank // 2}", mesh), 3)
    assert_refused(refused, "folder: rank 2 does not see in")
    assert_refused(refused, "a folder on a disk that all ranks share")
    on_ranks(lambda mesh: closing(tmp_path / "disk-0", mesh), 2)


def test_what_killed_ranks_left_is_removed_by_the_next(tmp_path):
    RunFolder(tmp_path / "run", IDENTITY).close()
    left = tmp_path / "run" / ".ranks.01234567.fkd-partial"
    left.mkdir()
    (left / "1-0.safetensors").write_text("half of a rank's students")
    RunFolder(tmp_path / "run", IDENTITY).close()
    assert not left.exists()


def trained() -> State:
    """Students with running averages of their weights."""
    batch = Batch(torch.ones(2, 4), {"labels": torch.tensor([0, 1])})
    one = distill(
        functional(lambda: nn.Linear(4, 2)), methods.ce(), optim.averaged(optim.adam()), batch
    )
    return ensemble(one).init(range(MEMBERS))


@given(data=st.data(), data_ranks=st.integers(1, 2), ranks=st.integers(1, 4))
def test_students_of_all_ranks_are_in_one_file(data, data_ranks, ranks, tmp_path_factory):
    folder, state = tmp_path_factory.mktemp("run"), trained()
    # They join those before. Others may be there by a kill, which came before this was known.
    before = data.draw(st.integers(0, MEMBERS), "before")
    there = data.draw(st.integers(before, MEMBERS), "there") if before else 0
    if there:
        run = opened(folder, Mesh())
        run.save_students("kd", part(state, slice(0, there)), {"method": "before"})
        run.close()
    # Of a sweep a rank may have none of the students that were chosen.
    inner = data.draw(
        st.lists(st.integers(before, MEMBERS), min_size=ranks - 1, max_size=ranks - 1), "bounds"
    )
    bounds = [before, *sorted(inner), MEMBERS]

    def write(mesh: Mesh) -> None:
        run = opened(folder, mesh)
        first, last = bounds[mesh.member_rank : mesh.member_rank + 2]
        run.save_students("kd", part(state, slice(first, last)), {"method": "kd"}, first, MEMBERS)
        run.close()

    assert on_ranks(write, ranks, data_ranks) == [None] * (ranks * data_ranks)
    names = sorted(path.name for path in folder.iterdir())
    files = ["averages-kd.safetensors", "run.json", "students-kd.safetensors"]
    assert names == [".lock", *files]
    like = state_dict(*student_of(state))
    back = checkpoint.load_members(folder / "students-kd.safetensors", like)
    assert all(torch.equal(back[name], x) for name, x in like.items())
    assert checkpoint.about(folder / "students-kd.safetensors") == {"method": "kd"}


def test_students_stand_under_their_numbers_where_those_before_were_not_written(tmp_path):
    run, state = opened(tmp_path, Mesh()), trained()
    for first in (1, 2):
        run.save_students("kd", part(state, slice(first, first + 1)), {}, first, MEMBERS)
    run.close()
    like = part(state_dict(*student_of(state)), slice(1, 3))
    back = checkpoint.load_members(tmp_path / "students-kd.safetensors", like, [1, 2])
    assert all(torch.equal(back[name], x) for name, x in like.items())
    with pytest.raises(ValueError, match="member 0 is missing"):
        checkpoint.load_members(tmp_path / "students-kd.safetensors", like, [0])


def test_a_part_that_cannot_be_written_is_told_on_every_rank(tmp_path, monkeypatch):
    save = checkpoint.save_members

    def full(path: Path, *arguments: object, **options: object) -> None:
        if path.name == "1-1.safetensors":
            raise OSError(28, "No space left on device")
        save(path, *arguments, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(checkpoint, "save_members", full)
    state = trained()

    def write(mesh: Mesh) -> None:
        run = opened(tmp_path, mesh)
        try:
            run.save_students("kd", part(state, mesh.members(MEMBERS)), {}, 0)
        finally:
            run.close()

    assert_refused(on_ranks(write, 2), "No space left on device (on rank 1)")
    assert not list(tmp_path.glob("students-*")) and not list(tmp_path.glob(".ranks*"))


def put(folder: Path, moment: Moment) -> None:
    """The files of a moment of a method with four students, whose numbers are the moment's."""
    about = dict.fromkeys(MOMENT) | {
        "seeds": {"kd": list(range(MEMBERS))},
        "members": {"kd": MEMBERS},
        "records": {},
    }
    about |= {"epoch": 0, "step": moment.step, "steps": 9}
    for mesh in meshes(moment.parts):
        own = mesh.members(MEMBERS)
        rows = {"x": torch.full((own.stop - own.start,), moment.number)}
        tensors = checkpoint.by_member(rows, "kd", first=own.start)
        checkpoint.write(moment.path(folder, mesh.rank), tensors, about)


def damage(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    elif how == "torn":
        path.write_bytes(path.read_bytes()[:-7])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "flipped":
        bytes_ = bytearray(path.read_bytes())
        bytes_[-1] ^= 1
        path.write_bytes(bytes_)


def read(folder: Path, mesh: Mesh) -> dict[str, int] | None:
    run = opened(folder, mesh)
    try:
        saved = run.saved()
    finally:
        run.close()
    return {key: int(x) for key, x in saved[0].tensors.items()} if saved else None


HOW = st.sampled_from(["", "missing", "torn", "empty", "flipped"])


@given(
    hows=st.lists(HOW, min_size=4, max_size=4), older=st.integers(1, 4), readers=st.integers(1, 4)
)
def test_a_moment_that_is_not_whole_is_never_taken_for_an_older_one(
    hows, older, readers, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("run")
    RunFolder(folder, IDENTITY).close()
    put(folder, Moment(1, 3, "01234567", older))
    newer = Moment(2, 5, "89abcdef", 4)
    put(folder, newer)
    for path, how in zip(newer.paths(folder), hows, strict=True):
        damage(path, how)
    expected = 1 if any(hows) else 2
    given: dict[str, int] = {}
    for tensors in on_ranks(lambda mesh: read(folder, mesh), readers):
        given |= tensors
    assert given == {f"kd.{k:04d}.x": expected for k in range(MEMBERS)}


@pytest.mark.parametrize("how", ["missing", "torn", "flipped"])
def test_where_there_is_no_other_moment(how, tmp_path):
    RunFolder(tmp_path, IDENTITY).close()
    only = Moment(1, 3, "01234567", 2)
    put(tmp_path, only)
    damage(only.path(tmp_path, 1), how)
    if how == "missing":  # killed between two ranks' writes: the training begins anew
        assert on_ranks(lambda mesh: read(tmp_path, mesh), 2) == [None, None]
    else:
        assert_refused(on_ranks(lambda mesh: read(tmp_path, mesh), 2), "is damaged")
        assert whole_moments(tmp_path) == [only]


class Runs:
    """What runs a command where it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


FILES = {
    "run.json": lambda run: run_in(run.path),
    "results.json": RunFolder.results,
    "teacher.safetensors": lambda run: checkpoint.read(run.teacher),
    "students-kd.safetensors": lambda run: checkpoint.read(run.students("kd")),
    "averages-kd.safetensors": lambda run: checkpoint.load_members(
        run.averages("kd"), {"a": torch.ones(1)}
    ),
    "checkpoint-0001-3-01234567-1-of-1.safetensors": RunFolder.saved,
}


@pytest.mark.plain
@pytest.mark.parametrize("form", ["pickle", "torch", "torch of old"])
@pytest.mark.parametrize("name", FILES)
def test_a_foreign_folder_runs_no_code(name, form, tmp_path):
    mark, folder = tmp_path / "ran", tmp_path / "run"
    run = RunFolder(folder, IDENTITY)
    evil: dict[str, Runs | Tensor] = {"a": Runs(mark), "b": torch.ones(1)}
    if form == "pickle":
        (folder / name).write_bytes(pickle.dumps(evil))
    else:
        torch.save(evil, folder / name, _use_new_zipfile_serialization=form == "torch")
    with pytest.raises(ValueError, match=r"run\.json|results\.json|safetensors"):
        FILES[name](run)
    run.close()
    assert not mark.exists()
    pickle.loads(pickle.dumps(evil))  # as it would have, where it had been unpickled
    assert mark.exists()
