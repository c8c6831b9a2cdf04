"""Methods of correlations: the authors' weights."""

import torch
import torch.nn.functional as F

from fkd import methods
from methods.total import total


def test_mlld_has_its_authors_weights():
    # 0.9 of each term at each temperature, times the share of a mask that lets half through
    student, teacher = torch.randn(2, 8, 5)
    expected = torch.tensor(0.0)
    for temperature in (2.0, 3.0, 4.0, 5.0, 6.0):
        q, p = (F.softmax(x / temperature, -1) for x in (student, teacher))
        kl = temperature**2 * F.kl_div(q.log(), p, reduction="batchmean")
        batch = (q @ q.T - p @ p.T).square().sum() / 8
        expected = expected + 0.9 * 0.5 * (kl + batch)
    method = {name: t for name, t in methods.mlld().items() if "class" not in name}
    torch.testing.assert_close(total(method, student, teacher), expected)
    assert method["ce"].weight == 0.1
