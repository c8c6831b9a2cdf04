"""fkd: functional knowledge distillation for PyTorch.

    from fkd import losses, methods, optim
    from fkd.distillation import distill, step
    from fkd.ensemble import ensemble, member
    from fkd.model import functional

This file imports nothing, so `fkd.losses` stands alone and loads no training code.
"""
