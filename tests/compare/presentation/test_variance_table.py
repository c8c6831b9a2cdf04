"""What varies in words: whether one order for all seeds makes intervals too narrow."""

import numpy as np
from compare.test_variance import by_order

from fkd.compare.presentation import variance_table


def normal(order: float, other: float = 0.01) -> list[list[float]]:
    draws = np.random.default_rng(0)
    x = draws.normal(0, order, (1, 6)) + draws.normal(0, other, (6, 6))
    return x.tolist()


def test_an_order_that_is_seen_makes_intervals_too_narrow():
    (told,) = variance_table.sentences(by_order(normal(order=0.02)))
    assert "makes the paired intervals too narrow" in told and "is above zero for kd." in told
    width = by_order(normal(order=0.02)).width("kd", "order", 8)
    assert width is not None
    assert f"kd {width.factor:.2f} ({width.low:.2f} to {width.high:.2f})." in told


def test_an_order_that_is_not_seen_is_told_as_such():
    (told,) = variance_table.sentences(by_order(normal(order=0.0)))
    assert "is not seen to make the paired intervals too narrow" in told


def test_the_table_tells_points():
    # Deviations by hand in tests of the record: init √(26/3), order √(2/3), rest 1.
    variance = by_order([[0.01, 0.02, 0.03], [0.04, 0.04, 0.07], [0.07, 0.09, 0.08]])
    rows = [line for line in variance_table.markdown(variance).splitlines() if "kd − ce" in line]
    cells = [[cell.strip() for cell in row.split("|")[2:5:2]] for row in rows]
    assert [cell[0] for cell in cells] == ["init", "order", "rest"]
    assert [row.split("|")[3].strip() for row in rows] == ["2.94", "0.82", "1.00"]
    assert [row.split("|")[5].strip() for row in rows] == ["8.667", "0.667", "1.000"]


def test_it_says_which_source_is_seen_and_how_much():
    variance = by_order(normal(order=0.02))
    init, order = (variance.of_difference("kd")[source] for source in ("init", "order"))
    assert init.low <= 0 < order.low
    points = [100 * x**0.5 for x in (order.variance, order.low, order.high)]
    told, _ = variance_table.concluded(variance)
    assert told == (
        "In the difference from ce, the draw of initial weights is not seen to vary any; the order "
        "of batches varies kd by a deviation of {:.2f} points ({:.2f} to {:.2f}).".format(*points)
    )


def test_the_gpu_is_named_whatever_its_number():
    variance = by_order(normal(order=0.02))
    assert variance_table.caption(variance).endswith("2026-11-24, a processor, 2 cores, torch 2.")
    variance.device, variance.environment = "cuda:0", variance.environment | {"gpu": "a GPU"}
    assert variance_table.caption(variance).endswith("2026-11-24, a GPU, 2 cores, torch 2.")


def test_without_a_difference_or_another_source_it_says_so():
    variance = by_order(normal(order=0.02))
    del variance.accuracy["ce"]
    assert variance_table.sentences(variance) == [
        "No difference from ce is known, and so not what one order of batches hides in it."
    ]
