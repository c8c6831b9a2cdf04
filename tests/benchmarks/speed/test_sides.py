"""The speed comparison's sides do the work that their names say."""

import pytest
import torch

from benchmarks.speed import rivals, sides, timed
from benchmarks.speed.sides import Side
from fkd.data import Resident


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(sides, "BATCH", 8)
    monkeypatch.setattr(sides, "EXAMPLES", 16)
    monkeypatch.setattr(sides, "PICTURES", 16)


@pytest.mark.plain
@pytest.mark.slow
def test_fkd_trains_compiled():
    sides.make(Side("fkd"))(2)


@pytest.mark.parametrize(
    "side",
    [
        *(Side("fkd", method, p, 2) for method in rivals.METHODS for p in ("fp32", "bf16")),
        Side("fkd", members=2, order="own", augment=True),
    ],
    ids=lambda side: f"{side.method}-{side.precision}-{side.order}",
)
def test_fkd_advances_an_ensemble(side, monkeypatch):
    steps, lay = [], sides.execution.lay

    def watched(rule, plan, *, order):
        assert plan.compile == "step"
        eager = lay(rule, sides.Plan(plan.layout, compile="none"), order=order)

        def advance(state, batch):
            before = [leaf.clone() for leaf in state.params["student"].values()]
            metrics = eager(state, batch)
            after = zip(before, state.params["student"].values(), strict=True)
            steps.append((tuple(batch.inputs.shape), all((a != b).any() for a, b in after)))
            assert metrics["loss"].shape == (2,)
            return metrics

        return advance

    monkeypatch.setattr(sides.execution, "lay", watched)
    sides.make(side)(3)  # two steps are an epoch
    shape = (8, 3, 32, 32) if side.order == "shared" else (2, 8, 3, 32, 32)
    assert steps == [(shape, True)] * 3


def test_each_member_has_an_order_of_its_own_or_none_has():
    source = Resident(torch.arange(16.0), {}, batch_size=8)
    shared = sides.rows(source, Side("fkd", members=2))
    own = sides.rows(source, Side("fkd", members=2, order="own"))
    assert torch.equal(torch.stack(own)[:, 0], torch.stack(shared))  # the first reads seed 0's
    for member in torch.stack(own).unbind(1):
        assert member.flatten().sort().values.tolist() == list(range(16))
    assert not torch.equal(own[0][0], own[0][1])


def test_a_teacher_is_trained_as_students_are():
    sides.make(Side("fkd", "ce", members=1, network="deepnn", compile="none"))(1)


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("name", ["tutorial", "torchdistill"])
def test_a_loop_is_given_what_its_side_says(name, resident, monkeypatch):
    arguments = {}

    def loop(*positional, **options):
        arguments.update(options, count=len(positional))
        return lambda steps: None

    monkeypatch.setattr(rivals, "missing", lambda name: None)
    monkeypatch.setattr(getattr(sides, name), "loop", loop)
    sides.make(Side(name, resident=resident, cached=False))
    assert (arguments["resident"], arguments["batch_size"]) == (resident, 8)
    assert arguments.get("cached", False) is False
    assert arguments["count"] == (3 if name == "tutorial" else 2)


def test_the_plain_loop_trains():
    sides.make(Side("tutorial"))(2)


@pytest.mark.skipif(rivals.missing("jax") is not None, reason="JAX is not installed")
def test_jax_trains_a_seed_a_member(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")  # so that it is as before afterwards
    seeds, loop = [], sides.jax.loop

    def watched(*positional, **options):
        seeds.extend(options["seeds"])
        return loop(*positional, **options)

    monkeypatch.setattr(sides.jax, "loop", watched)
    sides.make(Side("jax", members=2))(1)
    assert seeds == [0, 1]


def test_the_teacher_sees_its_share_of_the_images(monkeypatch):
    counts = []
    monkeypatch.setitem(sides.TAUGHT, "cpu", 10)
    monkeypatch.setattr(
        sides.evaluate,
        "predict",
        lambda teacher, source, names: counts.append((source.examples, names)),
    )
    sides.make(Side("fkd's teacher"))(3)
    assert counts == [(10, ("logits", "hidden", "feature_map"))] * 3


def test_what_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(timed.Unavailable, match="torchdistill needs torchdistill"):
        sides.make(Side("torchdistill", cached=False))
    sides.make(Side("fkd"))  # needs nothing more


def test_images_lie_where_the_side_reads_them(monkeypatch):
    monkeypatch.setattr(sides, "PICTURES", 300)
    for resident, examples in ((True, 16), (False, 300)):
        images, labels = sides.images_and_labels(Side("tutorial", resident=resident))
        assert (images.shape, images.dtype) == ((examples, 3, 32, 32), torch.uint8)
        assert labels.shape == (examples,)
        assert int(images.max()) == 255 and int(labels.max()) == 9


def test_sides_have_names_of_their_own():
    names = [
        Side("fkd").name,
        Side("tutorial").name,
        Side("tutorial", cached=False).name,
        Side("tutorial", cached=False, resident=False).name,
        Side("tutorial", kept=True).name,
    ]
    assert names == [
        "fkd",
        "tutorial",
        "tutorial, live teacher",
        "tutorial as it stands",
        "tutorial, memory kept",
    ]
