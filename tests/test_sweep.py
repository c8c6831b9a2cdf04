"""Sweeps: what is asked, how the grid is laid out, chosen from and drawn."""

from typing import Any

import numpy as np
import pytest
import sweep
import sweep_figures
import torch

from fkd.train import Trained

GRID = [{"lr": 1.0}, {"lr": 2.0}, {"lr": 3.0}]


def _trained(
    validation: list[float], test: list[float], loss: list[float] | None = None
) -> Trained:
    last = {"validation_accuracy": validation, "test_accuracy": test}
    first = {name: [0.0] * len(values) for name, values in last.items()}
    curves = {name: [first[name], last[name]] for name in last}
    state: Any = {"member": torch.arange(len(test))}
    return Trained(state, curves | {"loss": [[1.0] * len(test), loss or [1.0] * len(test)]}, {})


def _results(swept: dict[str, tuple[float, ...]], diverged: int = -1) -> dict[str, Any]:
    """Results of two seeds whose accuracy falls from the first setting to the last."""
    grid = sweep.settings(swept, swept)
    accuracy = np.linspace(0.9, 0.8, 2 * len(grid)).tolist()
    loss = [float("nan") if k == diverged else 1.0 for k in range(2 * len(grid))]
    _, entry = sweep.choose(grid, _trained(accuracy, accuracy, loss), 100)
    return {
        "data": {"name": "mine", "validation": 100},
        "config": {"seeds": [0, 1], "epochs": 2},
        "methods": {"kd": {"sweep": entry, "accuracy": {"mean": 0.5}}},
    }


def test_items_become_values_by_name():
    assert sweep.parse([]) == {}
    asked = sweep.parse(["lr=1e-4,0.001", "kd.temperature=4,"])
    assert asked == {"lr": (0.0001, 0.001), "kd.temperature": (4.0,)}


def test_the_grid_has_every_setting_of_the_names_that_a_method_has():
    swept = {"lr": (1.0, 2.0), "kd.weight": (3.0, 4.0)}
    assert sweep.settings(swept, ["lr", "kd.weight"]) == [
        {"lr": 1.0, "kd.weight": 3.0},
        {"lr": 1.0, "kd.weight": 4.0},
        {"lr": 2.0, "kd.weight": 3.0},
        {"lr": 2.0, "kd.weight": 4.0},
    ]
    assert sweep.settings(swept, ["ce.weight", "lr"]) == [{"lr": 1.0}, {"lr": 2.0}]
    assert sweep.settings(swept, ["ce.weight"]) == [{}]


def test_every_setting_has_every_seed():
    seeds, hyper = sweep.members([{"lr": 1.0, "w": 3.0}, {"lr": 2.0, "w": 3.0}], (7, 9))
    assert seeds == [7, 9, 7, 9]
    assert hyper == {"lr": [1.0, 1.0, 2.0, 2.0], "w": [3.0] * 4}


def test_the_choice_is_by_validation_where_the_test_set_says_otherwise():
    # means: validation 0.5, 0.7, 0.6; test 0.9, 0.2, 0.8
    trained = _trained([0.5, 0.5, 0.9, 0.5, 0.6, 0.6], [0.9, 0.9, 0.1, 0.3, 0.8, 0.8])
    kept, entry = sweep.choose(GRID, trained, 10)
    assert entry["chosen"] == 1
    assert kept.curves["test_accuracy"] == [[0.0, 0.0], [0.1, 0.3]]
    state: Any = kept.state
    assert state["member"].tolist() == [2, 3]
    assert [s["hyper"] for s in entry["settings"]] == GRID
    assert entry["settings"][2]["validation_accuracy"] == [0.6, 0.6]


def test_of_equals_the_first_is_chosen():
    # 0 + 7 and 3 + 4 of 10 images, which as sums of float32 numbers are not equal
    accuracy = torch.tensor([0.1, 0.1, 0.0, 0.7, 0.3, 0.4]).tolist()
    assert sum(accuracy[4:6]) > sum(accuracy[2:4])
    assert sweep.choose(GRID, _trained(accuracy, accuracy), 10)[1]["chosen"] == 1


def test_a_setting_with_a_diverged_seed_is_never_chosen():
    loss = [1.0, 1.0, 1.0, float("inf"), 1.0, 1.0]
    kept, entry = sweep.choose(GRID, _trained([0.1, 0.1, 0.9, 0.9, 0.3, 0.3], [0.5] * 6, loss), 10)
    assert entry["chosen"] == 2
    assert entry["settings"][1]["validation_accuracy"] == [0.9, None]
    assert np.isfinite(kept.curves["loss"]).all()
    with pytest.raises(FloatingPointError, match="of 3 settings each has a seed"):
        sweep.choose(GRID, _trained([0.5] * 3, [0.5] * 3, [float("nan")] * 3), 10)


@pytest.mark.parametrize(
    ("values", "best", "edge"),
    [((1.0, 2.0, 3.0), 0, True), ((2.0, 3.0, 1.0), 0, False), ((1.0, 2.0), 0, False)],
)
def test_a_choice_at_the_edge_of_three_or_more_values_is_told(values, best, edge):
    accuracy = [0.5 + 0.4 * (k == best) for k in range(len(values))]
    grid = sweep.settings({"lr": values}, ["lr"])
    _, entry = sweep.choose(grid, _trained(accuracy, accuracy), 10)
    first, *warnings = sweep.tell("kd", entry)
    assert first == f"kd: lr {values[0]:g}: validation 90.00 %, the best of {len(values)} settings"
    assert len(warnings) == edge
    assert not edge or warnings[0].startswith("kd: lr 1 is at the edge of the swept 1 to 3")


@pytest.mark.parametrize("order", [("lr", "w", "v", "u"), ("w", "lr", "u", "v")])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_heat_maps_hold_every_setting_at_its_place(count, order):
    values = {"lr": (1e-4, 1e-3, 1e-2), "w": (1.0, 2.0, 4.0, 8.0), "v": (5.0, 6.0), "u": (7.0, 9.0)}
    swept = {name: values[name] for name in order if name in list(values)[:count]}
    results = _results(swept, diverged=3)
    figure = sweep_figures.draw(results, "kd")
    drawn = {}
    for panel in figure.axes[:-1]:  # the last is the color bar
        facet = dict(part.split(" ") for part in panel.get_title().split(", ") if part)
        for text in panel.texts:
            x, y = text.get_position()
            here = facet | {"w": f"{values['w'][int(x)]:g}", "lr": f"{values['lr'][int(y)]:g}"}
            drawn[tuple(here[name] for name in swept)] = text.get_text()
    settings = results["methods"]["kd"]["sweep"]["settings"]
    expected = {
        tuple(f"{value:g}" for value in s["hyper"].values()): f"{100 * np.mean(accuracy):.1f}"
        for s in settings
        if None not in (accuracy := s["validation_accuracy"])
    }
    assert drawn == expected
    assert len(expected) == len(settings) - 1


def test_a_line_leaves_room_for_a_setting_that_diverged():
    figure = sweep_figures.draw(_results({"lr": (1.0, 2.0, 3.0)}, diverged=5), "kd")
    (panel,) = figure.axes
    assert [label.get_text() for label in panel.get_xticklabels()] == ["1", "2", "3"]
    assert [(text.get_text(), text.get_position()[0]) for text in panel.texts] == [("diverged", 2)]
