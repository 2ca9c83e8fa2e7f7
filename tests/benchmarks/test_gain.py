"""The benchmark of a comparison's networks: what it adds to the summary, and what it refuses."""

import csv
import json

import pytest

from benchmarks import gain
from condconv_keras import card_of, create_model
from condconv_keras.experiments.gain import results
from condconv_keras.model_card import save_model
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import write_rows
from tests import processes

SIDES = {"plain": {"name": "separable_cnn"}, "twin": {"name": "condconv_separable_cnn", "num_experts": 2}}


def summary(root, sides=SIDES):
    rows = [{"side": side, "runs": 1, "mean": 0.5} for side in sides]
    write_rows(root / "summary.csv", results.SUMMARY, rows)


def finish(root, sides=SIDES):
    for side in sides:
        (root / f"{side}-seed_0").mkdir()
        (root / f"{side}-seed_0/results.json").write_text(json.dumps({"top_1": 0.5}))


def test_rows_get_the_median_and_the_size(tmp_path):
    files = {"plain": tmp_path / "a", "twin": tmp_path / "b"}
    files["plain"].write_bytes(bytes(7))
    files["twin"].write_bytes(bytes(21))
    times = {"plain": [1.0, 9.0, 2.00004], "twin": [3.0, 4.0]}
    plain, twin = gain.with_measurements([{"side": "plain", "runs": "5"}, {"side": "twin", "runs": "5"}], files, times)
    assert plain == {"side": "plain", "runs": "5", "milliseconds": 2.0, "tflite_bytes": 7}
    assert (twin["milliseconds"], twin["tflite_bytes"]) == (3.5, 21)


def test_what_is_no_finished_comparison_is_named(tmp_path):
    with pytest.raises(UserError, match=r"--runs to hold the summary.csv of a comparison"):
        gain.summary_of(tmp_path)
    summary(tmp_path)
    finish(tmp_path, ["plain"])
    with pytest.raises(UserError, match=r"expected a finished run 'twin-seed_0' in "):
        gain.summary_of(tmp_path)
    finish(tmp_path, ["twin"])
    columns, rows = gain.summary_of(tmp_path)
    assert columns == list(results.SUMMARY)
    assert [row["side"] for row in rows] == list(SIDES)
    (tmp_path / "summary.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"expected the column 'side' in .*summary.csv', received: a, b"):
        gain.summary_of(tmp_path)


def test_a_wrong_folder_is_refused_at_once(tmp_path):
    environment = processes.without_frameworks(tmp_path)
    arguments = ("-m", "benchmarks.gain", f"--runs={tmp_path}")
    processes.assert_refused(*arguments, contains="--runs to hold the summary.csv", **environment)


@pytest.mark.slow
def test_the_command_measures_every_side(tmp_path):
    summary(tmp_path)
    finish(tmp_path)
    for side, arguments in SIDES.items():
        model = create_model(**arguments, input_shape=(32, 32, 1), classes=10)
        save_model(model, card_of(model), tmp_path / f"{side}-seed_0/model.keras")
    finished = processes.run("-m", "benchmarks.gain", f"--runs={tmp_path}", "--rounds=20")
    with open(tmp_path / "summary.csv", newline="") as file:
        plain, twin = csv.DictReader(file)
    assert float(plain["milliseconds"]) > 0 and float(twin["milliseconds"]) > 0
    # 4 bytes of each weight that is in the file: 2,497 kernels and biases, and twice nearly all of them.
    assert 10_000 < int(plain["tflite_bytes"]) < int(twin["tflite_bytes"])
    assert f"{int(twin['tflite_bytes']):,} bytes  twin" in finished.stdout
    assert plain["mean"] == "0.5"
