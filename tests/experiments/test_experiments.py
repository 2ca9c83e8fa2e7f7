"""The runner with real trainings of one epoch."""

import csv

import pytest

from tests import processes

TABLE = """model,width_multiplier,num_experts,seed,flags
mobilenet_v1,0.25,,0,
mobilenet_v1,0.25,,1,
condconv_mobilenet_v1,0.25,2,0,--start_block=12 --nocondconv_classifier
"""


def rows(path):
    with open(path) as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_study_goes_on_with_what_is_missing(tmp_path):
    (tmp_path / "runs.csv").write_text(TABLE)
    study = tmp_path / "study"
    command = ("-m", "experiments", "--jobs=2", f"--table={tmp_path / 'runs.csv'}", f"--output_dir={study}")
    common = ("--", "--dataset=digits", "--epochs=1", "--input_size=32")
    processes.run(*command, *common)
    first = rows(study / "results.csv")
    assert len(first) == 3
    results = study / "mobilenet_v1-width_0.25-seed_1" / "results.json"
    kept = study / "mobilenet_v1-width_0.25-seed_0" / "results.json"
    results.unlink()
    before = kept.stat().st_mtime_ns
    finished = processes.run(*command, *common)
    assert "run 2 of 3" in finished.stderr and "run 1 of 3" not in finished.stderr
    assert kept.stat().st_mtime_ns == before
    again = rows(study / "results.csv")
    assert [row["metric"] for row in again] == [row["metric"] for row in first]
    assert "mobilenet_v1" in finished.stdout
    summary = rows(study / "summary.csv")
    assert [int(row["runs"]) for row in summary] == [2, 1]
    mean = (float(first[0]["metric"]) + float(first[1]["metric"])) / 2
    assert float(summary[0]["mean"]) == pytest.approx(mean)
    assert float(summary[1]["multiply_adds"]) > float(summary[0]["multiply_adds"])
    assert all((study / f"accuracy.{kind}").stat().st_size > 1000 for kind in ("png", "svg"))


def test_a_run_that_fails_is_named(tmp_path):
    (tmp_path / "runs.csv").write_text("model,width_multiplier,num_experts,seed,flags\nmobilenet_v1,,,0,--epochs=-1\n")
    command = ("-m", "experiments", f"--table={tmp_path / 'runs.csv'}", f"--output_dir={tmp_path / 'study'}")
    finished = processes.run(*command, check=False)
    assert finished.returncode == 2
    assert "error: 1 of 1 runs failed, their messages are above: mobilenet_v1-epochs_1-seed_0" in finished.stderr
    assert "--epochs must be" in finished.stderr


def test_a_table_that_is_missing(tmp_path):
    arguments = ("--table=/nowhere.csv", f"--output_dir={tmp_path / 'study'}")
    environment = processes.without_frameworks(tmp_path)
    processes.assert_refused("-m", "experiments", *arguments, contains="/nowhere.csv", **environment)
    assert not (tmp_path / "study").exists()
