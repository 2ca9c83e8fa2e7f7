"""The benchmark of the `.tflite` files: what it writes, what it computes from times, and its command."""

import csv
import io
import re

import numpy as np
import pytest

from benchmarks import twins
from condconv_keras.models import list_models
from condconv_keras.serving.litert import LiteRTModel
from condconv_keras.stored.registered import Untrained
from tests import processes


def row(**changes):
    fields = {
        "model": "condconv_mobilenet_v1",
        "mode": "dynamic",
        "kernels": twins.RUN_TIME,
        "threads": 1,
        "plain_bytes": 1_000_000,
        "condconv_bytes": 3_260_000,
        "plain_median": 2.0,
        "plain_min": 1.5,
        "condconv_median": 3.0,
        "condconv_min": 2.5,
        "ratio": 1.5,
        "ratio_low": 1.25,
        "ratio_high": 1.75,
    }
    return twins.Row(**{**fields, **changes})


def test_every_condconv_model_has_its_plain_network():
    pairs = {name: twins.plain_name(name) for name in list_models("condconv_*", task="classification")}
    assert pairs.pop("condconv_efficientnet_b0_4e") == "efficientnet_b0"
    plain = [name for name in list_models(task="classification") if not name.startswith("condconv_")]
    assert pairs == {f"condconv_{name}": name for name in plain}


def test_calls_take_turns_and_the_first_rounds_do_not_count(monkeypatch):
    order, clock = [], [0.0]

    def call(name, seconds):
        order.append(name)
        clock[0] += seconds if order.count(name) > twins._WARM_UP else 1000

    monkeypatch.setattr(twins.time, "perf_counter", lambda: clock[0])
    times = twins.interleaved_times({"a": lambda: call("a", 0.25), "b": lambda: call("b", 0.5)}, rounds=5)
    assert order == ["a", "b"] * (twins._WARM_UP + 5)
    assert times == {"a": [250] * 5, "b": [500] * 5}


def test_a_row_has_the_statistics_of_the_rounds(tmp_path):
    files = {form: tmp_path / form for form in (twins.PLAIN, twins.STATIC)}
    for size, path in zip((7, 21), files.values(), strict=True):
        path.write_bytes(bytes(size))
    rng = np.random.default_rng(0)
    plain, condconv = rng.uniform(1, 2, (2, 19))
    found = twins.compare("m", "int8", twins.STATIC, 2, files, {twins.PLAIN: plain, twins.STATIC: condconv})
    assert (found.model, found.mode, found.kernels, found.threads) == ("m", "int8", twins.STATIC, 2)
    assert (found.plain_bytes, found.condconv_bytes) == (7, 21)
    assert found.plain_median == pytest.approx(np.median(plain))
    assert found.condconv_median == pytest.approx(np.median(condconv))
    assert (found.plain_min, found.condconv_min) == (plain.min(), condconv.min())
    assert found.ratio == pytest.approx(np.median(condconv) / np.median(plain))
    quartiles = np.quantile(condconv / plain, (0.25, 0.75), method="weibull")
    np.testing.assert_allclose((found.ratio_low, found.ratio_high), quartiles)


def test_csv_holds_every_row():
    rows = [row(), row(threads=2, ratio=2 / 3)]
    read = list(csv.DictReader(io.StringIO(twins.to_csv(rows))))
    assert [r["threads"] for r in read] == ["1", "2"]
    assert [r["ratio"] for r in read] == ["1.5", "0.6667"]
    assert read[0]["condconv_bytes"] == "3260000"


def test_the_table_has_a_line_per_file_and_columns_per_number_of_threads():
    rows = [row(), row(threads=2, ratio=1.125), row(kernels=twins.STATIC, condconv_bytes=4_000_000)]
    rows.append(row(kernels=twins.STATIC, threads=2, condconv_bytes=4_000_000))
    titles, _, first, second = twins.table(rows).splitlines()
    assert "1 thread |" in titles and "2 threads |" in titles
    assert first.startswith(
        "| `condconv_mobilenet_v1` | dynamic | run time | 1.0 | 3.3 | 2.0 | 3.0 | 1.50 (1.25-1.75) |"
    )
    assert "1.12 (" in first
    assert "| static | 1.0 | 4.0 |" in second
    assert len({line.count("|") for line in (titles, first, second)}) == 1


@pytest.mark.slow
def test_files_are_written_and_measured(tmp_path):
    files = {}
    for name, form, experts in (
        ("mobilenet_v1", twins.PLAIN, {}),
        ("condconv_mobilenet_v1", twins.RUN_TIME, {"num_experts": 2}),
    ):
        source = Untrained(name, input_size=32, width_multiplier=0.25, **experts)
        written = twins.write_files(tmp_path, source, [form], "dynamic")
        assert list(written) == [form]
        files |= written
    for path in files.values():
        assert LiteRTModel(path).input.shape == (1, 32, 32, 3)
    (found,) = twins.measure("condconv_mobilenet_v1", "dynamic", files, threads=1, rounds=4)
    # 8-bit weights: 0.47 million of the plain network, and up to twice as many of two experts.
    assert 0.4e6 < found.plain_bytes < 0.7e6
    assert 1.3 < found.condconv_bytes / found.plain_bytes < 2.2
    assert 0 < found.plain_min <= found.plain_median
    assert 0 < found.condconv_min <= found.condconv_median


@pytest.mark.parametrize(
    ("flag", "named"),
    [
        ("--models=mobilenet_v1", "mobilenet_v1"),
        ("--modes=float8", "float8"),
        ("--threads=none", "none"),
    ],
)
def test_bad_flags_are_refused_at_once(tmp_path, flag, named):
    environment = processes.without_frameworks(tmp_path)
    processes.assert_refused("-m", "benchmarks.tflite", flag, contains=named, **environment)


@pytest.mark.slow
def test_the_command_writes_tables_and_keeps_the_files(tmp_path):
    finished = processes.run(
        "-m",
        "benchmarks.tflite",
        "--models=condconv_mobilenet_v1",
        "--width_multiplier=0.25",
        "--num_experts=2",
        "--input_size=32",
        "--modes=none,int8",
        "--threads=1",
        "--rounds=4",
        "--static_kernels",
        f"--csv={tmp_path / 'rows.csv'}",
        f"--output_dir={tmp_path / 'files'}",
    )
    lines = finished.stdout.splitlines()
    assert lines[0].startswith("python -m benchmarks.tflite --models=condconv_mobilenet_v1 ")
    assert re.match(r"\d{4}-\d\d-\d\d, .+, \d+ cores, ai-edge-litert [\d.]+, tensorflow [\d.]+$", lines[1])
    assert len(lines) == 3 + 2 + 4
    with open(tmp_path / "rows.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = [(r["mode"], r["kernels"], r["threads"]) for r in rows]
    assert kinds == [(mode, form, "1") for mode in ("none", "int8") for form in (twins.RUN_TIME, twins.STATIC)]
    sizes = {path.stat().st_size for path in (tmp_path / "files" / "condconv_mobilenet_v1").iterdir()}
    assert sizes == {int(r[name]) for r in rows for name in ("plain_bytes", "condconv_bytes")}
