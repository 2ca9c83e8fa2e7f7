import csv

import pytest

from tests import commands


def test_a_table_of_ratios(tmp_path):
    path = tmp_path / "models.csv"
    finished = commands.run(
        "-m",
        "benchmarks.models",
        "--models=condconv_mobilenet_v1",
        "--batch=1,2",
        "--work=inference",
        "--rounds=3",
        "--input_size=32",
        f"--csv={path}",
    )
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["work"], row["batch"]) for row in rows] == [
        ("condconv_mobilenet_v1", "inference", batch) for batch in ("1", "2")
    ]
    assert len(finished.stdout.splitlines()) == 2
    for row in rows:
        assert float(row["ratio"]) == pytest.approx(float(row["condconv_ms"]) / float(row["plain_ms"]), rel=0.01)
        assert float(row["ratio_low"]) <= float(row["ratio_high"])
        # Of few pixels, mixing is most of the work.
        assert float(row["madds_ratio"]) == pytest.approx(3.59, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "contains"),
    [
        (["--models=mobilenet_v1"], "unknown CondConv model 'mobilenet_v1'"),
        (["--batch=0"], "--batch expects batch sizes, received: 0"),
        (["--work=evaluation"], "unknown work 'evaluation'"),
    ],
)
def test_bad_flags(arguments, contains):
    commands.assert_refused("-m", "benchmarks.models", *arguments, contains=contains)
