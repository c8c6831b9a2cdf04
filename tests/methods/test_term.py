"""Terms of pixels and tokens, of which some do not count, against torch's cross-entropy."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fkd import losses, methods, optim
from fkd.data import Batch
from fkd.distillation import distill, step
from fkd.ensemble import ensemble
from fkd.execution import Plan, lay
from fkd.methods import METHODS, Context, Term
from fkd.model import functional

BATCH, TOKENS, CLASSES = 3, 4, 5
KEPT = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]).bool()
MASKED = ["ce", "kd", "reverse-kd", "jensen-shannon", "total-variation", "logit-standardised"]
MASKED += ["ctkd", "dkd", "nkd", "ofa", "rld", "wsld", "hard", "norm-kd", "ttm", "wttm"]
MASKED += ["abkd", "akl", "skew-kl", "skew-reverse-kl", "dml"]
CROSS_ENTROPY = Term(losses.cross_entropy, target="labels", mask="kept")


def _logits(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(BATCH, TOKENS, CLASSES, generator=generator, dtype=torch.float64)


def _labels() -> Tensor:
    return torch.arange(BATCH * TOKENS).reshape(BATCH, TOKENS) % CLASSES


def _values(term: Term, logits: Tensor, **targets: Tensor) -> Tensor:
    return term.values({"logits": logits}, targets, {}, None)


def _ignored(logits: Tensor, labels: Tensor, kept: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), labels.where(kept, -100).flatten())


def test_an_examples_value_is_the_mean_of_its_positions():
    logits, labels = _logits(), _labels()
    values = _values(Term(losses.cross_entropy, target="labels"), logits, labels=labels)
    expected = F.cross_entropy(logits.movedim(-1, 1), labels, reduction="none").mean(1)
    torch.testing.assert_close(values, expected)


def test_the_mean_over_examples_is_torchs_over_the_tokens_kept():
    logits, labels = _logits(), _labels()
    values = _values(CROSS_ENTROPY, logits, labels=labels, kept=KEPT)
    each = F.cross_entropy(logits.movedim(-1, 1), labels, reduction="none") * KEPT
    torch.testing.assert_close(values, each.sum(1) * BATCH / 4)  # four tokens are kept
    torch.testing.assert_close(values.mean(), _ignored(logits, labels, KEPT))


def test_a_mask_of_whole_examples_leaves_the_mean_over_those_kept():
    logits, labels = _logits()[:, 0], _labels()[:, 0]
    kept = torch.tensor([True, False, True])
    values = _values(CROSS_ENTROPY, logits, labels=labels, kept=kept)
    torch.testing.assert_close(values.mean(), F.cross_entropy(logits[kept], labels[kept]))


def test_a_mask_that_keeps_nothing_gives_zero_and_no_gradient():
    padded = torch.full((BATCH, TOKENS, CLASSES), math.nan)
    targets = {"labels": torch.full((BATCH, TOKENS), -100), "kept": torch.zeros_like(KEPT)}
    gradient, values = torch.func.grad_and_value(
        lambda x: _values(CROSS_ENTROPY, x, **targets).sum()
    )(padded)
    assert values == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_tokens_are_counted_exactly_in_half_precision(dtype):
    # 257 is no number of bfloat16, and the sum of 70,000 values of log 2 none of float16
    for tokens, number in ((514, 257), (70_000, 69_999)):
        kept = torch.arange(tokens).expand(1, -1) < number
        logits, labels = torch.zeros(1, tokens, 2, dtype=dtype), torch.zeros(1, tokens).long()
        value = _values(CROSS_ENTROPY, logits, labels=labels, kept=kept)
        assert value.dtype == dtype
        # a token's value, their mean and the result are each rounded to half a last bit
        near = 2 * torch.finfo(dtype).eps
        assert value.item() == pytest.approx(math.log(2), rel=near)


def test_ranks_have_the_same_weight_however_many_tokens_they_keep():
    logits, labels = _logits(), _labels()
    ranks = [
        _values(CROSS_ENTROPY, logits[k], labels=labels[k], kept=KEPT[k]).mean()
        for k in (slice(0, 1), slice(1, 2))
    ]
    each = F.cross_entropy(logits.movedim(-1, 1), labels, reduction="none")
    expected = (each[0, :3].mean() + each[1, 0]) / 2
    torch.testing.assert_close(torch.stack(ranks).mean(), expected)


class Language(nn.Module):
    """Logits of the next token."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(CLASSES, 6)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, tokens):
        return self.head(self.embedding(tokens).tanh())


