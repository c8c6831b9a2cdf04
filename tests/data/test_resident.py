"""A resident source against indexing by hand, compiled and captured, and its door."""

from typing import Any

import pytest
import torch
from torch.func import vmap
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from fkd._random import Key
from fkd.data import (
    Crop,
    CutMix,
    Cutout,
    Flip,
    MixUp,
    Normalize,
    OneOf,
    RandAugment,
    Resident,
    ResizedCrop,
    chain,
    order,
)
from fkd.data._source import apart

KEY = Key(torch.tensor(3), torch.tensor(5))


def _shift(inputs: Any, key: Key | None = None) -> Any:
    """Every leaf, moved by the key's numbers where there is one."""
    return inputs if key is None else tree_map(lambda x: x + key.seed + key.step, inputs)


def _numbers(**changes) -> Resident:
    arguments = {
        "inputs": torch.arange(7.0).unsqueeze(1),
        "targets": {"labels": torch.arange(7) * 10},
        "batch_size": 3,
    }
    return Resident(**arguments | changes)


def _images(n: int) -> torch.Tensor:
    return torch.randint(256, (n, 3, 4, 4), generator=torch.Generator().manual_seed(0)).byte()


def test_an_epoch_is_the_order_and_goes_on_from_any_step():
    source = _numbers()
    assert (source.examples, source.device) == (7, torch.device("cpu"))
    rows = order(2, 1, 7, 3)
    for start in range(4):
        feeds = list(source.feeds(2, 1, start))
        assert [feed.tolist() for feed in feeds] == rows[start:].tolist()


@pytest.mark.parametrize("start", [-1, 4])
def test_a_step_that_an_epoch_has_not_is_refused(start):
    with pytest.raises(
        ValueError, match=f"start must be a whole number in .0, 3., but it is {start}"
    ):
        _numbers().feeds(0, 0, start)


def test_a_batch_larger_than_the_data_is_refused_before_any_step():
    with pytest.raises(ValueError, match=r"batch_size must lie in \[1, 7\], but it is 8"):
        _numbers(batch_size=8).feeds(0, 0)


def test_read_takes_the_rows_and_hands_the_key_to_the_transform():
    source = _numbers(transform=_shift)
    inputs, targets = source.read(torch.tensor([5, 0]), KEY)
    assert inputs.tolist() == [[13.0], [8.0]]
    assert targets["labels"].tolist() == [50, 0]
    assert targets["index"].tolist() == [5, 0]
    assert source.read(torch.tensor([5, 0])).inputs.tolist() == [[5.0], [0.0]]


def test_any_tree_of_inputs_is_read_with_any_dtype_and_rank():
    tree = {
        "tokens": torch.arange(20, dtype=torch.int16).reshape(5, 4),
        "mask": torch.arange(5) % 2 == 0,
        "pair": (torch.rand(5, 1, 2, 3, dtype=torch.float64), [torch.arange(5) * 1j]),
    }
    source = Resident(tree, {"logits": torch.rand(5, 3)}, batch_size=2)
    rows = torch.tensor([4, 1])
    inputs, targets = source.read(rows)
    assert torch.equal(inputs["tokens"], tree["tokens"][rows])
    assert torch.equal(inputs["mask"], tree["mask"][rows])
    assert torch.equal(inputs["pair"][0], tree["pair"][0][rows])
    assert torch.equal(inputs["pair"][1][0], tree["pair"][1][0][rows])
    assert list(targets) == ["logits", "index"]


def test_members_with_rows_of_their_own_read_as_alone():
    source = Resident(
        _images(9), {"labels": torch.arange(9)}, transform=Normalize((0.5,) * 3, (0.2,) * 3)
    )
    rows = torch.tensor([[3, 0], [8, 3], [1, 2]])
    together, mapped = source.read(rows), vmap(source.read)(rows)
    for k, own in enumerate(rows):
        alone = source.read(own)
        for batch in (together, mapped):
            assert torch.equal(batch.inputs[k], alone.inputs)
            assert torch.equal(batch.targets["labels"][k], alone.targets["labels"])
            assert torch.equal(batch.targets["index"][k], own)


