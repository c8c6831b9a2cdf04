"""Methods without a teacher: what is matched is of a network in training, a peer or the student."""

import torch
from torch import Tensor, nn

from fkd import _check, heads, losses
from fkd._check import Scalar
from fkd.methods._asked import check_mask, check_temperature, check_weights
from fkd.methods._term import Build, Context, Method, Term, labels, over_training
from fkd.models import cohort

__all__ = ["cs_kd", "dml", "ps_kd"]


def cs_kd(
    weight: float = 1.0, temperature: float = 4.0, ce: float = 1.0, mask: str | None = None
) -> Method:
    """The student's own answer about another example of the same class, at the authors' weight and
    temperature, beside the labels: no teacher.

    The other is the next example of its class in the batch, and behind the last one the first; its
    answer is held constant. An example that is alone of its class in the batch has none and counts
    for nothing: the mean is that over those that have one, and zero where none has. So batches must
    be large beside the number of classes. Labels are whole numbers, not mixed; under a mask, where
    positions are pixels or tokens, the other is the next position that is kept.

    The authors' code draws another of its class for each example by a sampler, and shows it to the
    student in a pass of its own, without gradient and labels; here each example of a batch is both
    learner and other. The weight is theirs for CIFAR-100, and 3 for fine-grained classes.

    Yun et al., "Regularizing Class-wise Predictions via Self-knowledge Distillation" (2020),
    section 2.

    >>> list(cs_kd())
    ['cs-kd', 'ce']
    """
    check_weights("cs-kd", weight=weight)
    check_temperature("cs-kd", temperature=temperature)
    others, hyper = labels("cs-kd", ce, mask), {"temperature": temperature}
    return {"cs-kd": Term(_class_wise, "logits", "labels", weight, hyper, mask=mask)} | others


def dml(weight: float = 1.0, ce: float = 1.0, mask: str | None = None) -> Method:
    """Two students of one kind that teach each other: no teacher.

    Each is trained on the labels, and on KL from the other's answers, at T = 1 and with the other
    held constant: L_1 = CE(z_1, y) + KL(p_2 || p_1), and L_2 likewise. `dml` is the sum of the two
    KLs and `ce` that of the two cross-entropies, so that each weight is one number for both. Both
    are updated at once, as in most implementations; the paper's algorithm 1 updates the first, asks
    it once more, and then updates the second.

    The first is the student that is tested and compared, and starts as that of any other method
    with its seed does; each seed has a peer of its own, whose initial weights and random numbers
    come from the seed too. What is kept after training is the state of `models.cohort(build)`, as
    simkd's is that of its student with the projector: `build` takes the half behind `student.`
    without that, and in evaluation this half alone runs.

    Zhang et al., "Deep Mutual Learning" (2018), section 3.

    >>> list(dml())
    ['dml', 'ce']
    """
    check_weights("dml", weight=weight, ce=ce)
    check_mask("dml", mask)
    both = "logits", "peer_logits"
    return {
        "dml": Term(_mutual, both, (), weight, wrap=_with_a_peer, mask=mask, whole=False),
        "ce": Term(_labels_of_both, both, "labels", ce, mask=mask, whole=False),
    }


def ps_kd(weight: float = 1.0, alpha: float = 0.8, mask: str | None = None) -> Method:
    """The student's own answers of the epoch before, mixed into the labels more and more: no
    teacher.

    The loss is the cross-entropy against (1 - α_t) y + α_t p_{t-1}, in epoch t of `epochs`, counted
    from 1, with α_t = α t / `epochs`: `alpha` is what is reached in the last epoch, by default the
    paper's. p_{t-1} is what the student said of an example when it was last trained on it
    (`heads.Answers`); the first time the labels stand alone. Labels are whole numbers, not mixed.

    The context must have `examples`, `epochs` and `steps_per_epoch`.

    Kim et al., "Self-Knowledge Distillation with Progressive Refinement of Targets" (2021), section
    3.1.

    >>> list(ps_kd())
    ['ps-kd']
    """
    check_weights("ps-kd", weight=weight)
    _check.plain("ps-kd", alpha=alpha)
    _check.between("ps-kd", 0, 1, alpha=alpha)
    check_mask("ps-kd", mask)
    term = Term(
        _refined,
        target=("labels", "index"),
        weight=weight,
        hyper={"alpha": alpha},
        head=heads.Answers,
        joint=True,
        needs=("examples",),
        schedules={"alpha": over_training},
        mask=mask,
    )
    return {"ps-kd": term}


