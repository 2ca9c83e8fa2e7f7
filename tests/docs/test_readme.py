"""The figures and badges of README.md are those of the files that it names."""

import csv
import functools
import json
import re
import statistics
import tomllib

import pytest
from PIL import Image

from condconv_keras.models import model_entry
from scripts import gain_figure, own_network
from tests.processes import ROOT

README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

GAINS = ("separable_instruments", "resnet_instruments", "separable_fashion_mnist", "separable_glyphs")


def rows(section):
    """The tables' rows below a heading as lists of cells, headings aside."""
    text = re.search(rf"^## {section}\n(.*?)(?=^## )", README, re.MULTILINE | re.DOTALL).group(1)
    lines = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in cells] for cells in lines[2:]]


def table(path):
    with open(ROOT / "docs/results" / path, newline="") as file:
        return list(csv.DictReader(file))


def result(path):
    return json.loads((ROOT / "docs/results" / path).read_text())


def test_badges_are_what_the_package_says_of_itself():
    badges = dict(re.findall(r"^!\[(\S+?):? .*?\]\(https://img.shields.io/badge/\w+-(.*)-\w+\)$", README, re.MULTILINE))
    classified = [text.rpartition(" ")[2] for text in PROJECT["classifiers"] if "Python :: 3." in text]
    assert badges["Python"].split("%20%7C%20") == classified
    assert badges["License"].replace("--", "-") == PROJECT["license"]
    assert f"keras>={badges['Keras']}" in PROJECT["dependencies"][0]
    assert f"tensorflow~={badges['TensorFlow']}" in PROJECT["optional-dependencies"]["tensorflow"][0]


@functools.cache
def cards():
    """A model's millions of parameters and of multiply-adds, by its name, as docs/models.md has them."""
    text = (ROOT / "docs/models.md").read_text()
    found = re.findall(r"^\| \[`(\w+)`\]\(\S+\) \| ([\d,]+) \| ([\d.]+) M \|", text, re.MULTILINE)
    return {name: (int(parameters.replace(",", "")) / 1e6, float(adds)) for name, parameters, adds in found}


@pytest.mark.parametrize("row", rows("Models"), ids=lambda row: row[0].split("`")[1])
def test_a_row_of_the_table_of_models(row):
    names, adds, parameters, accuracies, times, published = row
    plain, twin = re.findall(r"`(\w+)`", names)
    assert twin == f"condconv_{plain}"
    assert adds == f"{cards()[plain][1]}, {cards()[twin][1]}"
    assert parameters == f"{cards()[plain][0]:.2f}, {cards()[twin][0]:.2f}"
    figures = [model_entry(name).paper for name in (plain, twin)]
    expected = ", ".join(f"{paper[0].accuracy} %" for paper in figures if paper)
    assert accuracies == (expected or "not in the paper")
    measured = {int(line["batch"]): line["ratio"] for line in table("speed/models.csv") if is_inference(line, twin)}
    assert times == f"{float(measured[1]):.2f}, {float(measured[32]):.2f}"
    assert published == ("both" if model_entry(twin).published else "plain") and model_entry(plain).published


def is_inference(line, name):
    return (line["model"], line["work"]) == (name, "inference")


def test_the_cost_in_the_tagline():
    """Every twin is within what it says, and one at either end."""
    tagline = " ".join(README.split("\n\n")[1].split())
    twins = [re.findall(r"`(\w+)`", row[0])[1] for row in rows("Models")]
    published = [name for name in twins if model_entry(name).paper]
    ratios = {
        "more": [100 * (cards()[name][1] / cards()[name.removeprefix("condconv_")][1] - 1) for name in published],
        "times": [float(line["ratio"]) for name in twins for line in table("speed/models.csv") if first(line, name)],
        "parameters": [cards()[name][0] / cards()[name.removeprefix("condconv_")][0] for name in twins],
    }
    for pattern, values, digits in (
        (r"\((\d) to (\d) % more", ratios["more"], 0),
        (r"takes ([\d.]+) to ([\d.]+) times the time", ratios["times"], 2),
        (r"has (\d) to (\d) times its parameters", ratios["parameters"], 0),
    ):
        low, high = map(float, re.search(pattern, tagline).groups())
        assert (round(min(values), digits), round(max(values), digits)) == (low, high)


def first(line, name):
    return is_inference(line, name) and line["batch"] == "1"


