"""A run in its folder: whatever moment it is cut short at, it ends as if it had not been."""

import shutil
from pathlib import Path

import pytest
import torch
from compare.small_comparisons import ALL, EAGER, Narrow, Wide, small, trained_elsewhere, vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from fkd import checkpoint, losses, methods, optim
from fkd.compare import Comparison, Results
from fkd.compare._store.saver import Saver
from fkd.data import Data
from fkd.methods import Term
from fkd.optim import averaged

RARELY = 1e6  # minutes
ALWAYS = 1e-9
MINE = {"logits": Term(losses.kl_divergence, student="logits", target="logits")}
# Each draws on another part of what a checkpoint holds.
KINDS = {
    "plain": {},
    "a given teacher": {"teacher_state": trained_elsewhere()},
    "a sweep": {"sweep": {"lr": [0.001, 0.01]}},
    "a live teacher": {"teacher_memory": 0.0},
    "a shared order": {"order": "shared"},
    "a running average": {"optimizer": averaged(optim.adam(0.01), decay=0.9)},
    "two stages": {
        "methods": {"ce": methods.ce(), "mine": MINE},
        "order": "shared",  # in which the pilot's two differences are not the same
        "sweep": {"lr": [0.001, 0.03]},
        "resolution": 0.1,
        "max_seeds": 4,
    },
    "a head with a memory, and a peer": {
        "methods": {"ce": methods.ce(), "crd": methods.crd(negatives=4), "dml": methods.dml()}
    },
}


def comparison(data: Data | None = None, **options) -> Comparison:
    options = {"seeds": (3, 5), "optimizer": optim.adam(0.01), "plan": EAGER} | options
    return Comparison(
        Wide, Narrow, options.pop("methods", ALL), data or vectors(), epochs=2, **options
    )


def measured(results: Results) -> dict:
    """All of the results that no clock has a part in."""
    entry = results.to_json()
    for name in ("environment", "seconds", "resumed"):
        del entry[name]
    for method in entry["methods"].values():
        del method["seconds"]
    return entry


def students(folder) -> dict[str, torch.Tensor]:
    files = sorted(folder.glob("students-*.safetensors"))
    return {f"{f.name}.{k}": x for f in files for k, x in checkpoint.read(f).items()}


def cut(folder, after: int, minutes: float, **options) -> int:
    """Run so many values far and stop; how many came."""
    training = comparison(**options).run(folder, checkpoint_minutes=minutes)
    count = 0
    for _ in training:
        count += 1
        if count == after:
            break
    training.close()
    return count


def copied(folder: Path, to: Path) -> Path:
    """What is whole in a folder, beside which a checkpoint may be being written; and copied anew
    where one was removed meanwhile, for there was no moment at which it alone was missing."""
    for _ in range(100):
        to.mkdir()
        try:
            for file in folder.iterdir():
                if file.is_file():
                    shutil.copyfile(file, to / file.name)
        except FileNotFoundError:
            shutil.rmtree(to)
        else:
            return to
    raise AssertionError(f"{folder} never kept its files for as long as it takes to copy them")


def whole_runs(tmp_path_factory):
    """Each kind's run that was not cut short, and how many values it gave."""
    runs = {}
    for kind, options in KINDS.items():
        folder = tmp_path_factory.mktemp("whole") / "run"
        one = comparison(**options)
        count = sum(1 for _ in one.run(folder, checkpoint_minutes=RARELY))
        assert one.results.complete
        assert one.results.seeds == options.get("max_seeds", 2)
        runs[kind] = measured(one.results), students(folder), count
    return runs


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    return whole_runs(tmp_path_factory)


