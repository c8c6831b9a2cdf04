"""Losses on the meta device, and what reading a tensor's values costs a step."""

import math
import warnings

import pytest
import torch
from valid_losses import LOSSES, NUMBERS, OWN

from fkd import losses
from fkd.losses._response import at_label
from losses import test_relation
from losses.sized import arguments, size_of

HYPER = [
    (name, key)
    for name, call in LOSSES.items()
    for key, argument in call.arguments.items()
    if isinstance(argument.value, float)
]
TENSORS = [
    (name, key)
    for name, call in LOSSES.items()
    for key, argument in call.arguments.items()
    if isinstance(argument.value, torch.Tensor) and key != "mask"
]
LABELLED = [name for name in LOSSES if "labels" in LOSSES[name].arguments]


@pytest.mark.parametrize("name", LOSSES)
def test_on_the_meta_device_the_answer_has_its_shape_and_dtype(name):
    call = LOSSES[name]
    values = {key: argument.value for key, argument in call.arguments.items()}
    expected = call.function(**values)
    meta = {k: x.to("meta") if isinstance(x, torch.Tensor) else x for k, x in values.items()}
    answer = call.function(**meta)
    assert answer.is_meta and (answer.shape, answer.dtype) == (expected.shape, expected.dtype)


@pytest.mark.plain
@pytest.mark.parametrize(("name", "argument"), TENSORS)
def test_a_tensor_of_another_kind_is_refused_by_its_name(name, argument):
    call = LOSSES[name]
    values = {key: argument.value for key, argument in call.arguments.items()}
    x = values[argument]
    wrong = [x.tolist(), x.to_sparse(), x.to(torch.complex64), x[:0], x.bool()]
    wrong += [x.long()] if x.is_floating_point() else []
    several = [key for other, key in TENSORS if other == name][1:]
    wrong += [x.to("meta")] if several else []
    for other in wrong:
        with pytest.raises(ValueError, match=f"{name.removeprefix('losses.')}: .*{argument}"):
            call.function(**values | {argument: other})


@pytest.mark.plain
@pytest.mark.parametrize("name", [name for name in losses.__all__ if size_of(name)])
def test_maps_of_more_axes_or_fewer_are_refused_by_their_name(name):
    tensors = arguments(name, 3, 4, size_of(name))
    for key in [key for key, x in tensors.items() if x.ndim == 4]:
        for wrong in (tensors[key][..., 0], tensors[key][None], tensors[key][..., None]):
            with pytest.raises(
                ValueError, match=rf"{name}: {key} must be \[batch \w+ height width"
            ):
                getattr(losses, name)(**tensors | {key: wrong})


@pytest.mark.plain
@pytest.mark.parametrize("shape", [(4,), (4, 0)])
@pytest.mark.parametrize("name", test_relation.CASES)
def test_a_side_of_a_relation_without_features_is_refused(name, shape):
    side, other = torch.zeros(shape), torch.zeros(4, 3)
    for pair in ((side, other), (other, side)):
        with pytest.raises(ValueError, match=f"{name}: (student|teacher) must"):
            getattr(losses, name)(*pair)


@pytest.mark.plain
@pytest.mark.parametrize("name", ["vid", "ofd"])
def test_what_is_not_one_number_a_channel_is_refused(name):
    maps = torch.zeros(2, 3, 4, 4)
    for wrong in (torch.ones(()), torch.ones(1), torch.ones(2), torch.ones(3, 1, 1)):
        with pytest.raises(ValueError, match=r"must be \[channels\] of student.*\(2, 3, 4, 4\)"):
            getattr(losses, name)(maps, maps, wrong)
    with pytest.raises(ValueError, match="must be floating-point"):
        getattr(losses, name)(maps, maps, torch.ones(3, dtype=torch.long))


