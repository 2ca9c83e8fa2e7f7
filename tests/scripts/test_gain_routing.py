"""The numbers of routers over the runs of a side."""

import csv
import json
import math

import pytest

from condconv_keras.utils.errors import UserError
from scripts import gain_routing


def _analysis(specificity, chance=0.25):
    layers = [
        {"layer": name, "experts": 4, **dict.fromkeys(gain_routing.NUMBERS, 0.5), "class_specificity": value}
        for name, value in zip(("first", "second"), specificity, strict=True)
    ]
    return {"chance_specificity": chance, "layers": layers}


def test_means_and_errors_by_layer():
    first, second = gain_routing.layer_rows("twin", [_analysis((0.25, 0.5)), _analysis((0.75, 0.5), chance=0.75)])
    assert set(first) == set(gain_routing.COLUMNS)
    assert (first["layer"], first["runs"], first["experts"], first["chance_specificity"]) == ("first", 2, 4, 0.5)
    # Values 0.25 and 0.75: the sample deviation is 0.5 / sqrt(2).
    assert (first["class_specificity"], first["class_specificity_error"]) == (0.5, pytest.approx(0.25))
    assert (second["class_specificity"], second["class_specificity_error"], second["near_0"]) == (0.5, 0.0, 0.5)
    assert not math.isnan(second["spread_error"])


def test_of_one_run_there_is_no_error():
    first, _ = gain_routing.layer_rows("twin", [_analysis((0.25, 0.5))])
    assert (first["class_specificity"], first["class_specificity_error"]) == (0.25, None)


def test_finished_runs_of_the_side_are_analyzed(tmp_path, monkeypatch):
    for run in ("twin-seed_0", "twin-seed_1", "plain-seed_0", "twin-seed_2"):
        (tmp_path / run).mkdir()
    (tmp_path / "twin-seed_0.log").touch()
    for run in ("twin-seed_0", "twin-seed_1", "plain-seed_0"):
        (tmp_path / run / "results.json").write_text(json.dumps({"command": "train", "top_1": 0.5}))
    analyzed = []
    monkeypatch.setattr(
        gain_routing, "_analysis", lambda run, data_dir: (analyzed.append(run.name), _analysis((0, 1)))[1]
    )
    flags = type("Flags", (), {"runs": str(tmp_path), "side": "twin", "data_dir": None})
    monkeypatch.setattr(gain_routing, "FLAGS", flags)
    gain_routing.main(["gain_routing"])
    assert analyzed == ["twin-seed_0", "twin-seed_1"]
    with open(tmp_path / "routing.csv", newline="") as file:
        assert [(row["layer"], row["runs"], row["class_specificity"]) for row in csv.DictReader(file)] == [
            ("first", "2", "0.0"),
            ("second", "2", "1.0"),
        ]
    flags.side = "longer"
    with pytest.raises(UserError, match="expected finished runs longer-seed_N in --runs"):
        gain_routing.main(["gain_routing"])