@pytest.mark.slow
@settings(max_examples=4)  # of eight kinds
@given(data=st.data())
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_stopped_anywhere_ends_as_one_that_is_not(
    kind, wholes, tmp_path_factory, data
):
    expected, parameters, count = wholes[kind]
    folder = tmp_path_factory.mktemp("cut") / "run"
    stops = data.draw(st.lists(st.integers(1, count), min_size=1, max_size=3), "stops")
    for after in stops:
        cut(folder, after, RARELY, **KINDS[kind])
    last = comparison(**KINDS[kind])
    for _ in last.run(folder):
        pass
    assert last.results.complete
    assert measured(last.results) == expected == measured(Results.read(folder))
    assert students(folder).keys() == parameters.keys()
    assert all(torch.equal(x, parameters[name]) for name, x in students(folder).items())
    assert not list(folder.glob("checkpoint-*"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_on_the_disk_at_any_moment_is_enough(kind, wholes, tmp_path):
    # A kill leaves what is on the disk: a copy of the folder stands for it.
    expected, parameters, _ = wholes[kind]
    training = comparison(**KINDS[kind]).run(tmp_path / "run", checkpoint_minutes=ALWAYS)
    copies = []
    for number, _ in enumerate(training):
        if number % 8 == 3:
            copies.append(copied(tmp_path / "run", tmp_path / f"copy-{number}"))
    assert len(copies) > 2
    for copy in copies:
        again = comparison(**KINDS[kind])
        for _ in again.run(copy):
            pass
        assert measured(again.results) == expected
        assert all(torch.equal(x, parameters[name]) for name, x in students(copy).items())


def test_a_kill_before_the_last_checkpoint_is_removed_leaves_none(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    monkeypatch.setattr(Saver, "remove", lambda saver, spared: saver.wait())
    for _ in comparison().run(folder, checkpoint_minutes=ALWAYS):
        pass
    assert list(folder.glob("checkpoint-*"))
    again = comparison()
    assert list(again.run(folder)) == [] and again.results.complete and not again.troubles
    assert not list(folder.glob("checkpoint-*"))


def test_what_has_ended_is_not_done_again(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    trained = []

    def followed(students, *arguments, **options):
        trained.append(list(students))
        return train(students, *arguments, **options)

    from fkd.compare._job import course

    train = course.train
    monkeypatch.setattr(course, "train", followed)
    one, table = comparison(), folder / "table.md"
    for progress in one.run(folder):
        if progress.results.methods:
            assert list(Results.read(folder).methods) == ["ce"] and not table.exists()
            break
    assert trained == [["teacher"], ["ce"]]
    assert "INCOMPLETE" in table.read_text()  # it is written where the run stops
    trained.clear()
    again = comparison()
    values = list(again.run(folder))
    assert trained == [["kd"]] and again.results.resumed == 1
    assert "the teacher is trained" in again.notes[-1] and "ce: ended" in again.notes[-1]
    assert "INCOMPLETE" not in table.read_text()
    trained.clear()
    done = comparison()
    assert values and list(done.run(folder)) == [] and trained == []
    assert done.results.complete and done.results.resumed == 1
    assert measured(done.results) == measured(again.results)


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"seeds": (3, 6)}, r"config.seeds was \[3, 5\], and is \[3, 6\]"),
        ({"methods": ALL | {"kd": methods.kd(temperature=3.0)}}, "methods.kd is another"),
        ({"optimizer": optim.adam(0.02)}, "config.lr was 0.01, and is 0.02"),
        ({"optimizer": optim.sgd(0.01)}, "optimizer"),
        ({"teacher_state": trained_elsewhere()}, "config.teacher was 'train', and is 'given'"),
        ({"order": "shared"}, "config.order was 'own', and is 'shared'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_another_run_is_refused_and_the_difference_told(changes, told, tmp_path):
    cut(tmp_path / "run", 9, RARELY)
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    with pytest.raises(ValueError, match=f"^folder: the run in .* is another: .*{told}"):
        comparison(**changes).run(tmp_path / "run")
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()} == before


def test_other_data_and_another_teacher_are_refused(tmp_path):
    cut(tmp_path / "run", 9, RARELY, teacher_state=trained_elsewhere())
    data = vectors()
    data.train.targets["labels"][3] ^= 1
    with pytest.raises(ValueError, match="is another: the training examples are others; "):
        comparison(data, teacher_state=trained_elsewhere()).run(tmp_path / "run")
    other = {name: value + 1 for name, value in trained_elsewhere().items()}
    with pytest.raises(ValueError, match="is another: the teacher's parameters are others; "):
        comparison(teacher_state=other).run(tmp_path / "run")


def test_a_checkpoint_that_is_damaged_is_refused_and_stays(tmp_path):
    cut(tmp_path / "run", 9, RARELY)
    [file] = (tmp_path / "run").glob("checkpoint-*")
    bytes_ = bytearray(file.read_bytes())
    bytes_[-5] ^= 1
    file.write_bytes(bytes_)
    with pytest.raises(ValueError, match="damaged"):
        comparison().run(tmp_path / "run")
    assert file.read_bytes() == bytes_


MIXED = {"ce": methods.ce(), "mine": MINE, "kd": methods.kd()}


@pytest.mark.parametrize("memory", [4.0, 0.0], ids=["kept", "live"])
def test_an_error_in_a_users_loss_is_its_methods_own(memory, tmp_path, monkeypatch):
    from fkd.compare._job import course

    train = course.train

    def failing(students, *arguments, **options):
        if "mine" in students:
            raise KeyError("a user's own mistake")
        return train(students, *arguments, **options)

    monkeypatch.setattr(course, "train", failing)
    options = {"teacher_memory": memory, "order": "shared"}
    one = comparison(methods=MIXED, **options)
    for _ in one.run(tmp_path / "run"):
        pass
    results = Results.read(tmp_path / "run")
    assert list(results.methods) == ["ce", "kd"] and not results.complete
    assert results.failed["mine"].kind == "error" and "own mistake" in results.failed["mine"].reason
    assert "own mistake" in (tmp_path / "run" / "error-mine.txt").read_text()
    alone = small(vectors(), methods={"ce": ALL["ce"]}, **options)
    assert results.methods["ce"].curves == alone.methods["ce"].curves
    # Mended, it is tried again, and the others are not.
    monkeypatch.setattr(course, "train", train)
    again = comparison(methods=MIXED, **options)
    for _ in again.run(tmp_path / "run"):
        pass
    assert again.results.complete and list(again.results.methods) == ["ce", "mine", "kd"]


def test_a_disk_that_is_full_stops_nothing(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    one = comparison()
    training = one.run(tmp_path / "run", checkpoint_minutes=ALWAYS)
    monkeypatch.setattr(checkpoint, "write", full)
    for _ in training:
        pass
    assert one.results.complete and any("No space left" in line for line in one.troubles)
    assert Results.read(tmp_path / "run").complete
    files = [f"students-{name}.safetensors" for name in one.results.methods]
    assert one.unwritten == [*files, "teacher.safetensors"]
    told = f"{files[0]} is not written: no checkpoint holds it; a run in another folder makes it"
    assert any(told in line for line in one.troubles)
    monkeypatch.undo()
    again = comparison()
    assert list(again.run(tmp_path / "run")) == [] and not again.unwritten
    gone = next(line for line in again.notes if "not whole, for the disk was full" in line)
    assert all(file in gone for file in [*files, "teacher.safetensors"])
