"""The numbers of docs/when-experts-pay.md and of the study's settings are those of the runs' tables."""

import re

import pytest

from condconv_keras.experiments.gain.settings import Setting
from condconv_keras.utils.files import write_rows
from scripts import gain_page, gain_routing

TEXTS = {page.parent.name: page.read_text(encoding="utf-8") for page in gain_page.PAGES}
_FILES = re.compile(r"<!-- table of ([^\s,]+\.csv)(?:, with dead experts)? -->")
_TABLE = re.compile(r"<!-- table of .*?<!-- end of table -->", re.DOTALL)
# What is no measurement: code, addresses, dates and versions.
_ASIDE = re.compile(r"```.*?```|`[^`]*`|\(https?://[^)]*\)|\d{4}-\d\d-\d\d|<!--.*?-->", re.DOTALL)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_tables_are_those_of_the_files(text):
    assert _FILES.findall(text)
    assert gain_page.filled(text) == text, "run `python -m scripts.gain_page`"


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_every_figure_of_the_prose_is_in_a_table(text):
    tables = " ".join(_TABLE.findall(text))
    known = set(re.findall(r"\d+\.\d+", tables))
    prose = _ASIDE.sub(" ", _TABLE.sub(" ", text))
    unknown = [figure for figure in re.findall(r"\d+\.\d+", prose) if figure not in known]
    assert not unknown, f"figures that no table on the page has: {unknown}"


def test_every_table_of_the_study_is_on_a_page():
    folder = gain_page.ROOT / "docs/results/gain"
    written = {str(path.relative_to(gain_page.ROOT)) for path in folder.rglob("*.csv") if path.stem != "runs"}
    assert written == {file for text in TEXTS.values() for file in _FILES.findall(text)}


def test_a_table_of_runs(tmp_path):
    (tmp_path / "summary.csv").write_text(
        "side,runs,mean,error_of_mean,difference,standard_error,dead_experts,multiply_adds,parameters,seconds\n"
        "plain,5,0.81234,0.001,,,0,100000,1203,60.4\ntwin,5,0.82234,0.002,0.01,0.0025,0,110000,2500,\n"
    )
    text = "a\n<!-- table of summary.csv -->\nold\n<!-- end of table -->\nb\n"
    lines = gain_page.filled(text, tmp_path).splitlines()
    assert lines[:3] == ["a", "<!-- table of summary.csv -->", ""]
    assert lines[5:7] == [
        "| plain | 5 | 81.23 ± 0.10 | - | 0.100 | 1,203 | 0 |",
        "| twin | 5 | 82.23 ± 0.20 | +1.00 ± 0.25 | 0.110 | 2,500 | 0 |",
    ]
    assert lines[-3:] == ["", "<!-- end of table -->", "b"]
    again = "\n".join([*lines, ""])
    assert gain_page.filled(again, tmp_path) == again


def test_networks_that_lost_experts_have_a_table_of_their_own(tmp_path):
    (tmp_path / "summary.csv").write_text(
        "side,runs,mean,error_of_mean,dead_experts,multiply_adds,parameters\n"
        "plain,5,0.5,0.001,,100,10\ntwin,5,0.75,0.002,0,100,20\nexperts_32,5,0.875,0.002,3,100,30\n"
    )
    for marker, names in (("", ["plain", "twin"]), (", with dead experts", ["experts_32"])):
        text = f"<!-- table of summary.csv{marker} -->\n<!-- end of table -->"
        assert re.findall(r"^\| (\w+) \| 5", gain_page.filled(text, tmp_path), re.MULTILINE) == names


def test_first_epochs_of_all_twins(tmp_path, monkeypatch):
    boxes = Setting(dataset="scenes", maker=None, metric="AP", sides={})
    monkeypatch.setattr(gain_page, "SETTINGS", dict.fromkeys(("boxes", "without_runs", "classes"), boxes))
    columns = ["side", "runs", *(f"epoch_{epoch}_{kind}" for epoch in (1, 2, 3) for kind in ("difference", "error"))]
    for name, runs, values in (("boxes", 5, [0.01, 0.0025, 0, 0.005, "", ""]), ("classes", 10, [-0.02, 0.01] * 3)):
        (tmp_path / name).mkdir()
        sides = [["plain", runs, *[""] * 6], ["twin", runs, *values], ["longer", runs, *[0.5] * 6]]
        write_rows(tmp_path / name / "summary.csv", columns, [dict(zip(columns, row, strict=True)) for row in sides])
    text = f"<!-- table of {tmp_path}, first epochs -->\n<!-- end of table -->"
    assert gain_page.filled(text).splitlines()[2:-2] == [
        "| setting | seeds | after epoch 1, points | after epoch 2, points | after epoch 3, points |",
        "|---|---|---|---|---|",
        "| `boxes` | 5 | +1.00 ± 0.25 | +0.00 ± 0.50 | - |",
        "| `classes` | 10 | -2.00 ± 1.00 | -2.00 ± 1.00 | -2.00 ± 1.00 |",
    ]


def test_a_table_of_first_epochs_of_trials(tmp_path):
    (tmp_path / "early.csv").write_text(
        "model,num_experts,flags,runs,held_out_1,held_out_1_error,training_1,training_1_error\n"
        "plain,,--learning_rate=1,3,0.5,0.01,0.25,0.002\ntwin,4,--learning_rate=2,1,0.75,,0.5,\n"
    )
    lines = gain_page.filled("<!-- table of early.csv -->\n<!-- end of table -->", tmp_path).splitlines()
    assert lines[2:-2] == [
        "| network | experts | flags | runs | held-out accuracy after epoch 1, % | in training, epoch 1, % |",
        "|---|---|---|---|---|---|",
        "| plain | - | `--learning_rate=1` | 3 | 50.0 ± 1.0 | 25.0 ± 0.2 |",
        "| twin | 4 | `--learning_rate=2` | 1 | 75.0 | 50.0 |",
    ]


def test_tables_of_a_detector_and_of_times(tmp_path, monkeypatch):
    boxes = Setting(dataset="scenes", maker=None, metric="AP", sides={})
    monkeypatch.setattr(gain_page, "SETTINGS", {"boxes": boxes})
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes/timed.csv").write_text("side,seed,metric,seconds\nplain,0,0.6125,99.96\n")
    text = "<!-- table of boxes/timed.csv -->\n<!-- end of table -->"
    _, _, titles, _, row, *_ = gain_page.filled(text, tmp_path).splitlines()
    assert titles == "| network | seed | AP, % | seconds of training |"
    assert row == "| plain | 0 | 61.25 | 100.0 |"


def test_a_table_of_routers(tmp_path):
    numbers = dict.fromkeys(gain_routing.NUMBERS, 0.25) | {f"{n}_error": 0.0125 for n in gain_routing.NUMBERS}
    row = {"side": "twin", "runs": 5, "layer": "block_1_routing", "experts": 8, "chance_specificity": 0.0125, **numbers}
    write_rows(tmp_path / "routing-twin.csv", gain_routing.COLUMNS, [row])
    text = "<!-- table of routing-twin.csv -->\n<!-- end of table -->"
    line = gain_page.filled(text, tmp_path).splitlines()[4]
    assert line == "| block_1_routing | 0.250 ± 0.013 | 0.013 | 0.250 ± 0.013 | 25.0 ± 1.2 | 25.0 ± 1.2 |"


def test_a_table_that_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        gain_page.filled("<!-- table of no.csv -->\n<!-- end of table -->", tmp_path)
