"""The numbers of routers over the runs of a side."""

import csv
import json
import math
import subprocess

import pytest

from condconv_keras.utils.errors import UserError
from scripts import gain_routing
from tests import processes


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
    with open(tmp_path / "routing-twin.csv", newline="") as file:
        assert [(row["layer"], row["runs"], row["class_specificity"]) for row in csv.DictReader(file)] == [
            ("first", "2", "0.0"),
            ("second", "2", "1.0"),
        ]
    flags.side = "longer"
    with pytest.raises(UserError, match="expected finished runs longer-seed_N in --runs"):
        gain_routing.main(["gain_routing"])


def test_networks_of_other_layers_are_not_averaged():
    other = {"chance_specificity": 0.5, "layers": _analysis((0, 1))["layers"][:1]}
    with pytest.raises(UserError, match=r"twin-seed_N of the same layers .* \[\['first', 'second'\], \['first'\]\]"):
        gain_routing.layer_rows("twin", [_analysis((0, 1)), other])


def test_analyze_is_asked_for_json_and_its_failure_named(monkeypatch):
    commands = []

    def run(command, **options):
        commands.append(command)
        return subprocess.CompletedProcess(command, len(commands) - 1, stdout='{"layers": []}')

    monkeypatch.setattr(gain_routing.subprocess, "run", run)
    assert gain_routing._analysis("runs/twin-seed_0", "data") == {"layers": []}
    asked = {word.removeprefix("--").partition("=")[0] for word in commands[0][3:]}
    assert asked <= processes.flags_of("-m", "condconv_keras.commands.analyze")
    assert {"--model=runs/twin-seed_0", "--data_dir=data", "--json"} <= set(commands[0])
    with pytest.raises(UserError, match="the run 'runs/twin-seed_0' could not be analyzed"):
        gain_routing._analysis("runs/twin-seed_0", None)
