"""Any `nn.Module` as a pair of pure functions, with its random numbers explicit.

What torch keeps inside a module (parameters, running statistics) or beside it (the state of its
generators) is an argument and a result here, so that one model can be many students by
`torch.func.vmap`.
"""

from fkd._random import Key
from fkd.model._door import check, lightly, outputs_like
from fkd.model._model import Apply, Model, functional, state_dict
from fkd.model._outputs import Tensors, arguments, by_name, keywords

__all__ = [
    "Apply",
    "Key",
    "Model",
    "Tensors",
    "arguments",
    "by_name",
    "check",
    "functional",
    "keywords",
    "lightly",
    "outputs_like",
    "state_dict",
]
