"""The tables of a speed comparison, cell by cell."""

from rich.console import Console
from rich.table import Table

from benchmarks.speed import tables, whole
from benchmarks.speed.sides import Side
from benchmarks.speed.timed import Timing


def lines(table: Table) -> list[str]:
    console = Console(width=80, record=True)
    console.print(table)
    return console.export_text().splitlines()


def row(side: str, precision: str, members: int, ms: float, ratios: list[float]) -> dict:
    shares = {"unfused": 1.0, "fused": 0.441}
    row = {"side": side, "precision": precision, "members": members, "ms": ms, "ratios": ratios}
    return row | {"peak_mib": 100.4, "kept": side.endswith("kept"), "share_of_floor": shares}


def test_a_row_of_steps_holds_its_share_of_the_floor():
    steps = [
        row("tutorial", "fp32", 1, 16.0, [1.0, 2.0]),
        row("tutorial, memory kept", "fp32", 1, 8.0, [0.5, 1.0]),
        row("fkd", "bf16", 4, 2.0, [0.125, 0.25]),
        row("jax", "fp32", 2, 20.0, [1.25]),  # in a group without a loop that keeps its memory
    ]
    cells = [line.split() for line in lines(tables.steps_table({"steps": steps, "floor": {}}))]
    assert ["fkd", "bf16", "4", "2.00", "0.12", "0.25", "100", "100", "44"] in cells
    assert ["jax", "fp32", "2", "20.00", "1.25", "100", "100", "44"] in cells


def test_the_whole_table_shows_how_many_times_as_fast():
    timings = {Side("fkd's teacher"): Timing(7.0, 1, [2.0], 0.0)}
    for method in whole.METHODS:
        timings[Side("tutorial", method, resident=False)] = Timing(7.0, 1, [16.0], 0.0)
        timings[Side("fkd", method, members=4)] = Timing(7.0, 1, [8.0], 0.0)
    _, heading, *rows = lines(tables.whole_table({"table": whole.totals(timings)}))
    assert heading.split() == ["seconds", *whole.METHODS, "teacher", "total"]
    # 16 ms x 3910 x 4 students; a first step of 7 s and 8 ms x 3910 for 4 at once
    expected = [
        ["tutorial as it stands", *["250.2"] * 4, "1001.0"],
        ["fkd, fp32", *["38.3"] * 4, "0.2", "153.3"],  # 2 ms for 512 images of the teacher
        ["first steps, not scaled", *["7.0"] * 4],
        ["x tutorial as it stands", *["6.5"] * 5],
    ]
    assert [line.split() for line in rows] == [" ".join(cells).split() for cells in expected]


def test_the_floor_is_told_with_what_it_comes_of():
    floor = {
        "machine": {"bytes_a_second": 2e10, "flops_a_second": {"fp32": 3e11}},
        "work": {"fp32": {"flops": 883e6, "unfused": 73.8e6, "fused": 30.3e6}},
        "ms": {"fp32": {"unfused": 3.69, "fused": 2.943}},
    }
    title, _, cells = lines(tables.floor_table({"floor": floor}))
    assert "20.0 GB/s" in title
    assert cells.split() == ["fp32", "0.883", "300", "73.8", "30.3", "3.690", "2.943"]
