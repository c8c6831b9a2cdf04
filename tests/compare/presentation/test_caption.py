"""What is said of a table's figures."""

from dataclasses import replace

import pytest
from compare.comparison_records import method, record, swept

from fkd.compare._difference import Difference
from fkd.compare.conclusions import best
from fkd.compare.presentation._caption import (
    adjusted,
    caption,
    caption_of_wide,
    where_and_when,
    why_at_odds,
)


def test_it_says_what_was_measured():
    results = record({"ce": method([0.4, 0.5])})
    text = caption(results)
    assert text.startswith("mine: 40 training and 20 test images; 2 seeds, 2 epochs, batch 10, ")
    assert "Adam 0.001, fp32; teacher 75.00 %. Test accuracy" in text
    assert "2026-11-24, a processor, 2 cores, torch 2." in text
    assert "first steps" not in text
    results.complete = False
    results.seconds["first_steps"] = 4.0
    results.config |= {"order": "own", "precision": "bf16"}
    text = caption(results)
    assert text.startswith("INCOMPLETE: a method failed or the run was stopped. mine:")
    assert "own order of batches" in text and "Adam 0.001, bf16;" in text
    assert "Of the run's 9.0 seconds, 4.0 were the first steps" in text


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"optimizer": "SGD"}, "batch 10, SGD 0.001, fp32"),
        ({"optimizer": None}, "batch 10, learning rate 0.001, fp32"),
        ({"optimizer": None, "lr": None}, "batch 10, an optimizer of one's own, fp32"),
    ],
)
def test_it_names_the_optimizer_where_it_has_a_name(config, text):
    results = record({"ce": method([0.4, 0.5])})
    results.config |= config
    assert text in caption(results)


def test_a_validation_split_of_its_own_was_not_held_out():
    results = swept({"lr": (1.0, 2.0)})
    results.config["validation"] = None
    text = caption(results)
    assert "on a validation split of 100 images (settings: kd 2)" in text
    assert "were trained on the whole training set." in text


def test_numbers_that_were_set_are_told():
    results = record({"ce": method([0.4, 0.5])})
    results.config |= {"training": "Adam 0.001", "set": {"lr": 0.001, "kd.weight": 0.5}}
    assert "Adam 0.001, fp32, kd.weight 0.5; teacher 75.00 %" in caption(results)


def test_a_sweep_says_how_settings_were_chosen():
    text = caption(swept({"lr": (1.0, 2.0, 3.0)}))
    assert "Adam at the swept rates" in text
    assert "a validation split of 100 images, held out of the training set (settings: kd 3)" in text
    assert "the students and the teacher (Adam 0.001) were trained on the rest" in text


def test_intervals_after_a_pilot_are_called_steins():
    results = record({"ce": method([0.4, 0.5]), "kd": method([0.5, 0.6])})
    assert "Student's t interval" in caption(results) and "2 seeds, 2" in caption(results)
    assert "Bonferroni's on the t interval" in caption_of_wide(results)
    results = record({"ce": method([0.4, 0.5, 0.4]), "kd": method([0.5, 0.6, 0.7])}, pilot=2)
    assert "Stein's interval with the deviation of the pilot" in caption(results)
    assert "3 seeds (2 of them a pilot), 2 epochs" in caption(results)
    assert "Bonferroni's on Stein's, and p adjusted for all by Holm" in caption_of_wide(results)


def test_the_footnote_of_a_p_says_how_small_flips_of_few_seeds_allow_it_to_be():
    at_odds = Difference(0.1, 0.05, 0.15, 0.01, 0.19, 0.001, adjusted=0.125)
    plain = at_odds._replace(adjusted=0.04)
    assert adjusted(at_odds) == "0.125 †" and adjusted(plain) == "0.040"
    assert why_at_odds([plain], 4) == ""
    for seeds, least in ((2, "0.5"), (4, "0.125"), (6, "0.0312"), (12, "0.000488")):
        # of 2ⁿ flips two go as far: none and all
        text = why_at_odds([plain, at_odds], seeds)
        assert text.endswith(f"flips of the signs of {seeds} seeds allow no p below {least}.")
        assert text.startswith("† The interval for all at once leaves out zero")


def test_it_names_the_gpu_whatever_its_number():
    where = {"date": "2026-11-27T04:40", "gpu": "a GPU", "processor": "one", "cores": 2, "torch": 2}
    assert where_and_when(where, "cuda:0") == "2026-11-27, a GPU, 2 cores, torch 2."
    assert where_and_when(where, "cpu") == "2026-11-27, one, 2 cores, torch 2."


@pytest.mark.parametrize(("seeds", "least"), [(2, "0.25"), (4, "0.0625"), (5, None)])
def test_where_all_must_be_among_the_best_it_says_why(seeds, least):
    # Of n seeds the smallest p by flips of their signs is 1 / 2ⁿ, which of four is above 0.05.
    low, high = [0.1 + 0.01 * k for k in range(seeds)], [0.9 - 0.01 * k for k in range(seeds)]
    results = record({"ce": method(low), "kd": method(high)})
    why = f"(as all are: flips of the signs of {seeds} seeds allow no p below {least}); difference"
    assert (why in caption(results)) == (least is not None)
    assert len(best(results)) == (2 if least else 1)
    results.pilot = 2
    assert "as all are" not in caption(results)
    assert "as all are" not in caption(record({"ce": method(low)}))


def test_examples_that_are_no_images_are_not_called_so():
    results = record({"ce": method([0.4, 0.5])})
    assert "On images like these" in caption_of_wide(results)
    results.data = replace(results.data, unit="examples")
    text = caption(results) + caption_of_wide(results)
    assert "20 test examples" in text and "On examples like these" in text
    assert "image" not in text
