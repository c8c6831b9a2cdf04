"""Methods without a teacher: what is matched is of a network in training, a peer or the student."""

from torch import Tensor, nn

from fkd import _check, heads, losses
from fkd._check import Scalar
from fkd.methods._asked import check_mask, check_weights
from fkd.methods._term import Build, Context, Method, Term, labels, over_training
from fkd.models import cohort

__all__ = ["dml", "ps_kd"]


def dml(weight: float = 1.0, ce: float = 1.0, mask: str | None = None) -> Method:
    """Two students of one kind that teach each other: no teacher.

    Each is trained on the labels, and on KL from the other's answers, at T = 1 and with the other
    held constant: L_1 = CE(z_1, y) + KL(p_2 || p_1), and L_2 likewise. `dml` is the sum of the two
    KLs, at one weight; `ce` and `dml-peer` are the cross-entropies of the first and the second, and
    `ce` is the weight of both. Both are updated at once, as in most implementations; the paper's
    algorithm 1 updates the first, asks it once more, and then updates the second.

    The first is the student that is tested and compared, and starts as that of any other method
    with its seed does; each seed has a peer of its own, whose initial weights and random numbers
    come from the seed too. What is kept after training is the state of `models.cohort(build)`, as
    simkd's is that of its student with the projector: `build` takes the half behind `student.`
    without that, and in evaluation this half alone runs.

    Zhang et al., "Deep Mutual Learning" (2018), section 3.

    >>> list(dml())
    ['dml', 'ce', 'dml-peer']
    """
    check_weights("dml", weight=weight)
    others, both = labels("dml", ce, mask), ("logits", "peer_logits")
    term = Term(_mutual, both, (), weight, wrap=_with_a_peer, mask=mask, whole=False)
    peer = Term(losses.cross_entropy, "peer_logits", "labels", ce, mask=mask)
    return {"dml": term} | others | {"dml-peer": peer}


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


def _with_a_peer(build: Build, context: Context) -> nn.Module:
    return cohort(build)()


def _mutual(student: Tensor, peer: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """KL from the peer to the student and back, each towards the other as it stands."""
    to_student = losses.kl_divergence(student, peer.detach(), mask=mask)
    return to_student + losses.kl_divergence(peer, student.detach(), mask=mask)


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