def test_what_we_measured():
    answers = {page.partition("](")[2].strip(")"): answer for _, answer, page in rows("What we measured")}
    studies = {(line["width_multiplier"], line["num_experts"]): line for line in table("experts/summary.csv")[:5]}
    plain, experts = studies["0.25", ""], studies["0.25", "8"]
    expected = [f"{float(line['mean']):.3f} ± {float(line['deviation']):.3f}" for line in (plain, experts)]
    assert re.findall(r"[\d.]+ ± [\d.]+", answers["docs/results/experts/README.md"]) == expected
    twins = [table(f"gain/{name}/summary.csv")[1] for name in GAINS]
    expected = [f"+{points(twin, 'difference')} ± {points(twin, 'standard_error')}" for twin in twins]
    assert re.findall(r"\+[\d.]+ ± [\d.]+", answers["docs/when-experts-pay.md"]) == expected
    scenes = table("gain/scenes/summary.csv")[1]
    means = own_network.summary(own_network.read_rows(ROOT / "docs/results/convert/own_network.csv"))["means"]
    expected = [f"{means[side]:.2f}" for side in ("twin 0.4", "continued 0.1")]
    assert re.findall(r"\d+\.\d+", answers["docs/results/convert/README.md"]) == expected
    demo = result("demo/demo.json")
    values = [*(statistics.mean(demo["gain"][side]) for side in ("plain", "twin")), demo["stored"]["TFLite"]["top_1"]]
    assert re.findall(r"0\.\d+", answers["docs/results/README.md#digits"]) == [f"{value:.3f}" for value in values]
    assert len({stored["top_1"] for stored in demo["stored"].values()}) == 1
    right = re.search(r"(\d+ of \d+) photographs right", (ROOT / "docs/results/pretrained.txt").read_text())
    assert right.group(1) in answers["docs/results/pretrained.txt"]
    found = re.findall(r"0\.\d+", answers["docs/results/detection.md"])
    seeds = f"{scenes['runs']}, +{points(scenes, 'difference')} ± {points(scenes, 'standard_error')} points"
    assert seeds.replace("10, ", "ten seeds of other scenes: ") in answers["docs/results/detection.md"]
    assert found == [f"{result(f'detection/{name}.json')['AP']:.3f}" for name in ("condconv", "plain")]
    peers = {(line["name"], line["work"], line["batch"]): line["ratio"] for line in table("speed/peers_models.csv")}
    ours = [
        peers["condconv_efficientnet_b0", work, batch] for batch in ("16", "1") for work in ("inference", "training")
    ]
    expected = [f"{float(ratio):.2f}" for ratio in ours]
    assert re.findall(r"\d\.\d+", answers["docs/results/speed.md#beside-timm"]) == expected


def test_the_figure_was_drawn_from_the_files_as_they_are():
    with Image.open(gain_figure.FIGURE) as image:
        assert image.text["Description"] == gain_figure.description(), "run `python -m scripts.gain_figure`"
    assert str(gain_figure.FIGURE.relative_to(ROOT)) in README


def points(line, column):
    return f"{100 * float(line[column]):.1f}"


def test_the_gain_in_the_tagline():
    tagline = " ".join(README.split("\n\n")[1].split())
    sides = [{line["side"]: line for line in table(f"gain/{name}/summary.csv")} for name in GAINS]
    gains = [points(side["twin"], "difference") for side in sides]
    low, high, least, most = re.search(r"gain ([\d.]+) to ([\d.]+) points, at (\d+) to (\d+) % more", tagline).groups()
    assert (low, high) == (min(gains), max(gains))
    more = [round(100 * (int(s["twin"]["multiply_adds"]) / int(s["plain"]["multiply_adds"]) - 1)) for s in sides]
    assert (int(least), int(most)) == (min(more), max(more))
    times = [float(side["twin"]["milliseconds"]) / float(side["plain"]["milliseconds"]) for side in sides]
    assert f"{min(times):.0f} to {max(times):.0f} times the time" in tagline.partition("points, at")[2]


def test_what_is_said_of_wider_plain_networks():
    text = " ".join(README.split())
    sides = [{line["side"]: line for line in table(f"gain/{name}/summary.csv")} for name in GAINS]
    wider = [side["same_multiply_adds"] for side in sides]
    leads, errors = ([points(line, column) for line in wider] for column in ("twin_lead", "twin_lead_error"))
    said = "stays {}, {}, {} and {} points behind the twin (± {}, {}, {} and {})"
    assert said.format(*leads, *errors) in text
    large = [(side["same_parameters"], side["twin"]) for side in sides]
    assert all(float(wide["twin_lead"]) < 0 for wide, _ in large)
    times = [int(wide["multiply_adds"]) / int(twin["multiply_adds"]) for wide, twin in large]
    assert f"passes it, at {min(times):.1f} to {max(times):.0f} times the multiply-adds" in text


@pytest.mark.parametrize("setting", gain_figure.TITLES)
def test_points_of_the_figure(setting):
    plain, experts = gain_figure.points(setting)
    by_side = {line["side"]: line for line in table(f"gain/{setting}/summary.csv")}
    assert (plain[0][0], plain[0][1]) == (
        float(by_side["plain"]["multiply_adds"]) / 1e6,
        100 * float(by_side["plain"]["mean"]),
    )
    assert len(plain) > 1 and plain[0][3] == f"{int(by_side['plain']['parameters']):,} parameters"
    count = "n = 4" if setting == "separable_glyphs" else "n = 8"
    assert [point[3] for point in experts if point[1] == 100 * float(by_side["twin"]["mean"])] == [count]
    assert 100 * float(by_side["twin"]["mean"]) in [point[1] for point in experts]
