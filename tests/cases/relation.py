"""Cases of the losses of relations among the examples of a batch."""

import strategies
from laws import Case

EMBEDDINGS = strategies.related_embeddings()


def _alike(**laws) -> Case:
    """A symmetric divergence of embeddings that knows them up to a rotation and a scale."""
    return Case(
        EMBEDDINGS,
        divergence=True,
        scale=True,
        rotation=True,
        symmetric=True,
        relation=True,
        **laws,
    )


CASES: dict[str, Case] = {
    "cka_distance": _alike(high=10.0),  # 2 B at the largest batch drawn
    "correlation_congruence": _alike(high=1.0)._replace(hyper={"gamma": strategies.eighths(2)}),
    "crd": Case(
        strategies.contrasted_embeddings(),
        {
            "temperature": strategies.temperatures(),
            "share": strategies.eighths(1),
            "student_scale": strategies.eighths(2),
            "teacher_scale": strategies.eighths(2),
        },
        scale=True,
    ),
    "info_nce": Case(
        strategies.embedding_pairs(),
        {"temperature": strategies.temperatures()},
        scale=True,
        relation=True,
    ),
    "pkt": Case(EMBEDDINGS, divergence=True, scale=True, rotation=True, relation=True),
    "rkd_angle": _alike(high=1.5, smooth=1),  # the smooth L1 loss turns at one
    "rkd_distance": _alike(smooth=1),
    "similarity": _alike(high=2.0),  # 4 / B at the smallest batch
}
