"""Methods of the labelled class: the papers' weights."""

from fkd import methods


def test_the_papers_numbers_are_the_defaults():
    term = methods.dkd()["dkd"]
    assert term.hyper == {"alpha": 1.0, "beta": 8.0, "temperature": 4.0}
    assert list(term.schedules) == ["weight"]
    assert methods.nkd()["nkd"].hyper == {"gamma": 1.5, "temperature": 1.0}
    assert methods.wsld()["wsld"].weight == 2.5
    term = methods.rld()["rld"]
    assert term.hyper == {"alpha": 1.0, "beta": 8.0, "temperature": 4.0}
    assert list(term.schedules) == ["weight"]
    assert methods.ofa()["ofa"].hyper == {"gamma": 1.5}
    term = methods.tf_kd()["tf-kd"]
    assert (term.weight, term.hyper) == (0.1, {"correct": 0.99, "temperature": 20.0})
    assert term.targets == ("labels",)
