"""The benchmark of any network: its sides do the same work, and it writes what it measured."""

import json

import pytest
import torch

from benchmarks.networks import command
from benchmarks.networks.sides import Side, make, shown
from benchmarks.speed.timed import Timing


def test_a_whole_run_shrunk(tmp_path, capsys):
    flags = ["--networks", "resnet8", "--members", "2", "--batch-size", "4", "--rounds", "1"]
    out = tmp_path / "out"
    assert command.main([*flags, "--seconds", "0.05", "--no-compile", "--output", str(out)]) == 0
    whole = json.loads((out / "networks.json").read_text())
    assert [row["side"] for row in whole["sides"]] == [
        "plain loop, resnet8",
        "fkd, resnet8, 2 students, loop, eager",
    ]
    assert whole["sides"][0]["of_plain"] == 1.0 and whole["sides"][1]["ms"] > 0
    assert whole["environment"]["torch"] and whole["setting"]["members"] == [2]
    assert "of the plain loop" in capsys.readouterr().out


def test_what_is_compiled_comes_last_one_by_one_and_loses_nothing_before_it(tmp_path, monkeypatch):
    seen = []

    def alternate(group, *_, **__):
        seen.append([str(side) for side in group])
        if len(seen) == 2:
            raise KeyboardInterrupt  # its time is over
        return {side: Timing(1.0, 1, [4.0], 1.0) for side in group}, {}

    monkeypatch.setattr(command.timed, "alternate", alternate)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        command.main(["--networks", "resnet8", "--members", "4", "2", "--output", str(out)])
    plain, first, second = "plain loop, resnet8", "fkd, resnet8, 4", "fkd, resnet8, 2"
    how = "students, loop"
    assert seen == [
        [plain, f"{first} {how}, eager", f"{second} {how}, eager"],
        [plain, f"{first} {how}, compiled"],
    ]
    whole = json.loads((out / "networks.json").read_text())
    assert [row["side"] for row in whole["sides"]] == seen[0]


def test_what_is_not_compiled_can_be_left_out():
    values = command.parse(["--networks", "resnet8", "--members", "2", "--no-eager"])
    ((plain, ours),) = command.groups(values)
    assert (plain.loop, ours.loop, ours.compile) == ("plain", "fkd", "step")
    with pytest.raises(SystemExit):
        command.parse(["--no-eager", "--no-compile"])


def test_a_side_takes_steps():
    for augment in (False, True):
        make(Side("plain", "resnet8", batch=2, augment=augment))(1)
        make(Side("fkd", "resnet8", members=2, batch=2, augment=augment))(1)


def test_an_image_is_cropped_after_padding_and_flipped_on_its_own():
    torch.manual_seed(0)
    images = torch.arange(1.0, 26.0).reshape(1, 1, 5, 5).repeat(200, 1, 1, 1)
    padded = torch.zeros(13, 13)
    padded[4:9, 4:9] = images[0, 0]
    windows = padded.unfold(0, 5, 1).unfold(1, 5, 1).flatten(0, 1)  # of 9 by 9 places
    possible = {tuple(w.flatten().tolist()) for w in (*windows, *windows.flip(-1))}
    seen = {tuple(image.flatten().tolist()) for image in shown(images)}
    assert seen <= possible and len(seen) > 80  # of 162, and more than one flip's


def test_figures_are_of_one_student_and_of_the_same_round():
    plain, ours = Side("plain", "resnet8"), Side("fkd", "resnet8", members=4)
    timings = {plain: Timing(1.0, 1, [10.0, 20.0, 40.0], 1.0)}
    timings[ours] = Timing(1.0, 1, [20.0, 80.0, 80.0], 1.0)
    first, second = command.rows(timings)
    assert (first["ms"], second["ms"]) == (20.0, 20.0)
    assert first["epoch_s"] == pytest.approx(0.02 * 782)  # 50,000 images in batches of 64
    assert second["of_plain"] == pytest.approx(0.5)  # of 2, 4 and 2 over four students


def test_what_makes_no_sense_is_refused(capsys):
    assert command.main(["--networks", "resnet21"]) == 2
    assert "network 'resnet21' is not known" in capsys.readouterr().err
    assert command.main(["--precision", "tf32"]) == 2
    assert "tf32 is a GPU's" in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert command.main(["--device", "cuda"]) == 2
