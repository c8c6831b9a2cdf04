"""The files of a record, of each kind, and that nothing else is taken for one."""

import json

import pytest
from compare.comparison_records import method, record

from fkd.compare import Teachers, conclusions, files


def of_teachers() -> Teachers:
    runs = [record({"ce": method([0.4, 0.5]), "kd": method([0.5, 0.7])}) for _ in range(2)]
    for seed, run in enumerate(runs):
        run.config["teacher_seed"] = seed
    return Teachers.of(runs)


def test_each_kind_has_files_of_its_own(tmp_path):
    files.write(tmp_path, record({"ce": method([0.4, 0.5])}))
    files.write(tmp_path, of_teachers())
    names = ["results.json", "table.md", "teachers.json", "teachers.md"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_what_is_concluded_stands_beside_what_was_measured(tmp_path):
    results = record({"ce": method([0.4, 0.5]), "kd": method([0.5, 0.7])})
    files.write_numbers(tmp_path, results)
    entry = json.loads((tmp_path / "results.json").read_text())
    assert entry["sentence"] == conclusions.sentence(results)
    assert entry["methods"]["kd"]["differences"]["test_accuracy"]["mean"] == pytest.approx(0.15)
    assert "differences" not in entry["methods"]["ce"]
    del entry["sentence"], entry["methods"]["kd"]["differences"]
    assert entry == json.loads(json.dumps(results.to_json()))


@pytest.mark.plain
@pytest.mark.parametrize("call", [files.write, files.write_numbers, files.write_table, files.draw])
def test_what_is_no_record_is_refused(call, tmp_path):
    with pytest.raises(ValueError, match="record must be Results, Variance or Teachers, but it is"):
        call(tmp_path, {"methods": {}})
    assert not list(tmp_path.iterdir())
