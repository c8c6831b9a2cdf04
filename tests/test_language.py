"""Text classifiers and language models of Hugging Face, distilled in the README's style."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from module_kinds import CLASSES, WORDS, bert, gpt2, words
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from fkd import methods, optim
from fkd.data import Batch, Streamed
from fkd.distillation import distill, step, student_of
from fkd.ensemble import ensemble, member
from fkd.execution import why_not_vmap
from fkd.export import member_state_dict
from fkd.model import functional
from fkd.teachers import teacher_of_module
from fkd.train import Students, train

pytest.importorskip("transformers")
STEPS = 10


def without_dropout(build: Callable[[], nn.Module]) -> nn.Module:
    module = build().double()
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return module


def taught(build: Callable[[], nn.Module], labels: Tensor, *names: str) -> Batch:
    """A batch with what a network of another seed, which speaks up, says of it."""
    torch.manual_seed(1)
    module = without_dropout(build)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(4)
    outputs = teacher_of_module(module, names=names)(words())
    return Batch(words(), {"labels": labels, **outputs})


def test_a_classifier_of_texts_is_distilled_with_its_dropouts_and_mask():
    batch = taught(bert, torch.arange(4) % CLASSES, "logits", "hidden_states.1")
    method = methods.kd(weight=0.5, temperature=4.0, ce=0.5)
    method |= {"state": methods.hint(layer="hidden_states.1")["hint"]}
    student = functional(lambda: bert().double())
    run = ensemble(distill(student, method, optim.adamw(1e-2), batch))
    state, losses = run.init([0, 1, 2]), []
    for _ in range(STEPS):
        state, metrics = step(run, state, batch)
        losses.append(metrics["loss"])
    assert (losses[-1] < losses[0]).all() and len(set(losses[0].tolist())) == 3
    best = bert().double()
    best.load_state_dict(member_state_dict(student.build, *student_of(state), member=1))


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # torch's attention
@pytest.mark.parametrize("build", [bert, gpt2])
def test_vmap_takes_own_batches_of_texts_by_a_mask_of_four_axes(build):
    ids, mask = words()["input_ids"], words()["attention_mask"].bool()
    inputs = {"input_ids": torch.stack([ids, ids.flip(0)])}
    masks = torch.stack([mask, torch.ones_like(mask)])  # the second hides nothing
    wide = masks[:, :, None, None]
    labels = inputs["input_ids"] if build is gpt2 else torch.arange(4).expand(2, 4) % CLASSES
    if build is gpt2:
        length = ids.shape[1]
        wide = wide & torch.ones(length, length, dtype=torch.bool).tril()
    flat = Batch(inputs | {"attention_mask": masks}, {"labels": labels})
    own = flat._replace(inputs=inputs | {"attention_mask": wide})
    student = functional(lambda: without_dropout(build))
    run = distill(student, methods.ce(), optim.sgd(0.1), member(flat, 0))
    students = ensemble(run, order="own")
    state = students.init([0, 1])
    # Of the other it looks into the numbers, whether it hides anything at all.
    assert "Model" in str(why_not_vmap(run, state, flat, "own"))
    assert why_not_vmap(run, state, own, "own") is None
    _, metrics = step(students, state, own)
    alone = [step(run, member(state, k), member(flat, k))[1]["loss"] for k in (0, 1)]
    torch.testing.assert_close(metrics["loss"], torch.stack(alone))


def plain_loop(batch: Batch, kept: Tensor, seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    net = without_dropout(gpt2)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    for _ in range(STEPS):
        logits = net(**batch.inputs).logits
        target = F.softmax(batch.targets["logits"][kept] / 2, -1)
        soft = F.cross_entropy(logits[kept] / 2, target) * 4
        hard = F.cross_entropy(logits[kept], batch.targets["labels"][kept])
        optimizer.zero_grad()
        (0.75 * hard + 0.25 * soft).backward()
        optimizer.step()
    return net.state_dict()


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # torch's attention
def test_a_tied_language_model_is_torchs_loop_over_the_words_that_count():
    kept = words()["attention_mask"].bool()
    following = words()["input_ids"].roll(-1, 1).masked_fill(~kept, -100)
    batch = taught(gpt2, following, "logits")
    batch = Batch(batch.inputs, {**batch.targets, "kept": kept})
    model = functional(lambda: without_dropout(gpt2))
    optimizer = optim.sgd(0.1, momentum=0.9)
    run = ensemble(distill(model, methods.kd(mask="kept"), optimizer, batch))
    state = run.init([0, 1])
    for _ in range(STEPS):
        state, _ = step(run, state, batch)
    params, buffers = student_of(state)
    assert "lm_head.weight" not in params  # it is the embedding
    assert params["transformer.wte.weight"].shape == (2, WORDS, 8)
    for k in (0, 1):
        outputs = member_state_dict(model.build, params, buffers, member=k)
        expected = plain_loop(batch, kept, seed=k)
        assert outputs.keys() == expected.keys() and "lm_head.weight" in outputs
        for name, value in outputs.items():
            torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-7)


class MeanOfWords(nn.Module):
    """A classifier of the mean of a text's words, of which 0 is none."""

    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(WORDS, 5), nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        kept = (x > 0).double().unsqueeze(-1)
        return self.head((self.words(x) * kept).sum(1) / kept.sum(1))


def padded(texts: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """A batch as long as its longest text."""
    words, labels = zip(*texts, strict=True)
    return pad_sequence(list(words), batch_first=True), torch.stack(labels)


def ragged() -> Streamed:
    texts = [(1 + torch.arange(2 + k % 5) % 7, torch.tensor(k % CLASSES)) for k in range(9)]
    return Streamed(DataLoader(texts, batch_size=2, collate_fn=padded))  # type: ignore[arg-type]


def test_batches_of_padded_texts_may_be_of_other_lengths_in_every_step():
    source, model = ragged(), functional(lambda: MeanOfWords().double())
    feeds = list(source.feeds(0, 0))
    assert len({feed.inputs.shape for feed in feeds}) > 1
    run = distill(model, methods.ce(), optim.sgd(0.125), source.read(feeds[0]))
    *_, at = train({"ce": Students(run, [3, 4])}, source, epochs=1)
    for k, seed in enumerate((3, 4)):
        torch.manual_seed(seed)
        net = MeanOfWords().double()
        optimizer = torch.optim.SGD(net.parameters(), 0.125)
        for feed in feeds:
            optimizer.zero_grad()
            F.cross_entropy(net(feed.inputs), feed.targets["labels"]).backward()
            optimizer.step()
        outputs = member_state_dict(model.build, *student_of(at.states["ce"]), member=k)
        for name, value in net.state_dict().items():
            torch.testing.assert_close(outputs[name], value, rtol=0, atol=1e-12)


@pytest.mark.plain
def test_members_with_orders_of_their_own_cannot_read_batches_of_other_lengths_together():
    source = ragged()
    batch = next(source.in_order(2))
    run = distill(functional(lambda: MeanOfWords().double()), methods.ce(), optim.sgd(0.1), batch)
    with pytest.raises(ValueError, match=r"order=.own. .* must have one shape, .* order=.shared."):
        list(train({"ce": Students(run, [3, 4])}, source, epochs=1, order="own"))
