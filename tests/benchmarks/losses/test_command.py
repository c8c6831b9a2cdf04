"""What each loss costs: every loss can be measured, and its value is torchdistill's."""

import json

import pytest
import torch

from benchmarks.losses import cases, command, measure, torchdistill
from fkd import losses

CPU = torch.device("cpu")
needs_torchdistill = pytest.mark.skipif(
    not torchdistill.installed(), reason="torchdistill is not installed"
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(cases, "BATCH", 4)
    monkeypatch.setattr(cases, "MAP", (4, 8, 8))
    monkeypatch.setattr(torchdistill, "MAP", (4, 8, 8))


@pytest.mark.parametrize("name", losses.__all__)
def test_every_loss_takes_its_inputs(name):
    value, grad = measure.gradient(cases.published(name), cases.inputs(name, CPU))
    assert value.shape == () and value.isfinite()
    assert grad.isfinite().all()


@needs_torchdistill
@pytest.mark.parametrize("name", torchdistill.VERSIONS)
def test_values_are_torchdistills_times_the_factor(name):
    version = torchdistill.version(name)
    assert version is not None
    inputs = tuple(x.double() if x.is_floating_point() else x for x in cases.inputs(name, CPU))
    theirs = version.loss(*inputs)
    if version.factor is None:
        assert theirs.isfinite()  # it runs; another formula
    else:
        ours = version.factor * cases.published(name)(*inputs)
        torch.testing.assert_close(ours, theirs.double(), rtol=1e-5, atol=0)


@pytest.mark.filterwarnings("ignore:.*Profiler clears events:UserWarning")  # torch 2.11 says so
def test_memory_is_what_is_held_at_once():
    def run():
        first = torch.empty(1000)
        del first
        second, third = torch.empty(500), torch.empty(1000)
        return second, third

    assert 6000 <= measure.peak_bytes(run, CPU) <= 6000 + 256  # in blocks of 64 bytes


def test_the_costs_are_told_and_written(tmp_path, capsys, monkeypatch):
    def quick(name, device, rounds):
        return measure.measure(name, device, rounds, turn=0.0)

    monkeypatch.setattr(command, "measure", quick)
    asked = ["--losses", "kl_divergence", "pkd", "--rounds", "1"]
    assert command.main([*asked, "--output", str(tmp_path / "new")]) == 0
    written = json.loads((tmp_path / "new/losses.json").read_text())
    assert list(written["losses"]) == ["kl_divergence", "pkd"]
    assert written["losses"]["pkd"]["fkd"]["gradient_ms"] > 0
    if torchdistill.installed():
        assert written["losses"]["kl_divergence"]["value_error"] < 1e-5
    assert "kl_divergence" in capsys.readouterr().out


def test_what_makes_no_sense_is_refused(tmp_path, capsys):
    assert command.main(["--rounds", "0", "--output", str(tmp_path / "new")]) == 2
    assert "rounds must be above zero" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()