@pytest.mark.plain
def test_a_variance_not_above_zero_and_a_margin_above_it_are_refused():
    maps, even = torch.zeros(2, 3), torch.tensor([1.0, 2.0, 3.0])
    for least in (0.0, -0.5):
        with pytest.raises(ValueError, match=f"vid: variance must be above zero.* is {least}"):
            losses.vid(maps, maps, even.index_fill(0, torch.tensor(1), least))
    with pytest.raises(ValueError, match=r"ofd: margin must be zero or less.* is 3\.0"):
        losses.ofd(maps, maps, torch.tensor([-1.0, 3.0, 0.0]))


@pytest.mark.plain
@pytest.mark.parametrize(("name", "number"), HYPER)
def test_a_number_on_another_device_is_refused_by_its_name(name, number):
    call = LOSSES[name]
    values = {key: argument.value for key, argument in call.arguments.items()}
    elsewhere = torch.tensor(values[number], device="meta")
    with pytest.raises(ValueError, match=f"{number} must lie on cpu, as the tensors do"):
        call.function(**values | {number: elsewhere})


@pytest.mark.plain
@pytest.mark.parametrize(("name", "number"), HYPER)
def test_a_number_out_of_range_is_refused_by_its_name(name, number):
    call = LOSSES[name]
    values = {key: argument.value for key, argument in call.arguments.items()}
    short = name.removeprefix("losses.")
    for wrong in (*OWN.get((short, number), NUMBERS[number]), math.nan, math.inf, "1"):
        with pytest.raises(ValueError, match=f"{short}: {number} must"):
            call.function(**values | {number: wrong})


WHOLE = [
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.uint16,
    torch.uint32,
    torch.uint64,
]


@pytest.mark.plain
@pytest.mark.parametrize("name", LABELLED)
def test_labels_of_any_whole_dtype_are_as_good_with_a_mask_and_without(name):
    call = LOSSES[name]
    values = {key: argument.value for key, argument in call.arguments.items()}
    labels = values["labels"]
    masks = [None, torch.arange(len(labels)) > 0] if "mask" in values else [None]
    for mask in masks:
        given = values if mask is None else values | {"mask": mask}
        expected = call.function(**given)
        for dtype in WHOLE:
            assert torch.equal(call.function(**given | {"labels": labels.to(dtype)}), expected)


@pytest.mark.plain
@pytest.mark.parametrize("label", [-100, 1000])
@pytest.mark.parametrize("name", LABELLED)
def test_a_label_that_is_no_class_has_no_value_where_none_may_be_read(name, label, monkeypatch):
    call = LOSSES[name]
    values = {key: argument.value for key, argument in call.arguments.items()}
    labels = values["labels"].clone()
    labels[0] = label
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with pytest.raises((RuntimeError, IndexError), match=r"out of bounds|out of range"):
        call.function(**values | {"labels": labels})


@pytest.mark.plain
def test_a_compiled_look_at_labels_refuses_one_that_is_no_class():
    right = torch.compile(at_label, fullgraph=True)
    assert right(torch.tensor([2, 0]), 3).tolist() == [[False, False, True], [True, False, False]]
    for label in (3, -100):
        with pytest.raises(RuntimeError, match="out of bounds"):
            right(torch.tensor([label, 0]), 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpus_labels_are_read_in_eager_mode_and_never_waited_for_in_a_step_of_members():
    logits, labels = torch.zeros(2, 3, device="cuda"), torch.tensor([0, 2], device="cuda")

    def total(student: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
        options = {"temperature": temperature}
        return losses.dkd(student, logits, labels, **options).sum()

    members, leaf = logits.expand(4, -1, -1), torch.ones(4, device="cuda")
    step = torch.vmap(torch.func.grad(total))
    try:
        with warnings.catch_warnings(action="ignore"):  # torch calls the mode a prototype
            torch.cuda.set_sync_debug_mode("error")
        step(members, leaf)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    with pytest.raises(ValueError, match="the label 3"):
        losses.cross_entropy(logits, labels + 1)
