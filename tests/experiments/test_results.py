import csv
import json

import numpy as np
import pytest

from condconv_keras.experiments import results
from condconv_keras.experiments.table import Run, Setting
from condconv_keras.utils.errors import UserError

MULTIPLY_ADDS = {"0.25": 1e6, "0.5": 4e6}
TOP_1 = {("0.5", "0"): 0.9, ("0.5", "1"): 0.7, ("0.5", "2"): 0.8, ("0.25", "0"): 0.5}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """The folders of four finished runs and of one that is not."""
    made = [Run(Setting("mobilenet_v1", width, "", ""), seed) for width, seed in TOP_1]
    for run in made:
        (tmp_path / run.name).mkdir()
        top_1 = TOP_1[run.setting.width_multiplier, run.seed]
        stored = {"top_1": top_1, "parameters": 10, "seconds": 100.0 * top_1, "command": f"train {run.seed}"}
        (tmp_path / run.name / "results.json").write_text(json.dumps(stored))

    def multiply_adds(path):
        return next(count for width, count in MULTIPLY_ADDS.items() if f"width_{width}-" in str(path))

    monkeypatch.setattr(results, "multiply_adds_of", multiply_adds)
    return [*made, Run(Setting("mobilenet_v1", "0.25", "", ""), "1")]


def test_rows(runs, tmp_path):
    rows = results.run_rows(runs, tmp_path, "top_1")
    assert [(row["width_multiplier"], row["seed"]) for row in rows] == list(TOP_1)
    assert [row["metric"] for row in rows] == list(TOP_1.values())
    assert [row["multiply_adds"] for row in rows] == [4e6, 4e6, 4e6, 1e6]
    results.write_runs(rows, tmp_path / "results.csv")
    with open(tmp_path / "results.csv") as file:
        written = list(csv.DictReader(file))
    assert [float(row["metric"]) for row in written] == list(TOP_1.values())
    assert written[1]["command"] == "train 1"


def test_dead_experts(runs, tmp_path):
    folder = tmp_path / runs[1].name
    (folder / "history.csv").write_text("epoch,loss\n0,2\n1,1\n")
    (folder / "routing.csv").write_text(
        "epoch,layer,experts,in_use,saturation,spread,mean\n0,one,8,2,0,0,0\n1,one,8,8,0,0,0\n1,two,8,5,0,0,0\n"
    )
    assert [row["dead_experts"] for row in results.run_rows(runs, tmp_path, "top_1")] == [None, 3, None, None]


def test_mean_and_deviation(runs, tmp_path):
    wide, narrow = results.setting_rows(results.run_rows(runs, tmp_path, "top_1"))
    values = [value for (width, _), value in TOP_1.items() if width == "0.5"]
    assert wide["runs"] == 3 and wide["mean"] == pytest.approx(np.mean(values))
    assert wide["deviation"] == pytest.approx(np.std(values, ddof=1))
    assert wide["seconds"] == pytest.approx(80)
    assert (narrow["runs"], narrow["mean"], narrow["deviation"]) == (1, 0.5, None)


def test_the_figure_has_a_line_of_all_widths(runs, tmp_path):
    figure = results.draw_accuracy(results.setting_rows(results.run_rows(runs, tmp_path, "top_1")), "top_1")
    (container,) = figure.axes[0].containers
    line, _, (bars,) = container.lines
    np.testing.assert_allclose(line.get_xdata(orig=False), [1, 4])
    np.testing.assert_allclose(line.get_ydata(orig=False), [0.5, 0.8])
    np.testing.assert_allclose([segment[:, 1] for segment in bars.get_segments()], [[0.5, 0.5], [0.7, 0.9]])
    assert container.get_label() == "mobilenet_v1"


def test_an_interrupted_run_has_no_time(runs, tmp_path):
    stored = json.loads((tmp_path / runs[1].name / "results.json").read_text())
    (tmp_path / runs[1].name / "results.json").write_text(json.dumps({**stored, "seconds": 1.0, "first_step": 500}))
    wide, _ = results.setting_rows(results.run_rows(runs, tmp_path, "top_1"))
    assert wide["runs"] == 3 and wide["mean"] == pytest.approx(0.8)
    assert wide["seconds"] == pytest.approx((90 + 80) / 2)


def test_metrics_are_known_before_anything_is_trained(runs):
    results.check_metric(runs, "top_5")
    with pytest.raises(UserError, match="unknown metric of mobilenet_v1 'AP'"):
        results.check_metric(runs, "AP")
    results.check_metric([Run(Setting("ssd300_mobilenet_v1", "", "", ""), "0")], "AP50")


def test_damaged_results_are_named(runs, tmp_path):
    (tmp_path / runs[0].name / "results.json").write_text("{")
    with pytest.raises(UserError, match=rf"expected the results of a run, '.*{runs[0].name}/results\.json' is damaged"):
        results.run_rows(runs, tmp_path, "top_1")


def test_a_metric_of_nothing(runs, tmp_path):
    (tmp_path / runs[0].name / "results.json").write_text(json.dumps({"AP_large": None}))
    with pytest.raises(UserError, match="has no AP_large"):
        results.run_rows(runs, tmp_path, "AP_large")


def test_tables_without_rows_have_their_columns(tmp_path):
    results.write_runs([], tmp_path / "results.csv")
    results.write_summary([], tmp_path / "summary.csv")
    assert "seed" in (tmp_path / "results.csv").read_text()
    assert "deviation" in (tmp_path / "summary.csv").read_text()
