"""Methods of other divergences: the papers' numbers, and what is no number for them."""

import pytest

from fkd import methods


def test_the_papers_numbers_are_the_defaults():
    assert methods.skew_kl()["skew-kl"].hyper == {"skew": 0.1}
    assert methods.skew_reverse_kl()["skew-reverse-kl"].hyper == {"skew": 0.1}
    assert methods.akl()["akl"].hyper == {"mass": 0.5}
    assert methods.abkd()["abkd"].hyper == {"alpha": 0.2, "beta": 0.7}
    assert methods.top_k_kl(k=3)["top-k-kl"].hyper == {"k": 3}


def test_a_share_that_is_none_or_all_is_refused():
    with pytest.raises(ValueError, match="skew-kl: skew must be above zero"):
        methods.skew_kl(skew=0.0)
    with pytest.raises(ValueError, match=r"akl: mass must lie in \[0, 1\), but it is 1.0"):
        methods.akl(mass=1.0)
    with pytest.raises(ValueError, match=r"abkd: alpha \+ beta must be above zero"):
        methods.abkd(alpha=0.0, beta=0.0)
    with pytest.raises(ValueError, match=r"top-k-kl: k must lie in \[1, .*\], but it is 0.5"):
        methods.top_k_kl(k=0.5)
