"""Valid calls of sources, data sets, augmentations and mixes."""

import torch
from broken import (
    Argument,
    Call,
    choice,
    function,
    listed,
    mapped,
    number,
    one,
    optional,
    reals,
    seed,
    strangers,
    to_break,
    whole,
    wholes,
    word,
)
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

from fkd import data
from fkd._random import Key
from fkd.data import augmentations, datasets

KEY = Key(torch.tensor(0), torch.tensor(0))
IMAGES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(4) % 2
SAMPLE = (0.5, 1.0, 2.5)
CONSTANTS = (0.5, 0.4, 0.3)


_FILL = Argument(
    1.0, st.one_of(strangers("whole", "real"), to_break("none", st.sampled_from([(), (None,)])))
)
_FACTOR = {"scale": (0.1, 0.9), "ratio": (0.5, 2.0)}
_EXAMPLES = TensorDataset(IMAGES, LABELS)
_RESIDENT = data.Resident(IMAGES, {"labels": LABELS}, batch_size=2)
_CROP, _MIXUP = data.Crop(2), data.MixUp(2)
_SOURCE = one(_RESIDENT)
_IMAGES_OF = reals(IMAGES, IMAGES[0], IMAGES[:, :, :0], torch.ones(4), shapes=False, places=False)
_BATCH = {
    "inputs": _IMAGES_OF,
    "key": optional(one(KEY)),
}
_MIXED = {
    "inputs": reals(IMAGES, IMAGES[:3], torch.ones(()), shapes=False, places=False),
    "targets": mapped(
        {"labels": LABELS}, {"labels": LABELS[:3]}, {"labels": LABELS.bool().to(torch.complex64)}
    ),
    "key": one(KEY),
}
_MEMORY = number(1.0)
DATA = {
    "data.steps_per_epoch": Call(
        data.steps_per_epoch, {"examples": whole(9), "batch_size": whole(2)}
    ),
    "data.order": Call(
        data.order,
        {
            "seed": seed(),
            "epoch": whole(1, least=0),
            "examples": whole(9, least=2),
            "batch_size": whole(2, most=9),
        },
    ),
    "data.hold_out": Call(
        data.hold_out,
        {
            "labels": wholes(torch.arange(8) % 2, shapes=False, places=False),
            "share": number(0.25, most=1.0),
            "seed": seed(),
        },
    ),
    "data.Crop": Call(data.Crop, {"padding": whole(2, 0, 2**20), "fill": _FILL}),
    "data.Crop.call": Call(_CROP, _BATCH, voices=("Crop",)),
    "data.Flip": Call(data.Flip, {"p": number(0.5, most=1.0)}),
    "data.Flip.call": Call(data.Flip(), _BATCH, voices=("Flip",)),
    "data.Cutout": Call(data.Cutout, {"size": whole(2, 1, 2**20), "fill": _FILL}),
    "data.Cutout.call": Call(data.Cutout(2), _BATCH, voices=("Cutout",)),
    "data.ResizedCrop": Call(
        data.ResizedCrop,
        {name: listed(pair, (0.5,), (2.0, 0.5), (-1.0, 1.0)) for name, pair in _FACTOR.items()},
        lambda made: [*made.scale, *made.ratio],
    ),
    "data.ResizedCrop.call": Call(data.ResizedCrop(), _BATCH, voices=("ResizedCrop",)),
    "data.RandAugment": Call(
        data.RandAugment,
        {"operations": whole(2), "magnitude": number(9, most=30.0), "fill": _FILL},
    ),
    "data.RandAugment.call": Call(data.RandAugment(), _BATCH, voices=("RandAugment",)),
    "data.MixUp": Call(data.MixUp, {"classes": whole(2, least=2), "alpha": number(0.2)}),
    "data.MixUp.call": Call(_MIXUP, _MIXED, voices=("MixUp", "mix")),
    "data.CutMix": Call(data.CutMix, {"classes": whole(2, least=2), "alpha": number(0.2)}),
    "data.CutMix.call": Call(data.CutMix(2), _MIXED, voices=("CutMix", "mix")),
    "data.OneOf": Call(data.OneOf, {"mixes": listed([_MIXUP])}, lambda made: list(made.mixes)),
    "data.OneOf.call": Call(data.OneOf((_MIXUP,)), _MIXED, voices=("OneOf", "MixUp", "mix")),
    "data.Normalize": Call(
        data.Normalize,
        {
            "mean": listed(CONSTANTS, (0.5,), (0.5, 0.5, float("nan"))),
            "std": listed(CONSTANTS, (0.5,), (0.5, 0.5, 0.0), (0.5, 0.5, True)),
        },
        lambda made: (list(made.mean), list(made.std)),
    ),
    "data.Normalize.call": Call(
        data.Normalize(CONSTANTS, CONSTANTS),
        {"inputs": reals(IMAGES, IMAGES[:, :2], torch.ones(3), shapes=False, places=False)},
        voices=("Normalize",),
    ),
    "data.chain": Call(
        lambda transforms: data.chain(*transforms),
        {
            "transforms": Argument(
                (_CROP,), strangers("function", "class").map(lambda b: b._replace(value=(b.value,)))
            )
        },
        voices=("chain",),
    ),
    "data.Resident": Call(
        data.Resident,
        {
            "inputs": Argument(
                IMAGES,
                st.one_of(
                    strangers("tensor"),
                    to_break(
                        "what does not fit",
                        st.sampled_from(
                            [IMAGES[:3], IMAGES[:0], [IMAGES, 3], IMAGES.to("meta"), torch.ones(())]
                        ),
                    ),
                ),
            ),
            "targets": mapped(
                {"labels": LABELS},
                {"labels": LABELS[:3]},
                {"labels": LABELS.to(torch.complex64)},
                {"labels": LABELS.float()},
                {"index": LABELS},
                {"labels": LABELS.to("meta")},
                empty=True,
            ),
            "batch_size": whole(2),
            "transform": function(data.unchanged),
            "expand": optional(function(lambda targets: targets)),
            "augment": function(data.unchanged),
            "mix": optional(function(_MIXUP)),
        },
        lambda source: source.examples,
    ),
    "data.Resident.feeds": Call(
        lambda **arguments: list(_RESIDENT.feeds(**arguments)),
        {"seed": seed(), "epoch": whole(1, least=0), "start": whole(1, 0, 2)},
        voices=("order", "Resident"),
    ),
    "data.Resident.read": Call(
        lambda feed: _RESIDENT.read(feed).inputs,
        {
            "feed": wholes(
                torch.tensor([3, 1]),
                torch.tensor([4, 0]),
                torch.tensor([-1, 0]),
                torch.tensor(1),
                shapes=False,
            )
        },
        voices=("Resident",),
    ),
    "data.Resident.in_order": Call(
        lambda batch_size: list(_RESIDENT.in_order(batch_size)),
        {"batch_size": whole(2)},
        voices=("Resident",),
    ),
    "data.Resident.subset": Call(
        lambda rows: _RESIDENT.subset(rows).inputs,
        {"rows": wholes(torch.tensor([3, 1]), torch.tensor([4]), torch.tensor([-1]), shapes=False)},
        voices=("subset",),
    ),
    "data.Resident.with_targets": Call(
        lambda targets: _RESIDENT.with_targets(targets).targets,
        {
            "targets": mapped(
                {"hidden": IMAGES}, {"hidden": IMAGES[:2]}, {"index": IMAGES}, empty=True
            )
        },
        voices=("Resident",),
    ),
    "data.Resident.to": Call(
        lambda device: _RESIDENT.to(device).device,
        {"device": Argument("cpu", strangers())},
        voices=("Resident",),
    ),
    "data.Resident.batched": Call(
        lambda batch_size: _RESIDENT.batched(batch_size).batch_size,
        {"batch_size": whole(2)},
        voices=("Resident",),
    ),
    "data.Data": Call(
        data.Data,
        {
            "name": word("mine"),
            "classes": listed(("even", "odd"), ("one",), empty=True),
            "train": _SOURCE,
            "test": _SOURCE,
        },
        lambda made: list(made.classes),
        ("mine",),
    ),
    "data.from_dataset": Call(
        data.from_dataset,
        {
            "train": one(_EXAMPLES),
            "test": one(_EXAMPLES),
            "classes": Argument(("even", "odd"), strangers("list", "word")),
            "name": word("mine"),
            "batch_size": optional(whole(2)),
            "memory": _MEMORY,
            "transform": function(data.unchanged),
            "split": function(data.inputs_and_targets),
        },
        lambda made: made.train.examples,
        ("mine",),
    ),
    "data.built": Call(
        data.built,
        {
            "build": Argument(
                lambda: data.Data("d", ("even", "odd"), _RESIDENT, _RESIDENT), strangers()
            ),
            "batch_size": optional(whole(2)),
            "memory": _MEMORY,
        },
        lambda made: made.train.examples,
        ("<lambda>()", "int()"),
    ),
    "data.augmentations.named": Call(
        augmentations.named,
        {
            "names": listed(("crop", "mixup"), ("crop", "crop"), ("none",), empty=True),
            "size": whole(8),
            "classes": whole(2, least=2),
        },
        lambda pair: pair[1],
        ("augmentations", "MixUp", "Crop"),
    ),
    "data.datasets.load": Call(
        datasets.load,
        {
            "name": choice("digits"),
            "root": optional(Argument(".", strangers("word"))),
            "image_size": whole(8),
            "memory": _MEMORY,
            "channels": whole(3),
            "mean": optional(listed(CONSTANTS, (0.5,), (0.5, 0.5, float("nan")))),
            "std": optional(listed(CONSTANTS, (0.5,), (0.5, 0.5, 0.0))),
            "workers": whole(2, least=0),
        },
        lambda made: made.train.examples,
        ("Normalize",),
    ),
}
