"""Methods without a teacher of its own: what is matched is in training as well."""

from torch import Tensor, nn

from fkd import losses
from fkd.methods._asked import check_weights
from fkd.methods._term import Build, Context, Method, Term, labels
from fkd.models import cohort

__all__ = ["dml"]


def dml(weight: float = 1.0, ce: float = 1.0, mask: str | None = None) -> Method:
    """Two students of one kind that teach each other: no teacher.

    Each is trained on the labels, and on KL from the other's answers, at T = 1 and with the other
    held constant: L_1 = CE(z_1, y) + KL(p_2 || p_1), and L_2 likewise. `dml` is the sum of the two
    KLs, at one weight; `ce` and `dml-peer` are the cross-entropies of the first and the second, and
    `ce` is the weight of both. Both are updated at once, as in most implementations; the paper's
    algorithm 1 updates the first, asks it once more, and then updates the second.

    The first is the student that is tested, written and compared, and starts as that of any other
    method with its seed does; each seed has a peer of its own, whose initial weights and random
    numbers come from the seed too (`models.cohort`). What is kept after training holds both: the
    student under `student.`, the peer under `peer.`, of which the student alone runs in evaluation.

    Zhang et al., "Deep Mutual Learning" (2018), section 3.

    >>> list(dml())
    ['dml', 'ce', 'dml-peer']
    """
    check_weights("dml", weight=weight)
    others, both = labels("dml", ce, mask), ("logits", "peer_logits")
    term = Term(_mutual, both, (), weight, wrap=_with_a_peer, mask=mask, whole=False)
    peer = Term(losses.cross_entropy, "peer_logits", "labels", ce, mask=mask)
    return {"dml": term} | others | {"dml-peer": peer}


def _with_a_peer(build: Build, context: Context) -> nn.Module:
    return cohort(build)()


def _mutual(student: Tensor, peer: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """KL from the peer to the student and back, each towards the other as it stands."""
    to_student = losses.kl_divergence(student, peer.detach(), mask=mask)
    return to_student + losses.kl_divergence(peer, student.detach(), mask=mask)