@pytest.mark.plain
def test_read_is_compiled_whole():
    source = Resident({"a": _images(9)}, {"labels": torch.arange(9)}, transform=_shift)
    read = torch.compile(source.read, fullgraph=True, backend="aot_eager")
    for rows in (torch.tensor([3, 0]), torch.tensor([[3, 0], [8, 3]])):
        batch, expected = read(rows, KEY), source.read(rows, KEY)
        assert torch.equal(batch.inputs["a"], expected.inputs["a"])
        assert torch.equal(batch.targets["index"], rows)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_read_is_captured_in_a_graph():
    source = Resident(
        _images(9), {"labels": torch.arange(9)}, transform=Normalize((0.5,) * 3, (0.2,) * 3)
    ).to("cuda")
    rows = torch.tensor([3, 0], device="cuda")
    source.read(rows)  # what is loaded late is loaded before the capture
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        batch = source.read(rows)
    rows.copy_(torch.tensor([8, 1]))
    graph.replay()
    assert torch.equal(batch.inputs, source.read(torch.tensor([8, 1], device="cuda")).inputs)
    assert batch.targets["index"].tolist() == [8, 1]


def _with_everything() -> Resident:
    augment = chain(Crop(1), Flip(), Cutout(2), ResizedCrop(), RandAugment(fill=(1, 2, 3)))
    return _plain().augmented(augment, OneOf((MixUp(3), CutMix(3))))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_an_augmented_read_is_captured_in_a_graph():
    source = _with_everything().to("cuda")
    rows, key = torch.tensor([3, 0], device="cuda"), Key(*(part.to("cuda") for part in KEY[:2]))
    source.read(rows, key)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        batch = source.read(rows, key)
    key.step.add_(1)
    graph.replay()
    expected = source.read(rows, key)
    assert torch.equal(batch.inputs, expected.inputs)
    assert torch.equal(batch.targets["labels"], expected.targets["labels"])


class NoneMade(TorchFunctionMode):
    """Refuses what makes a tensor of Python's numbers on the CPU and copies it from there."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        assert func not in (torch.tensor, torch.as_tensor, torch.from_numpy)
        return func(*args, **(kwargs or {}))


def test_an_augmented_read_copies_nothing_from_the_cpu_which_no_graph_could_hold():
    source = _with_everything()
    with NoneMade():
        source.read(torch.arange(4), KEY)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_in_order_shows_each_example_once_and_gives_the_transform_no_key(batch_size):
    source = _numbers(transform=_shift)
    batches = list(source.in_order(batch_size))
    assert [len(batch.inputs) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert torch.equal(torch.cat([batch.inputs for batch in batches]), source.inputs)
    for name, expected in (("labels", torch.arange(7) * 10), ("index", torch.arange(7))):
        assert torch.equal(torch.cat([batch.targets[name] for batch in batches]), expected)


def test_a_subset_is_numbered_anew():
    few = _numbers().subset(torch.tensor([6, 2, 4]))
    (batch,) = few.in_order(3)
    assert batch.inputs.flatten().tolist() == [6.0, 2.0, 4.0]
    assert batch.targets["labels"].tolist() == [60, 20, 40]
    assert batch.targets["index"].tolist() == [0, 1, 2]
    assert few.batch_size == 3


@pytest.mark.plain
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (torch.tensor([0, 7]), r"rows must lie in \[0, 6\], but it is 7"),
        (torch.tensor([-1]), r"rows must lie in \[0, 6\], but it is -1"),
        (torch.ones(7, dtype=torch.bool), "give mask.nonzero"),
        (torch.tensor([0.0]), "rows must hold whole numbers"),
        (torch.tensor([[0]]), r"rows must be \[rows\]"),
        (torch.zeros(0, dtype=torch.int64), "there are no examples"),
    ],
)
def test_rows_that_are_no_examples_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        _numbers().subset(rows)


def test_targets_are_added_and_replaced_without_touching_the_source():
    source, logits = _numbers(), torch.rand(7, 4)
    more = source.with_targets({"logits": logits, "labels": torch.zeros(7, dtype=torch.int64)})
    targets = more.read(torch.tensor([1])).targets
    assert torch.equal(targets["logits"], logits[[1]])
    assert targets["labels"].tolist() == [0]
    assert source.read(torch.tensor([1])).targets.keys() == {"labels", "index"}


def _shares(targets: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The class of an example as a row of shares."""
    return targets | {"shares": torch.nn.functional.one_hot(targets["place"], 3).float()}


