"""Which shapes each method joins: a table, every cell of it trained or refused."""

import inspect

import pytest
import torch
from torch import Tensor, nn

from fkd import methods, optim
from fkd.data import Batch
from fkd.distillation import Gradient, distill
from fkd.methods import METHODS, Context, fit
from fkd.model import functional

BATCH, CLASSES, WIDTH = 4, 3, 8
# the student's output and the teacher's
PAIRS = {
    "maps": ([6, 4, 4], [4, 4, 4]),
    "student larger": ([4, 8, 8], [4, 4, 4]),
    "teacher larger": ([4, 4, 4], [4, 8, 8]),
    "tokens to a map": ([17, 4], [4, 4, 4]),
    "a map to tokens": ([4, 4, 4], [16, 4]),
    "as many tokens": ([12, 4], [12, 6]),
    "square tokens": ([17, 4], [64, 4]),
    "other tokens": ([12, 4], [16, 4]),
    "vectors": ([4], [6]),
    "a vector to a map": ([4], [4, 4, 4]),
}
NO_FORM = {"other tokens", "a vector to a map"}
NO_MAP = NO_FORM | {"as many tokens", "vectors"}
# what each method that matches a layer refuses; the others match logits
REFUSED = {
    "ab": NO_FORM,
    "at": NO_MAP,
    "cc": set(),
    "cc-bilinear": set(),
    "cka": set(),
    "cosine": NO_MAP | {"maps"},  # and so for every width that differs
    "crd": set(),
    "cwd": NO_MAP,
    "fsp": NO_MAP,
    "ft": NO_MAP,
    "hint": NO_FORM,
    "ickd": NO_MAP,
    "info-nce": set(),
    "kdsvd": NO_MAP,
    "mgd": NO_MAP,
    "nst": NO_MAP,
    "ofd": NO_FORM,
    "pkd": NO_FORM,
    "pkt": set(),
    "review": NO_MAP,
    "rkd": set(),
    "simkd": NO_MAP | {"a map to tokens", "square tokens"},  # its classifier reads a map
    "sp": set(),
    "srd": set(PAIRS) - {"vectors"},
    "srrl": NO_MAP,
    "vid": NO_FORM,
    "wkd-f": NO_MAP,
}


class Student(nn.Module):
    """A linear map to each output."""

    def __init__(self):
        super().__init__()
        sizes = {pair: torch.Size(shape).numel() for pair, (shape, _) in PAIRS.items()}
        self.maps = nn.ModuleDict({pair: nn.Linear(WIDTH, size) for pair, size in sizes.items()})
        self.logits = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        outputs = {
            pair: self.maps[pair](x).unflatten(1, shape) for pair, (shape, _) in PAIRS.items()
        }
        return {"logits": self.logits(x), **outputs}


class Teacher(nn.Module):
    """Its classifier reads the average of a map of four channels."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, CLASSES)


@pytest.fixture(scope="module")
def batch() -> Batch:
    torch.manual_seed(0)
    targets = {pair: torch.randn(BATCH, *shape) for pair, (_, shape) in PAIRS.items()}
    labels, index = torch.tensor([0, 1, 2, 0]), torch.arange(BATCH)
    return Batch(torch.randn(BATCH, WIDTH), {"labels": labels, "index": index, **targets})


def _terms(name: str, pair: str) -> methods.Method:
    """The terms of a method for a pair, without those of the labels and the logits."""
    build = METHODS[name]
    if "layers" in inspect.signature(build).parameters:
        method = build(layers=(pair, pair), teacher_layers=(pair, pair))
    else:
        method = build(layer=pair, teacher_layer=pair)
    return {
        f"{pair}, {key}": term
        for key, term in method.items()
        if not {"labels", "logits"} & set(term.targets)
    }


def _context() -> Context:
    return Context(
        examples=9,
        teacher=Teacher(),
        outputs={pair: torch.Size(shape) for pair, (shape, _) in PAIRS.items()},
        targets={pair: torch.Size(shape) for pair, (_, shape) in PAIRS.items()},
    )


def _gradient(method: methods.Method, batch: Batch) -> Gradient:
    context = _context()
    net = functional(methods.wrapped(Student, method, context))
    one = distill(net, method, optim.sgd(), batch, context=context)
    return one.gradient(one.init(0), batch)


def test_the_table_has_every_method_that_matches_a_layer():
    layers = {"layer", "layers"}
    matching = {
        name for name, build in METHODS.items() if layers & set(inspect.signature(build).parameters)
    }
    assert set(REFUSED) == matching


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_method_joins_is_trained(name, batch):
    terms = {pair: _terms(name, pair) for pair in PAIRS if pair not in REFUSED[name]}
    # a student has one wrap around it, and else all pairs at once
    alone = any(term.wrap for method in terms.values() for term in method.values())
    groups = [[pair] for pair in terms] if alone else [list(terms)]
    for pairs in groups:
        method = {key: term for pair in pairs for key, term in terms[pair].items()}
        gradient = _gradient(method, batch)
        assert all(gradient.metrics[key].isfinite() for key in method)
        for pair in pairs:
            values = [
                value
                for key, value in gradient.params["student"].items()
                if key.endswith(f"maps.{pair}.weight")
            ]
            assert len(values) == 1, pair
            assert values[0].isfinite().all() and values[0].abs().max() > 0, pair


@pytest.mark.plain
@pytest.mark.parametrize(
    ("name", "pair"), [(name, pair) for name in REFUSED for pair in sorted(REFUSED[name])]
)
def test_what_a_method_does_not_join_is_refused_with_what_fits(name, pair, batch):
    method, context = _terms(name, pair), _context()
    outputs = {name: x.to("meta") for name, x in Student()(batch.inputs).items()}
    targets = {name: x.to("meta") for name, x in batch.targets.items()}
    with pytest.raises(ValueError) as error:
        methods.wrapped(Student, method, context)()
        for term in method.values():
            fit(term, outputs, targets, context, torch.float32)
    message, (here, there) = str(error.value), PAIRS[pair]
    assert f"student {pair!r} {tuple(here)} with target {pair!r} {tuple(there)}" in message
    assert "; what fits: student '" in message
