"""The laws of fkd's losses, to hold a loss of your own to them: needs `fkd[testing]`.

    from fkd.testing import Case, laws, strategies
    from mine import my_loss

    test_my_loss = laws(my_loss, Case(strategies.logit_pairs(), divergence=True, shift=True))

The row says what the loss takes and what is true of it; pytest then runs each law that holds for
all losses, and each that the row claims, as a test of its own. `check(my_loss, case)` does so
without pytest's collection. `LAWS` is the table.
"""

try:
    import hypothesis as hypothesis
    import pytest as pytest
except ImportError as error:
    raise ImportError(
        "fkd.testing needs hypothesis and pytest: pip install 'fkd[testing]'"
    ) from error

from fkd.testing import strategies
from fkd.testing._case import Case
from fkd.testing._laws import LAWS, Law, check, claims, laws

__all__ = ["LAWS", "Case", "Law", "check", "claims", "laws", "strategies"]
