"""`make demo`'s tables and its check; `make demo` itself takes minutes."""

import csv
import json
import pathlib
import re
import shlex
import subprocess

import pytest

from condconv_keras.experiments.gain.study import SETTINGS
from scripts import demo
from tests.processes import ROOT

SIDES = [
    {"side": "plain", "mean": 0.9, "multiply_adds": 34_567, "parameters": 700},
    {"side": "twin", "mean": 0.92, "multiply_adds": 38_901, "parameters": 4_321},
]


def test_the_table_of_the_gain():
    gain = {"plain": [0.9, 0.85, 0.95], "twin": [0.95, 0.84, 0.97], "sides": SIDES, "seeds": 3}
    table = demo.gain_table(gain | {"difference": 0.02, "standard_error": 0.0173})
    assert table.splitlines() == [
        "top-1         seed 0  seed 1  seed 2    mean  multiply-adds  parameters",
        "plain         0.9000  0.8500  0.9500  0.9000         34,567         700",
        "twin          0.9500  0.8400  0.9700  0.9200         38,901       4,321",
        "difference   +0.0500 -0.0100 +0.0200 +0.0200, standard error 0.0173",
    ]


def test_dead_experts():
    layers = [{"layer": "a", "experts": 8, "dead": []}, {"layer": "b", "experts": 4, "dead": []}]
    gain = {"sides": [{"side": "plain", "dead_experts": None}, {"side": "twin", "dead_experts": 1}]}
    line = "dead experts: none of 12 in 2 layers of seed 0, 1 at most in training, all seeds"
    assert demo.dead_experts(layers, gain) == line
    layers[1]["dead"] = [0, 3]
    assert demo.dead_experts(layers, gain) == line.replace("none", "2 (b 2)")


def stored(*correct):
    names = ("Keras", "SavedModel", "TFLite")
    results = [{"top_1": count / 360, "top_5": 1.0, "loss": 0.25, "examples": 360} for count in correct]
    return dict(zip(names, results, strict=True))


def test_the_table_of_the_forms():
    assert demo.stored_table(stored(342, 342, 341)).splitlines() == [
        "twin, seed 0   top-1   top-5    loss",
        "Keras         0.9500  1.0000  0.2500",
        "SavedModel    0.9500  1.0000  0.2500",
        "TFLite        0.9472  1.0000  0.2500",
    ]


@pytest.mark.parametrize("correct", [(340, 340, 342), (341, 340, 339), (310, 310, 310)])
def test_exports_that_lose_accuracy_are_an_error(correct):
    found = demo.what_exports_lost(stored(*correct))
    name = r"%s 0\.\d{4}"
    received = ", ".join(name % form for form in ("Keras", "SavedModel", "TFLite"))
    assert re.fullmatch(rf"expected an accuracy of 0\.\d+ or more .* one image, received: {received}", found)


@pytest.mark.parametrize(
    ("code", "error", "line"),
    [
        (
            0,
            "warning: x\n",
            "a page that runs the twin in a browser: run `python -m http.server --directory r/b/web` and open",
        ),
        (2, "x\nerror: there is no `npm` here\n", "no page for a browser: there is no `npm` here"),
    ],
)
def test_the_demo_ends_with_the_page(monkeypatch, code, error, line):
    commands = []

    def run(command, **options):
        commands.append(command[1:])
        return subprocess.CompletedProcess(command, code, "", error)

    monkeypatch.setattr(demo.subprocess, "run", run)
    assert demo.write_page("r/twin", pathlib.Path("r/b")).startswith(line)
    assert commands == [["-m", "export", "--model=r/twin", "--output_dir=r/b", "--formats=web"]]


def test_exports_may_differ_by_an_image():
    assert demo.what_exports_lost(stored(340, 340, 341)) is None


def test_the_page_shows_a_demo_with_the_settings_of_today():
    figures = json.loads((ROOT / "docs/results/demo/demo.json").read_text())
    page = (ROOT / "docs/results/README.md").read_text()
    for table in (
        demo.gain_table(figures["gain"]),
        demo.stored_table(figures["stored"]),
        demo.dead_experts(figures["layers"], figures["gain"]),
    ):
        assert f"{table}\n" in page
    with open(ROOT / "docs/results/demo/runs.csv", newline="") as file:
        commands = [row["command"] for row in csv.DictReader(file)]
    setting = SETTINGS[demo.SETTING]
    assert len(commands) == demo.SEEDS * 2
    for side, command in zip(("plain", "twin") * demo.SEEDS, commands, strict=True):
        assert set(setting.arguments(side)) < set(shlex.split(command))
