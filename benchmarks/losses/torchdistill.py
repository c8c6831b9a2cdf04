"""torchdistill's versions of our losses, as functions of the same tensors."""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from benchmarks.losses.cases import MAP

Loss = Callable[..., Tensor]
PATH = {
    "student_module_path": "m",
    "student_module_io": "output",
    "teacher_module_path": "m",
    "teacher_module_io": "output",
}
SIDE = {"path": "m", "io": "output"}
PAIR = {"p": {"student": SIDE, "teacher": SIDE, "weight": 1}}


class Version(NamedTuple):
    """A loss, and what ours is to be multiplied by to equal it: None where the formula differs, so
    that the values are not to be compared."""

    loss: Loss
    factor: float | None = 1.0


def installed() -> bool:
    return importlib.util.find_spec("torchdistill") is not None


def version(name: str) -> Version | None:
    """torchdistill's version of a loss, or None where it has none or is not installed."""
    if not installed() or name not in VERSIONS:
        return None
    return VERSIONS[name](importlib.import_module("torchdistill.losses.mid_level"))


def _simple(module: Any) -> Loss:
    return lambda s, t, *_: module({"m": {"output": s}}, {"m": {"output": t}})


def _kl_divergence(td: Any) -> Version:
    return Version(_simple(td.KDLoss(**PATH, temperature=1.0, alpha=0.0)))


def _standardized_kl_divergence(td: Any) -> Version:
    # without T²
    return Version(_simple(td.LogitStdKDLoss(**PATH, temperature=2.0, alpha=0.0)), 1 / 4)


def _dist_inter(td: Any) -> Version:
    return Version(_simple(td.DISTLoss(**PATH, gamma=0.0)))


def _attention_transfer(td: Any) -> Version:
    return Version(_simple(td.ATLoss(PAIR, mode="paper")))


def _attention_transfer_squared(td: Any) -> Version:
    return Version(_simple(td.ATLoss(PAIR, mode="code")))


def _activation_boundary(td: Any) -> Version:
    return Version(_simple(td.AltActTransferLoss(PAIR, margin=1.0, reduction="mean")))


def _rkd_distance(td: Any) -> Version:
    return Version(_simple(td.RKDLoss("m", "m", 1.0, 0.0, "mean")))


def _rkd_angle(td: Any) -> Version:
    return Version(_simple(td.RKDLoss("m", "m", 0.0, 1.0, "mean")))


def _similarity(td: Any) -> Version:
    return Version(_simple(td.SPKDLoss("m", "m", "batchmean")), None)


def _pkt(td: Any) -> Version:
    # an example's similarity to itself is one of its probabilities there
    return Version(_simple(td.PKTLoss(**PATH)), None)


def _correlation_congruence(td: Any) -> Version:
    kernel = {"type": "gaussian", "gamma": 0.4, "max_p": 2}
    return Version(_simple(td.CCKDLoss("m", "m", kernel, "batchmean")), None)


def _hierarchical_context(td: Any) -> Version:
    module = td.HierarchicalContextLoss(**PATH)
    return Version(lambda s, t: module({"m": {"output": (s, None)}}, {"m": {"output": t}}))


def _factor_transfer(td: Any) -> Version:
    module, pixels = td.FTLoss(), MAP[0] * MAP[1] * MAP[2]

    def loss(s: Tensor, t: Tensor) -> Tensor:
        return module({"translator": {"output": s}}, {"paraphraser": {"output": t}})

    return Version(loss, 1 / pixels)


def _vid(td: Any) -> Version:
    module = td.VIDLoss(PAIR)

    def loss(s: Tensor, t: Tensor, variance: Tensor) -> Tensor:
        outputs = s, variance.reshape(1, -1, 1, 1)
        return module({"m": {"output": outputs}}, {"m": {"output": t}})

    return Version(loss)


def _fsp(td: Any) -> Version:
    first, second = {"path": "a", "io": "output"}, {"path": "b", "io": "output"}
    module = td.FSPLoss(
        {
            "p": {
                "student_first": first,
                "student_second": second,
                "teacher_first": first,
                "teacher_second": second,
            }
        }
    )

    def loss(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        student = {"a": {"output": a}, "b": {"output": b}}
        return module(student, {"a": {"output": c}, "b": {"output": d}})

    return Version(loss, None)


def _inter_channel_correlation(td: Any) -> Version:
    return Version(_simple(td.ChSimLoss(PAIR)), None)


VERSIONS: dict[str, Callable[[Any], Version]] = {
    "kl_divergence": _kl_divergence,
    "standardized_kl_divergence": _standardized_kl_divergence,
    "dist_inter": _dist_inter,
    "attention_transfer": _attention_transfer,
    "attention_transfer_squared": _attention_transfer_squared,
    "activation_boundary": _activation_boundary,
    "rkd_distance": _rkd_distance,
    "rkd_angle": _rkd_angle,
    "similarity": _similarity,
    "pkt": _pkt,
    "correlation_congruence": _correlation_congruence,
    "hierarchical_context": _hierarchical_context,
    "factor_transfer": _factor_transfer,
    "vid": _vid,
    "fsp": _fsp,
    "inter_channel_correlation": _inter_channel_correlation,
}
