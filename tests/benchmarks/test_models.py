import csv

import pytest

from tests import processes


@pytest.mark.slow
@pytest.mark.parametrize("works", [["inference"], ["inference", "saved_model"]])
def test_a_table_of_ratios(works, tmp_path):
    path = tmp_path / "models.csv"
    finished = processes.run(
        "-m",
        "benchmarks.models",
        "--models=condconv_mobilenet_v1",
        "--batch=2",
        f"--work={','.join(works)}",
        "--rounds=3",
        "--input_size=32",
        f"--csv={path}",
        f"--figure={tmp_path / 'models.svg'}",
    )
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["work"], row["batch"]) for row in rows] == [
        ("condconv_mobilenet_v1", work, "2") for work in works
    ]
    assert len([line for line in finished.stdout.splitlines() if line]) == len(works)
    assert f"{works[-1]}, batch 2" in (tmp_path / "models.svg").read_text()
    for row in rows:
        assert float(row["ratio"]) == pytest.approx(float(row["condconv_ms"]) / float(row["plain_ms"]), rel=0.01)
        assert float(row["ratio_low"]) <= float(row["ratio_high"])
        assert float(row["floor"]) > 1
        assert bool(row["to_predict"]) == (row["work"] == "saved_model")
        # Of few pixels, mixing is most of the work.
        assert float(row["madds_ratio"]) == pytest.approx(3.59, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "contains"),
    [
        (["--models=mobilenet_v1"], "unknown CondConv model 'mobilenet_v1'"),
        (["--batch=0"], "--batch expects batch sizes, received: 0"),
        (["--work=evaluation"], "unknown work 'evaluation'"),
        (["--work="], "--work expects some of inference, saved_model, training, unfolded, received none"),
        (["--precision=mixed_bfloat16"], "saved_model is TensorFlow's and in float32"),
        (["--figure=models.jpg"], "--figure expects a .png or .svg file, received: models.jpg"),
    ],
)
def test_bad_flags(arguments, contains):
    processes.assert_refused("-m", "benchmarks.models", *arguments, contains=contains)


@pytest.mark.slow
def test_peak_memory_is_that_of_the_work():
    """Of a training step of 64 images, at least what the activations of the first layers take more than for one."""
    arguments = ("-m", "benchmarks.peak_memory", "--model=mobilenet_v1", "--work=training", "--input_size=64")
    few, many = (int(processes.run(*arguments, f"--batch={batch}").stdout) for batch in (1, 64))
    # Stem and the first block: 32x32 pixels of 32, 32 and 64 channels, convolved and normalized, in float32.
    at_least = 63 * 2 * 4 * 32 * 32 * (32 + 32 + 64) / 1e6
    assert many - few > at_least


@pytest.mark.slow
def test_a_conversion_takes_a_few_times_its_file():
    """Over what running the network takes. The file has 99 MB, nearly all of them experts."""
    arguments = ("-m", "benchmarks.peak_memory", "--model=condconv_mobilenet_v1", "--input_size=64")
    run, converted = (int(processes.run(*arguments, f"--work={work}").stdout) for work in ("inference", "tflite"))
    # 8 times were measured, and 50 with the banks in the graph.
    assert converted - run < 16 * 99
