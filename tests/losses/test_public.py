"""Losses stand alone: importing them loads no training code and no optional package."""

import subprocess
import sys


def test_importing_losses_loads_nothing_else():
    script = (
        "import sys; from fkd import losses; "
        "ours = {m for m in sys.modules if m.startswith('fkd') and 'fkd.losses' not in m}; "
        "assert ours == {'fkd', 'fkd._check'}, ours; "
        "assert not {'sklearn', 'scipy', 'matplotlib', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)