def language() -> nn.Module:
    return Language().double()


def _texts() -> Batch:
    targets = {
        "labels": _labels().where(KEPT, -100),
        "logits": _logits(1).masked_fill(~KEPT[..., None], math.nan),
        "kept": KEPT,
    }
    return Batch(_labels().flip(1), targets)


def test_a_language_models_gradient_is_that_of_a_loop_over_its_tokens():
    batch, net = _texts(), functional(language)
    run = distill(net, methods.kd(temperature=2.0, mask="kept"), optim.sgd(0.1), batch)
    state = run.init(0)
    gradient = run.gradient(state, batch)
    model = language()
    model.load_state_dict(state.params["student"])
    logits, teacher = model(batch.inputs)[KEPT], batch.targets["logits"][KEPT]
    soft = F.cross_entropy(logits / 2, (teacher / 2).softmax(-1))
    loss = 0.25 * 4 * soft + 0.75 * F.cross_entropy(logits, batch.targets["labels"][KEPT])
    loss.backward()
    torch.testing.assert_close(gradient.metrics["loss"], loss.detach())
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    torch.testing.assert_close(gradient.params["student"], expected)


@pytest.mark.parametrize("name", MASKED)
def test_methods_of_logits_train_on_padded_texts_alike_in_either_layout(name):
    method = METHODS[name](mask="kept")
    assert {term.mask for term in method.values()} == {"kept"}
    batch = _texts()
    net = functional(methods.wrapped(language, method, Context()))
    run = distill(net, method, optim.sgd(0.1), batch)
    metrics = []
    for layout in ("vmap", "loop"):
        state = ensemble(run).init([0, 1])
        advance = lay(run, Plan(layout, compile="none"))
        metrics.append([advance(state, batch) for _ in range(2)][-1])
        assert metrics[-1]["loss"].isfinite().all()
    torch.testing.assert_close(*metrics)


@pytest.mark.plain
def test_a_masked_step_compiles_in_one_graph():
    batch = _texts()
    run = distill(functional(language), methods.kd(mask="kept"), optim.sgd(0.1), batch)
    torch._dynamo.reset()
    # what the inductor makes of a masked loss, the losses' tests hold
    compiled = torch.compile(partial(step, run), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(run.init(0), batch)[1], step(run, run.init(0), batch)[1])


@pytest.mark.plain
def test_a_mask_that_does_not_fit_is_refused_before_any_work():
    with pytest.raises(ValueError, match="but squared_error takes no keyword `mask`"):
        Term(losses.squared_error, mask="kept")
    batch, net = _texts(), functional(language)

    def refused(message: str, **targets: Tensor) -> None:
        examples = Batch(batch.inputs, {"labels": _labels(), **targets})
        with pytest.raises(ValueError, match=message):
            distill(net, methods.ce(mask="kept"), optim.sgd(), examples)

    refused("term 'ce' wants target 'kept'; these are given: labels")
    refused("term 'ce': cross_entropy: mask must be boolean", kept=KEPT.long())
    refused(r"\(3, 4, 5\) and mask is \(3,\); nothing is broadcast", kept=KEPT[:, 0])

    def mean(student: Tensor, labels: Tensor, *, mask: Tensor) -> Tensor:
        return losses.cross_entropy(student, labels, mask=mask).mean(-1)

    own = {"own": Term(mean, target="labels", mask="kept")}
    message = r"term 'own': .* the value is \(3,\) and the mask is \(3, 4\)"
    with pytest.raises(ValueError, match=message):
        distill(net, own, optim.sgd(), batch)