def _class_wise(
    student: Tensor, labels: Tensor, *, temperature: Scalar, mask: Tensor | None = None
) -> Tensor:
    """KL from the answer about the next position of the same label, as it stands; where there is no
    other, zero. The mean over all positions, or over those that are kept, is that over those with
    another."""
    _check.tensor("cs-kd", student=student, labels=labels)
    if labels.is_floating_point():
        raise ValueError(
            f"cs-kd: labels must hold whole numbers, but their dtype is {labels.dtype}; leave "
            "MixUp and CutMix out, for a mixture has no class that another example shares"
        )
    _check.integral("cs-kd", labels=labels)
    classes = labels.long().flatten()
    places = torch.arange(len(classes), device=labels.device)
    if mask is not None:  # what is left out is of a class of its own
        classes = torch.where(mask.flatten(), classes, -1 - places)
    other = _next_alike(classes)
    paired = other != places
    logits = student.flatten(0, -2)
    answers = logits.detach()[other]
    value = losses.kl_divergence(logits, answers, temperature=temperature, mask=paired)
    kept = len(classes) if mask is None else mask.sum()
    wide = value.to(torch.promote_types(value.dtype, torch.float32))  # bfloat16 holds no count
    return (wide * kept / paired.sum().clamp(min=1)).reshape(labels.shape).to(student.dtype)


def _next_alike(x: Tensor) -> Tensor:
    """The place of the next equal number, and of the last one the first's: of x [n], [n].

    >>> _next_alike(torch.tensor([7, 5, 7, 4, 7]))
    tensor([2, 1, 4, 3, 0])
    """
    order = x.argsort(stable=True)
    row, places = x[order], torch.arange(len(x), device=x.device)
    starts = torch.cat([places[:1] == 0, row[1:] != row[:-1]])
    first = torch.where(starts, places, 0).cummax(0).values
    ends = torch.cat([starts[1:], places[:1] == 0])
    return torch.empty_like(order).scatter(0, order, order[torch.where(ends, first, places + 1)])


def _with_a_peer(build: Build, context: Context) -> nn.Module:
    return cohort(build)()


def _mutual(student: Tensor, peer: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """KL from the peer to the student and back, each towards the other as it stands."""
    to_student = losses.kl_divergence(student, peer.detach(), mask=mask)
    return to_student + losses.kl_divergence(peer, student.detach(), mask=mask)


def _labels_of_both(
    student: Tensor, peer: Tensor, labels: Tensor, *, mask: Tensor | None = None
) -> Tensor:
    """The cross-entropies of the student and its peer."""
    own = losses.cross_entropy(student, labels, mask=mask)
    return own + losses.cross_entropy(peer, labels, mask=mask)


def _refined(
    student: Tensor, labels: Tensor, answers: Tensor, *, alpha: Scalar, mask: Tensor | None = None
) -> Tensor:
    """(1 - α) y + α p against the student; where there is no answer yet, y."""
    _check.between("ps-kd", 0, 1, alpha=alpha)
    known = answers.sum(-1) > 0
    share = alpha * known
    own = losses.cross_entropy(student, answers.masked_fill(~known[..., None], 0.0), mask=mask)
    value = (1 - share) * losses.cross_entropy(student, labels, mask=mask) + share * own
    return value.to(student.dtype)