def test_targets_that_lie_compact_are_expanded_whenever_they_are_read():
    places = torch.tensor([2, 0, 1, 1, 0, 2, 2])
    source = _numbers(targets={"place": places}, expand=_shares)
    assert list(source.targets) == ["place"]
    whole, rows = torch.eye(3)[places], torch.tensor([[5, 0], [3, 3]])
    assert torch.equal(source.read(rows).targets["shares"], whole[rows])
    for few in (source, source.subset(torch.arange(7)).to("cpu").batched(2)):
        parts = [batch.targets["shares"] for batch in few.in_order(4)]
        assert torch.equal(torch.cat(parts), whole)


def test_a_device_and_a_batch_size_are_chosen_anew():
    source = _numbers(inputs={"x": torch.arange(7.0)})
    moved = source.to("meta")
    assert moved.device.type == moved.targets["labels"].device.type == "meta"
    assert len(list(source.batched(2).feeds(0, 0))) == 4


@pytest.mark.plain
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": {"labels": torch.arange(6)}}, r"\(7, 1\) and targets\['labels'\] is \(6,\)"),
        ({"inputs": {"a": [1]}}, r"must be a tensor, but inputs\['a'\]\[0\] is a int"),
        ({"inputs": torch.tensor(1.0)}, "inputs must lead with an axis of examples"),
        ({"inputs": ()}, "inputs hold no tensor"),
        (
            {"inputs": torch.zeros(0, 2), "targets": {"labels": torch.zeros(0).long()}},
            "there are no examples",
        ),
        ({"targets": {"index": torch.arange(7)}}, "no target may be named 'index'"),
        ({"targets": {"labels": torch.zeros(7)}}, "labels must hold whole numbers"),
        ({"inputs": torch.zeros(7, device="meta")}, r"inputs on meta, targets\['labels'\] on cpu"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1"),
        ({"expand": {}}, "expand must be a function"),
        ({"mix": 0.2}, "mix must be a function"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        _numbers(**changes)


NORMALIZE = Normalize((0.5,) * 3, (0.2,) * 3)


def _plain(**targets: torch.Tensor) -> Resident:
    labels = {"labels": torch.arange(8) % 3}
    return Resident(_images(8), labels | targets, batch_size=4, transform=NORMALIZE)


def test_training_reads_augmented_then_normalised_then_mixed():
    augment, mix = chain(Crop(1), Flip()), MixUp(classes=3)
    source = _plain().augmented(augment, mix)
    rows = torch.tensor([5, 0, 3, 3])
    images, labels = NORMALIZE(augment(_images(8)[rows], apart(KEY, 1))), torch.arange(8)[rows] % 3
    expected, targets = mix(images, {"labels": labels}, apart(KEY, 2))
    batch = source.read(rows, KEY)
    assert torch.equal(batch.inputs, expected)
    assert torch.equal(batch.targets["labels"], targets["labels"])
    assert torch.equal(batch.targets["index"], rows)
    assert not torch.equal(batch.inputs, images)
    only = _plain().augmented(augment).read(rows, KEY)
    assert torch.equal(only.inputs, images)
    assert torch.equal(only.targets["labels"], labels)


def test_an_evaluation_is_neither_augmented_nor_mixed():
    plain = _plain()
    source = plain.augmented(chain(Crop(1), Flip()), MixUp(classes=3))
    rows = torch.tensor([5, 0, 3, 3])
    assert torch.equal(source.read(rows).inputs, plain.read(rows).inputs)
    assert torch.equal(source.read(rows).targets["labels"], torch.arange(8)[rows] % 3)
    for one, other in zip(source.in_order(3), plain.in_order(3), strict=True):
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(one.targets["labels"], other.targets["labels"])


def test_augmentation_stays_with_a_part_and_can_be_taken_away():
    source = _plain().augmented(Crop(1), MixUp(classes=3))
    for other in (source.subset(torch.arange(4)), source.batched(2), source.to("cpu")):
        assert (other.augment, other.mix) == (Crop(1), MixUp(classes=3))
    rows = torch.tensor([2, 1])
    assert torch.equal(source.augmented().read(rows, KEY).inputs, _plain().read(rows).inputs)


def test_a_part_of_a_batch_is_read_as_in_the_whole():
    source = _plain().augmented(chain(Crop(1), Flip()), MixUp(classes=3))
    rows = torch.tensor([5, 0, 3, 1, 7, 2])
    whole = source.read(rows, KEY)
    part = source.read(rows[2:], KEY._replace(first=2))
    assert torch.equal(part.inputs, whole.inputs[2:])
    assert torch.equal(part.targets["labels"], whole.targets["labels"][2:])


@pytest.mark.parametrize(
    ("target", "augment", "mix"),
    [
        (torch.zeros(8, 3), True, False),  # a teacher's logits
        (torch.zeros(8, 3), False, True),
        (torch.zeros(8), True, False),
        (torch.zeros(8, 4, 4).long(), True, False),  # a mask, which would have to move too
        (torch.zeros(8).long(), False, True),  # a second label, which would have to be mixed
    ],
)
def test_targets_of_the_plain_examples_are_refused(target, augment, mix):
    recipe = (Flip(), MixUp(3) if mix else None) if augment else (chain(), MixUp(3))
    message = "'more', .*; leave it out, and ask a teacher about each batch instead"
    with pytest.raises(ValueError, match=message):
        _plain(more=target).augmented(*recipe)
    with pytest.raises(ValueError, match=message):
        _plain().augmented(*recipe).with_targets({"more": target})


@pytest.mark.parametrize("recipe", [(Flip(),), (chain(), MixUp(3))])
def test_labels_of_places_are_refused_where_images_are_augmented_or_mixed(recipe):
    """They would stay where they are while the image is turned."""
    source = Resident(_images(8), {"labels": torch.zeros(8, 4, 4).long()}, batch_size=4)
    with pytest.raises(ValueError, match=r"'labels', torch.int64 \(8, 4, 4\); leave it out"):
        source.augmented(*recipe)


def test_a_second_label_may_stand_beside_augmented_images():
    coarse = torch.arange(8) // 4
    source = _plain(coarse=coarse).augmented(Flip())
    assert torch.equal(source.read(torch.tensor([7, 1]), KEY).targets["coarse"], coarse[[7, 1]])


@pytest.mark.plain
def test_what_an_augmentation_or_a_mix_refuses_is_refused_when_it_is_added():
    with pytest.raises(ValueError, match="Flip: the inputs must be one tensor of images"):
        Resident({"a": _images(9)}, {}).augmented(Flip())
    with pytest.raises(ValueError, match=r"MixUp: labels must lie in \[0, 2\), .* from 0 to 2"):
        _plain().augmented(mix=MixUp(classes=2))
    with pytest.raises(ValueError, match="MixUp: there must be a target 'labels'"):
        Resident(_images(9), {}).augmented(mix=MixUp(classes=2))
