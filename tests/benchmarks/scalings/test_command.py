"""The whole command, shrunk; what it counts equals what was worked by hand."""

import json

import pytest

from benchmarks.scalings import command, efficiency
from benchmarks.scalings.launch import SideFailed, timed
from benchmarks.scalings.sides import Side


def one_pair(base: Side, cores: int) -> list[efficiency.Pair]:
    """The smallest batch over two processes, of members that one process trains too."""
    side = Side("resnet8", 1, 4, data_ranks=2, compile="none")
    return [efficiency.Pair("batch on 2, 4 shared", base, side, 2, 1)]


@pytest.mark.slow
@pytest.mark.plain
def test_a_whole_run_shrunk(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "pairs", one_pair)
    flags = "--networks resnet8 --members 1 --batch-size 4 --rounds 1 --seconds 0.05 --no-compile"
    out = tmp_path / "out"
    assert command.main([*flags.split(), "--output", str(out)]) == 0
    whole = json.loads((out / "scaling.json").read_text())
    (row,) = whole["measured"]
    assert row["ms"] > 0 and row["base_ms"] > 0
    # Nine layers forward and backward, and the gradient.
    assert row["traffic"]["sums"] == 19
    assert row["traffic"]["bytes"] == row["traffic"]["bytes_by_hand"] > 4 * 78_042
    assert whole["paper"] is None and whole["environment"]["torch"]
    assert sorted(path.name for path in out.iterdir()) == ["scaling.json", "scaling.png"]
    assert "share of processes used" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.plain
def test_a_side_that_fails_is_told_with_its_last_words(tmp_path):
    few = Side("lightnn", 1, 4, member_ranks=2, compile="none")
    with pytest.raises(SideFailed, match="1 members cannot be dealt over 2 ranks"):
        timed([few], tmp_path, rounds=1, seconds=0.1)


def test_the_projection_is_of_what_was_sent():
    light = Side("lightnn", 8, 128, data_ranks=2)
    field = Side("resnet8", 2, 32, data_ranks=2)
    sums = [["all_reduce", size] for size in (128, 4000, 256, 128, 256)]
    sent = {light: [["all_reduce", 800]], field: sums}
    paper = command.on_paper(sent)
    assert paper is not None
    assert paper["gradient_bytes_a_member"] == 100
    assert paper["small_sums_a_member"] == {"count": 2, "bytes_a_rank": 96}
    assert command.on_paper({field: sent[field]}) is None


def test_what_makes_no_sense_is_refused(capsys):
    assert command.main(["--networks", "resnet21", "--members", "1", "--batch-size", "4"]) == 2
    assert "network 'resnet21' is not known" in capsys.readouterr().err
    assert command.main(["--networks", "lightnn"]) == 2
    assert "--members: there must be one number a network" in capsys.readouterr().err
    assert command.main(["--rounds", "0"]) == 2
    assert "--rounds" in capsys.readouterr().err
