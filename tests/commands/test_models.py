import csv
import subprocess
import sys

import pytest

from condconv_keras.commands.models import main
from condconv_keras.models import model_entry
from tests import processes


def test_csv_of_a_fresh_process_is_all_there_is():
    result = processes.run("-m", "models", "mobilenet_v1", "--csv", fresh=True)
    assert (result.returncode, result.stderr) == (0, "")
    (row,) = csv.DictReader(result.stdout.splitlines())
    assert row == {
        "model": "mobilenet_v1",
        "width": "1",
        "input": "224x224x3",
        "parameters": "4231976",
        "of which BN": "21888",
        "multiply-adds": "568.74",
        "convolution": "568.74",
        "mixing": "0.00",
        "routing": "0.00",
        "elementwise": "0.00",
        "paper multiply-adds": "567",
        "difference %": "+0.31",
        "paper top-1 %": "71.9",
        "paper mAP %": "",
    }


def test_a_twin_mixes_kernels_and_routes(zeros, capsys):
    assert main(["condconv_mobilenet_v1", "--csv"]) == 0
    (twin,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert (twin["model"], twin["parameters"], twin["paper top-1 %"]) == ("condconv_mobilenet_v1", "32826824", "73.7")
    # n times the weights of blocks 6 to 13 and the classifier, and the routers from each block's channels:
    # 256 + 6 * 512 + 1024 and the classifier's 1024.
    depthwise, pointwise = 9 * (256 + 6 * 512 + 1024), 256 * 512 + 5 * 512**2 + 512 * 1024 + 1024**2
    mixing, routing = 8 * (depthwise + pointwise + 1024 * 1000), 8 * (256 + 6 * 512 + 1024 + 1024)
    assert (twin["mixing"], twin["routing"]) == (f"{mixing / 1e6:.2f}", f"{routing / 1e6:.2f}")
    assert twin["multiply-adds"] == f"{(568_740_352 + mixing + routing) / 1e6:.2f}"
    assert twin["difference %"] == "+0.23"


def test_table_holds_what_the_csv_file_does(zeros, tmp_path, capsys):
    path = tmp_path / "models.csv"
    assert main(["mobilenet_v1", "--csv", str(path)]) == 0
    assert capsys.readouterr().out == ""
    assert main(["mobilenet_v1"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    written = list(csv.reader(path.open()))
    # A classification model has no mAP.
    assert [header.split("  ")[0].strip(), *row.split(), ""] == ["model", *written[1]]
    assert all(column in header for column in written[0])
    assert [file.name for file in tmp_path.iterdir()] == ["models.csv"]


@pytest.mark.slow
def test_detectors_have_a_line_for_each_width_of_the_paper(zeros, tmp_path):
    paper = model_entry("ssd300_mobilenet_v1").paper
    plain = [(figures.width_multiplier, figures.multiply_adds, figures.accuracy) for figures in paper]
    assert plain == [(1.0, 1230, 20.3), (0.75, 730, 18.2), (0.5, 352, 14.4)]
    path = tmp_path / "models.csv"
    assert main(["condconv_ssd*", "--csv", str(path)]) == 0
    rows = list(csv.DictReader(path.open()))
    columns = ("model", "width", "multiply-adds", "paper multiply-adds", "paper mAP %")
    assert [tuple(row[column] for column in columns) for row in rows] == [
        ("condconv_ssd300_mobilenet_v1", "1", "1279.37", "1280", "22.4"),
        ("condconv_ssd300_mobilenet_v1", "0.75", "751.87", "755", "21.0"),
        ("condconv_ssd300_mobilenet_v1", "0.5", "362.80", "363", "18.0"),
    ]
    for row in rows:
        difference = 100 * float(row["multiply-adds"]) / float(row["paper multiply-adds"]) - 100
        assert float(row["difference %"]) == pytest.approx(difference, abs=0.01)
        assert abs(difference) < 1
        assert (row["input"], row["paper top-1 %"]) == ("300x300x3", "")


@pytest.mark.parametrize("arguments", [["mobilnet_v1"], ["--csv", "condconv_*"], ["--csv", "no/such/folder/a.csv"]])
def test_user_errors_are_one_line(arguments, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert arguments[-1] in captured.err


@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("nothing*", 2)])
def test_help_and_a_wrong_pattern_import_no_keras(argument, code):
    program = f"""
import sys
from condconv_keras.commands.models import main
from condconv_keras.models import model_entry
try:
    code = main([{argument!r}])
except SystemExit as stop:
    code = stop.code
assert code == {code}
assert not {{"keras", "tensorflow", "numpy"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
