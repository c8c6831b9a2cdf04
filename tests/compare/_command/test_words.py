"""Words that hold several values."""

from fkd.compare._command import words


def test_seeds_are_a_count_or_a_list():
    assert words.parse_seeds("8") == tuple(range(8))
    assert words.parse_seeds("3,5,8") == (3, 5, 8)
    assert words.parse_seeds("3,") == (3,)
    assert words.parse_seeds("0,") == (0,)


def test_swept_items_become_values_by_name():
    assert words.parse_sweep([]) == {}
    items = ["lr=1e-4,0.001", "kd.temperature=4,"]
    assert words.parse_sweep(items) == {"lr": (0.0001, 0.001), "kd.temperature": (4.0,)}
