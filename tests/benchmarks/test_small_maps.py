"""The grid of layers of small maps, the table of small networks, and the fit of the estimates to stored times."""

import csv
import re

import pytest

from benchmarks.small_maps import BATCHES, Point, Row, describe, grid, limit, verdict
from tests import processes

POINT = Point(channels=8, kernel=3, stride=2, size=5, experts=4, batch=32)
HIT = Row(*POINT, "dense", 1.0, 1.8, 1.8, limit(POINT, 1.0), None, None)
MISS = Row(*POINT, "grouped_conv", 1.0, 2.2, 2.2, limit(POINT, 1.0), 0.4, 1.9)


def test_limits():
    assert POINT.pixels == 9
    assert limit(POINT, 1.0) == pytest.approx(1.5 * (1 + 4 / 9))
    # A plain layer of 0.2 ms may take 0.3 ms more with experts, one of 0.29 ms only by the arithmetic.
    assert limit(POINT, 0.2) == pytest.approx(2.5)
    assert limit(POINT, 0.29) == pytest.approx(1.5 * (1 + 4 / 9))


def test_every_point_once():
    points = grid([int(batch) for batch in BATCHES])
    assert len(points) == len({str(point) for point in points}) == 4 * 2 * 2 * 5 * 4 * 3
    assert "5x5/2 16x16x64 n8 b128" in map(str, points)


def test_lines():
    assert "missed" not in describe(HIT)
    assert describe(MISS).endswith("missed: with one expert 1.900 ms, mixing alone 0.400 ms")
    assert verdict([HIT, MISS]).startswith("small maps: 1 of 2 points within their limits; ratio 1.99 on the geometric")
    assert "3x3/2 5x5x8 n4 b32, at 2.20 where 2.17 is the limit" in verdict([HIT, MISS])


def test_the_estimates_choose_as_the_page_says():
    finished = processes.run("-m", "benchmarks.form_costs")
    losses = dict(re.findall(r"^(\S+): the form of the lowest estimate took ([\d.]+) %", finished.stdout, re.MULTILINE))
    page = (processes.ROOT / "docs/results/speed.md").read_text()
    assert f"took {losses['kxk']} % longer than the fastest one for 3x3 and 5x5 kernels" in " ".join(page.split())
    assert f"and {losses['1x1']} % for 1x1" in " ".join(page.split())


def test_the_page_has_the_verdicts_of_the_file():
    with open(processes.ROOT / "docs/results/speed/small.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    page = (processes.ROOT / "docs/results/forms.md").read_text()
    for batch in BATCHES:
        of_batch = [row for row in rows if row["batch"] == batch]
        within = sum(float(row["ratio"]) <= float(row["limit"]) for row in of_batch)
        assert f"| {batch}, now | {len(of_batch)} | {within} |" in page


@pytest.mark.slow
def test_a_run_of_one_point(tmp_path):
    path = tmp_path / "small.csv"
    arguments = ("--grid=small", "--only=3x3 2x2x8 n2", "--batch=32", "--rounds=3", f"--csv={path}")
    finished = processes.run("-m", "benchmarks.layers", *arguments)
    with open(path, newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert float(row["ratio"]) == pytest.approx(float(row["condconv_ms"]) / float(row["plain_ms"]), rel=0.01)
    assert finished.stdout.splitlines()[-1].startswith("small maps:")


@pytest.mark.slow
def test_a_run_of_one_network(tmp_path):
    path = tmp_path / "networks.csv"
    processes.run(
        "-m", "benchmarks.small_networks", "--networks=separable", "--experts=2", "--rounds=3", f"--csv={path}"
    )
    with open(path, newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["network"], row["experts"]) == ("separable", "2")
    assert float(row["ratio"]) == pytest.approx(float(row["condconv_s"]) / float(row["plain_s"]), rel=0.01)
    assert 1 < float(row["madds_ratio"]) < 1.05


@pytest.mark.parametrize(
    ("arguments", "contains"),
    [
        (["-m", "benchmarks.layers", "--grid=small", "--only=7x7"], "--only expects a part of a layer's name"),
        (["-m", "benchmarks.small_networks", "--networks=resnet"], "unknown network 'resnet'"),
        (["-m", "benchmarks.small_networks", "--experts=0"], "--experts expects positive integers, received: 0"),
        (["-m", "benchmarks.form_costs", "--csv=nothing.csv"], "--csv expects a file of times, received: nothing.csv"),
    ],
)
def test_bad_flags(arguments, contains):
    processes.assert_refused(*arguments, contains=contains)
