import csv
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from condconv_keras.data import Preprocessing
from condconv_keras.tasks.classification import reports
from condconv_keras.tasks.classification.metrics import evaluate
from condconv_keras.utils.errors import UserError

# A file as timm keeps it (results/results-imagenet.csv).
TIMM = """model,img_size,top1,top1_err,top5,top5_err,param_count,crop_pct,interpolation
resnet50.a1_in1k,224,80.216,19.784,94.584,5.416,25.56,0.950,bicubic
"""
NAMES = ["cat, tame", 'a "dog"', "cow"]


@pytest.fixture(scope="module")
def metrics():
    """Labels 0 0 0 0 1 1, predicted 0 0 0 1 1 0; nothing is a cow."""
    probabilities = np.eye(3)[[0, 0, 0, 1, 1, 0]]
    return evaluate(lambda images: images, [(probabilities, np.array([0, 0, 0, 0, 1, 1]))])


def _row(metrics, parameters=25557032, input_size=(224, 224)):
    preprocessing = Preprocessing(input_size=input_size, channels=3, mean=0, std=1, crop_fraction=0.875)
    return reports.results_row("runs/a, b", metrics, preprocessing, parameters)


def _read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_the_rows_of_the_classes(metrics, tmp_path):
    reports.write_per_class(tmp_path / "new/classes.csv", metrics.per_class, NAMES)
    assert _read(tmp_path / "new/classes.csv") == [
        ["class", "name", "support", "precision", "recall", "f1", "top_1"],
        ["0", "cat, tame", "4", "0.750000", "0.750000", "0.750000", "0.750000"],
        ["1", 'a "dog"', "2", "0.500000", "0.500000", "0.500000", "0.500000"],
        ["2", "cow", "0", "0.000000", "0.000000", "0.000000", "0.000000"],
    ]


def test_the_confusion_matrix(metrics, tmp_path):
    reports.write_confusion(tmp_path / "confusion.csv", metrics.confusion, NAMES)
    assert _read(tmp_path / "confusion.csv") == [
        ["class", *NAMES],
        ["cat, tame", "3", "1", "0"],
        ['a "dog"', "1", "1", "0"],
        ["cow", "0", "0", "0"],
    ]


def test_a_row_in_the_units_of_timm(metrics):
    expected = ("runs/a, b", "224", "66.667", "33.333", "100.000", "0.000", "25.56", "0.875", "bicubic")
    assert _row(metrics) == expected
    assert _row(metrics, parameters=None, input_size=(96, 128))[1] == "96x128"
    assert _row(metrics, parameters=None)[6] == ""


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_rows_are_added_to_a_file_of_timm(metrics, tmp_path, end):
    path = tmp_path / "results.csv"
    path.write_text(TIMM.rstrip("\n") + end, newline="")
    reports.append_results(path, _row(metrics))
    assert _read(path) == [*csv.reader(TIMM.splitlines()), list(_row(metrics))]
    assert list(tmp_path.iterdir()) == [path]


def test_rows_are_added_to_a_file_that_a_spreadsheet_has_saved(metrics, tmp_path):
    path = tmp_path / "results.csv"
    before = TIMM.replace("\n", "\r\n").encode("utf-8-sig")
    path.write_bytes(before)
    reports.append_results(path, _row(metrics))
    assert path.read_bytes().startswith(before)
    assert _read(path)[-1] == list(_row(metrics))


@pytest.mark.parametrize("exists", [False, True])
def test_a_new_or_empty_file_gets_the_header(metrics, tmp_path, exists):
    path = tmp_path / "new/results.csv"
    if exists:
        path.parent.mkdir()
        path.touch()
    for _ in range(2):
        reports.append_results(path, _row(metrics))
    assert _read(path) == [TIMM.splitlines()[0].split(","), list(_row(metrics)), list(_row(metrics))]


@pytest.mark.parametrize("content", [b"model,top1\nx,1\n", b"\n", b"\xff\xfe", TIMM.replace("top1,", "top1;").encode()])
def test_a_file_of_another_kind_stays_as_it_is(metrics, tmp_path, content):
    path = tmp_path / "results.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"expected a (CSV )?file"):
        reports.check_results(path)
    with pytest.raises(UserError, match=r"expected a (CSV )?file"):
        reports.append_results(path, _row(metrics))
    assert path.read_bytes() == content


def test_writers_at_the_same_time_lose_no_row(tmp_path):
    path = tmp_path / "results.csv"
    names = [f"model {i}" for i in range(80)]
    rest = ["1"] * (len(reports.RESULTS_COLUMNS) - 1)
    # The lock belongs to an open folder, not to a process: threads meet it as processes do.
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: reports.append_results(path, (name, *rest)), names))
    _, *rows = _read(path)
    assert sorted(row[0] for row in rows) == sorted(names)
