"""Words that hold several values."""

from fkd.compare import _words


def test_seeds_are_a_count_or_a_list():
    assert _words.parse_seeds("8") == tuple(range(8))
    assert _words.parse_seeds("3,5,8") == (3, 5, 8)
    assert _words.parse_seeds("3,") == (3,)
    assert _words.parse_seeds("0,") == (0,)


def test_swept_items_become_values_by_name():
    assert _words.parse_sweep([]) == {}
    items = ["lr=1e-4,0.001", "kd.temperature=4,"]
    assert _words.parse_sweep(items) == {"lr": (0.0001, 0.001), "kd.temperature": (4.0,)}
