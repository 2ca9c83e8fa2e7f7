"""The page of conversions has the figures of the tables beside it, and they are what it says of them."""

import csv
import re

import pytest

from scripts import convert_applications, own_network
from tests.processes import ROOT

FOLDER = ROOT / "docs/results/convert"
PAGE = (FOLDER / "README.md").read_text()


def rows(name):
    with open(FOLDER / name, newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_is_that_of_the_file_and_has_every_network():
    found = sorted(rows("applications.csv"), key=lambda row: row["network"])
    assert [row["network"] for row in found] == convert_applications.network_names()
    assert convert_applications.table(found) in PAGE


def test_every_network_computes_what_it_did_and_the_smaller_ones_are_trained_and_exported():
    for row in rows("applications.csv"):
        most = convert_applications.ROUNDING.get(row["network"], convert_applications.MOST_DIFFERENT)
        assert float(row["largest_difference"]) < most and float(row["after_loading"]) < most, row["network"]
        done = int(row["converted_parameters"]) <= convert_applications.MOST_TRAINED
        assert bool(row["least_growth"]) == bool(row["tflite_bytes"]) == done
        if done:
            assert float(row["least_growth"]) > 1e-4
            assert float(row["tflite_error"]) < 1e-3


def test_the_accuracies_are_those_of_the_runs():
    found = own_network.read_rows(FOLDER / "own_network.csv")
    summary = own_network.summary(found)
    for side, values in summary["accuracies"].items():
        assert len(values) == 3
        cells = " | ".join(f"{value:.2f}" for value in [*values, summary["means"][side]])
        assert re.search(rf"^\| [^|]* \| {re.escape(cells)} \|$", PAGE, re.MULTILINE), (side, cells)
    for difference in summary["differences"].values():
        assert f"{difference['mean']:+.2f} ± {difference['standard_error']:.2f}" in PAGE


@pytest.mark.parametrize("side", ["continued", "twin"])
def test_the_rates_of_the_test_are_the_best_of_held_out_images(side):
    tried = [row for row in rows("own_network_tuning.csv") if row["side"] == side]
    assert len(tried) >= 4
    best = max(tried, key=lambda row: float(row["top_1"]))["learning_rate"]
    assert {row["learning_rate"] for row in rows("own_network.csv") if row["side"] == side} == {best}


@pytest.mark.parametrize("page", ["docs/convert.md", "docs/results/README.md"])
def test_other_pages_repeat_the_difference(page):
    difference = own_network.summary(own_network.read_rows(FOLDER / "own_network.csv"))["differences"][
        "twin - continued"
    ]
    assert f"{difference['mean']:+.2f} ± {difference['standard_error']:.2f}" in (ROOT / page).read_text()
