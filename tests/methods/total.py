"""What the oracles of weights share."""

import torch

from fkd import methods


def total(method: methods.Method, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """The distillation terms of a method of one layer."""
    terms = [term for name, term in method.items() if name != "ce"]
    values = [term.weight * term.loss(student, teacher, **term.hyper).mean() for term in terms]
    return torch.stack(values).sum()
