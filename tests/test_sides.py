"""The speed comparison's sides do the work that their names say."""

import pytest
import rivals
import rivals_jax
import sides
import timed
import torch
from sides import Side

from fkd.ensemble import ensemble


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(sides, "EXAMPLES", 256)
    monkeypatch.setattr(sides, "PICTURES", 256)


@pytest.mark.plain
def test_fkd_trains_compiled():
    sides.make(Side("fkd"))(2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", rivals.METHODS)
def test_fkd_advances_an_ensemble(method, precision, monkeypatch):
    steps = []

    def watched(rule, compile):
        assert compile
        made = ensemble(rule)

        def advance(state, images, targets):
            before = [leaf.clone() for leaf in state.params["student"].values()]
            metrics = made.advance(state, images, targets)
            moved = zip(before, state.params["student"].values(), strict=True)
            steps.append((tuple(images.shape), all((a != b).any() for a, b in moved)))
            assert metrics["loss"].shape == (3,)
            return metrics

        return made._replace(advance=advance)

    monkeypatch.setattr(sides, "ensemble", watched)
    sides.make(Side("fkd", method, precision, members=3))(3)  # two steps are an epoch
    assert steps == [((128, 3, 32, 32), True)] * 3


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("loop", ["tutorial", "torchdistill"])
def test_a_loop_is_given_what_its_side_says(loop, resident, monkeypatch):
    given = {}

    def taken(*positional, **options):
        given.update(options, count=len(positional))
        return lambda steps: None

    monkeypatch.setattr(rivals, "missing", lambda name: None)
    monkeypatch.setattr(rivals, "tutorial", taken)
    monkeypatch.setattr(rivals, "torchdistill_kd", taken)
    sides.make(Side(loop, resident=resident, cached=False))
    assert (given["resident"], given["batch_size"]) == (resident, 128)
    assert given.get("cached", False) is False
    assert given["count"] == (3 if loop == "tutorial" else 2)


def test_the_plain_loop_trains():
    sides.make(Side("tutorial"))(2)


@pytest.mark.skipif(rivals.missing("jax") is not None, reason="JAX is not installed")
def test_jax_trains_a_seed_a_member(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")  # so that it is as before afterwards
    seeds, kd = [], rivals_jax.jax_kd

    def watched(*positional, **options):
        seeds.extend(options["seeds"])
        return kd(*positional, **options)

    monkeypatch.setattr(rivals_jax, "jax_kd", watched)
    sides.make(Side("jax", members=2))(1)
    assert seeds == [0, 1]


def test_the_teacher_sees_its_share_of_the_images(monkeypatch):
    seen = []
    monkeypatch.setitem(sides.TAUGHT, "cpu", 100)
    monkeypatch.setattr(
        sides.evaluate, "predict", lambda m, p, b, images, names: seen.append(len(images))
    )
    sides.make(Side("fkd's teacher"))(3)
    assert seen == [100] * 3


def test_what_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(timed.Unavailable, match="torchdistill needs torchdistill"):
        sides.make(Side("torchdistill", cached=False))
    sides.make(Side("fkd"))  # needs nothing more


def test_images_lie_where_the_side_reads_them(monkeypatch):
    monkeypatch.setattr(sides, "PICTURES", 300)
    for resident, examples in ((True, 256), (False, 300)):
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
    ]
    assert names == ["fkd", "tutorial", "tutorial, live teacher", "tutorial as it stands"]
