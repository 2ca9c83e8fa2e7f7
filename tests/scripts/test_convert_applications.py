"""Every network of keras.applications becomes a CondConv network: the lines of `scripts.convert_applications`."""

import pytest

from scripts import convert_applications
from tests import processes

FAST = ("MobileNet", "MobileNetV2", "MobileNetV3Small")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in convert_applications.network_names() if name not in FAST])
def test_a_network_is_converted(name, tmp_path):
    check(convert_applications.converted_row(name, tmp_path))


@pytest.mark.parametrize("name", FAST)
def test_a_small_network_is_converted(name, tmp_path):
    row = convert_applications.converted_row(name, tmp_path)
    check(row)
    assert row["tflite_bytes"] > 4 * row["converted_parameters"] * 0.9


def check(row):
    assert row["converted"] > 5
    most = convert_applications.ROUNDING.get(row["network"], convert_applications.MOST_DIFFERENT)
    assert row["largest_difference"] < most
    assert row["after_loading"] < most
    assert (row["least_growth"] is None) == (row["converted_parameters"] > convert_applications.MOST_TRAINED)
    if row["least_growth"] is not None:
        assert row["least_growth"] > 1e-4
        assert row["tflite_error"] < 1e-3


def test_there_are_forty_networks():
    assert len(convert_applications.network_names()) == 40


def test_an_unknown_network(tmp_path):
    arguments = (f"--output={tmp_path / 'a.csv'}", "--networks=MobileNetV2,LeNet")
    processes.assert_refused("-m", "scripts.convert_applications", *arguments, contains="'LeNet' is none")
