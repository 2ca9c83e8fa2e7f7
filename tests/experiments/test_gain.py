"""Pairs of runs: the arithmetic, what is read of run folders, and the command up to its first process."""

import dataclasses
import json
import math
import sys
import types

import pytest

from condconv_keras.experiments.gain import __main__ as command
from condconv_keras.experiments.gain import data, results
from condconv_keras.experiments.gain.comparison import paired_difference
from condconv_keras.experiments.gain.settings import PairedRun, Setting
from condconv_keras.experiments.gain.study import SETTINGS
from condconv_keras.models import model_entry
from condconv_keras.utils.errors import UserError
from tests import processes

MODULE = ("-m", "condconv_keras.experiments.gain")
SETTING = Setting(dataset="digits", maker=None, common="--epochs=2", sides={"plain": "--model=a", "twin": "--model=b"})


def test_difference_of_pairs():
    difference = paired_difference([0.5, 0.6, 0.7], [0.6, 0.6, 0.9])
    assert difference.mean == pytest.approx(0.1)
    # Differences 0.1, 0, 0.2: sample deviation 0.1.
    assert difference.standard_error == pytest.approx(0.1 / math.sqrt(3))
    assert paired_difference([0.5], [0.25]).standard_error is None
    with pytest.raises(ValueError, match="Received: 2 and 1 values"):
        paired_difference([0.5, 0.5], [0.5])


def finish(root, run, metric, early, routing=None):
    """Writes what a finished run has, but for its model."""
    folder = root / run.name
    folder.mkdir()
    facts = {
        "split": "test",
        "top_1": metric,
        "parameters": 10,
        "seconds": 4.0,
        "first_step": 0,
        "command": f"train {run.name}",
    }
    (folder / "results.json").write_text(json.dumps(facts))
    rows = "".join(f"{i},{value},{value / 2}\n" for i, value in enumerate(early))
    (folder / "history.csv").write_text(f"epoch,val_accuracy,accuracy\n{rows}")
    if routing:
        (folder / "routing.csv").write_text(routing)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "multiply_adds_of", lambda path: 100 if "plain" in str(path) else 120)
    runs = [PairedRun(SETTING, side, seed) for seed in (0, 1) for side in ("plain", "twin")]
    routing = "epoch,layer,experts,in_use,saturation,spread,mean\n0,one,8,2,0,0,0\n1,one,8,8,0,0,0\n1,two,8,7,0,0,0\n"
    early = ([0.125, 0.25], [0.25, 0.25], [0.125, 0.5], [0.125, 0.25])
    for run, metric, epochs in zip(runs, (0.5, 0.75, 0.5, 0.5), early, strict=True):
        finish(tmp_path, run, metric, epochs, routing if run.side == "twin" else None)
    return runs


def test_rows_of_runs_and_sides(runs, tmp_path):
    rows = results.gain_rows(runs, tmp_path)
    assert [row["metric"] for row in rows] == [0.5, 0.75, 0.5, 0.5]
    assert rows[1] == {
        "side": "twin",
        "seed": 0,
        "split": "test",
        "metric": 0.75,
        **{"epoch_1": 0.25, "epoch_2": 0.25, "epoch_3": None},
        "training": 0.125,
        "dead_experts": 1,
        **{"multiply_adds": 120, "parameters": 10, "seconds": 4.0},
        "command": "train twin-seed_0",
    }
    assert rows[0]["dead_experts"] is None
    plain, twin = results.summary_rows(rows, ("plain", "twin"))
    assert (plain["mean"], plain["difference"], plain["dead_experts"]) == (0.5, None, None)
    assert (twin["mean"], twin["difference"], twin["runs"], twin["dead_experts"]) == (0.625, 0.125, 2, 1)
    assert twin["standard_error"] == pytest.approx(0.125)
    assert (plain["training"], twin["training"]) == (0.1875, 0.125)
    assert (plain["twin_lead"], plain["twin_lead_error"], twin["twin_lead"]) == (0.125, twin["standard_error"], None)
    wider = [
        {**rows[0], "side": "wider", "metric": metric, "seed": seed} for seed, metric in ((0, 0.5), (1, 1), (2, 0))
    ]
    _, _, wider = results.summary_rows(rows + wider, ("plain", "twin", "wider"))
    # Its third seed has no partner: the twin is 0.25 ahead and 0.5 behind.
    assert (wider["twin_lead"], wider["twin_lead_error"], wider["difference"]) == (-0.125, pytest.approx(0.375), 0.25)
    assert (twin["epoch_1_difference"], twin["epoch_2_difference"]) == (0.0625, -0.125)
    assert (twin["epoch_1_error"], twin["epoch_2_error"]) == (pytest.approx(0.0625), pytest.approx(0.125))
    assert (twin["epoch_3_difference"], plain["epoch_1_difference"]) == (None, None)
    assert set(rows[0]) == set(results.COLUMNS) and set(plain) == set(results.SUMMARY)


@pytest.mark.parametrize("rows", ["0,one,8,2,0,0,0", "1,one,8,,0,0,0", "1,one,8,7,0,0,0\n1,two,8,,0,0,0"])
def test_dead_experts_of_another_epoch_or_of_a_softmax_are_unknown(runs, tmp_path, rows):
    (tmp_path / "twin-seed_1" / "routing.csv").write_text(
        f"epoch,layer,experts,in_use,saturation,spread,mean\n{rows}\n"
    )
    found = results.gain_rows(runs, tmp_path)
    assert [row["dead_experts"] for row in found] == [None, 1, None, None]
    # One run of which nothing is known: neither is of its side.
    assert results.summary_rows(found, ("plain", "twin"))[1]["dead_experts"] is None


def test_seeds_without_a_partner_are_not_compared(runs, tmp_path):
    rows = [row for row in results.gain_rows(runs, tmp_path) if (row["side"], row["seed"]) != ("plain", 0)]
    _, twin = results.summary_rows(rows, ("plain", "twin"))
    assert (twin["difference"], twin["standard_error"], twin["runs"]) == (0.0, None, 2)


def test_a_metric_that_was_not_found(runs, tmp_path):
    path = tmp_path / "twin-seed_1" / "results.json"
    path.write_text(path.read_text().replace("0.5", "null"))
    with pytest.raises(UserError, match="twin-seed_1 has no top_1"):
        results.gain_rows(runs, tmp_path)


def test_runs_of_different_splits_are_not_compared(runs, tmp_path):
    path = tmp_path / "twin-seed_1" / "results.json"
    path.write_text(path.read_text().replace('"test"', '"validation"'))
    with pytest.raises(UserError, match=r"one split, .* on several: plain-seed_1 on test, twin-seed_1 on validation"):
        results.gain_rows(runs, tmp_path)


def test_arguments_of_a_run():
    run = PairedRun(SETTING, "twin", 3)
    assert run.name == "twin-seed_3"
    assert run.arguments == ["--dataset=digits", "--epochs=2", "--model=b", "--seed=3"]


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_compares_a_plain_network_with_a_twin(name):
    setting = SETTINGS[name]
    placements = {}
    for side in setting.sides:
        (model,) = (word.partition("=")[2] for word in setting.arguments(side) if word.startswith("--model="))
        placements[side] = model_entry(model).placement
    assert placements["plain"] is None and placements["twin"] is not None


def _flags(setting, side):
    return dict(word.removeprefix("--").partition("=")[::2] for word in SETTINGS[setting].arguments(side))


def test_numbers_of_experts_have_rates_of_their_own():
    sides = ("twin", "experts_1", "experts_2")
    flags = [_flags("separable_instruments", side) for side in sides]
    assert [(f["num_experts"], f["learning_rate"]) for f in flags] == [("8", "0.8"), ("1", "1.6"), ("2", "1.6")]
    others = [{k: v for k, v in f.items() if k not in ("num_experts", "learning_rate")} for f in flags]
    assert others[0] == others[1] == others[2]


def test_what_sides_differ_in():
    plain, twin = (_flags("separable_glyphs", side) for side in ("plain", "twin"))
    longer = _flags("separable_glyphs", "longer")
    assert {name for name in plain if plain[name] != longer[name]} == {"epochs"}
    assert int(longer["epochs"]) == 1.25 * int(plain["epochs"])
    assert "start_block" not in twin and _flags("separable_glyphs", "last_two_blocks")["start_block"] == "3"
    assert "nocondconv_classifier" in twin and "nocondconv_classifier" not in _flags(
        "separable_glyphs", "condconv_classifier"
    )
    assert "nocondconv_classifier" in _flags("separable_instruments", "plain_classifier")
    assert _flags("separable_glyphs", "start_as_built")["router_scale"] == "1"


@pytest.mark.parametrize("name", SETTINGS)
def test_train_knows_the_flags_of_every_side(name):
    defined = processes.flags_of("-m", "condconv_keras.commands.train")
    for side in SETTINGS[name].sides:
        assert set(_flags(name, side)) <= defined


def test_wrong_flags_are_answered_at_once(tmp_path):
    environment = processes.without_frameworks(tmp_path)
    processes.assert_refused(*MODULE, "--setting=separable", contains="unknown setting 'separable'", **environment)
    arguments = ("--setting=separable_fashion_mnist", "--sides=n=3")
    processes.assert_refused(*MODULE, *arguments, contains="unknown side 'n=3'", **environment)


def test_data_that_cannot_be_made_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])  # where the scripts of the clone are not found
    monkeypatch.delitem(sys.modules, "scripts", raising=False)
    setting = Setting(dataset="glyphs", maker=("-m", "scripts.glyphs"), sides={})
    with pytest.raises(UserError, match=r"expected the data set 'glyphs' in `data_dir` .* -m scripts.glyphs, is in a"):
        data.make(setting, tmp_path)
    (tmp_path / "glyphs").mkdir()  # as an interrupted preparation leaves it
    with pytest.raises(UserError, match="expected the data set 'glyphs'"):
        data.make(setting, tmp_path)


def prepare(folder, *splits):
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(json.dumps({"splits": [{"name": name} for name in splits]}))


def test_the_split_of_a_comparison_is_checked_before_training(tmp_path):
    setting = Setting(dataset="glyphs", maker=("-m", "scripts.no_such"), held_out_images=7, sides={})
    with pytest.raises(UserError, match=r"scripts.no_such --output_dir=\S+ --validation_images=7 failed"):
        data.make(setting, tmp_path, data.HELD_OUT)
    prepare(tmp_path / "glyphs/1.0.0", "train", "test", "unseen_faces")
    prepare(tmp_path / "held/glyphs/1.0.0", "train", "validation")
    data.make(setting, tmp_path)
    data.make(setting, tmp_path / "held", data.HELD_OUT)
    with pytest.raises(UserError, match=r"evaluated on its 'test', it has the splits train, validation: a final"):
        data.make(setting, tmp_path / "held")
    with pytest.raises(UserError, match=r"evaluated on its 'validation', it has the splits train, test, unseen_faces"):
        data.make(setting, tmp_path, data.HELD_OUT)
    data.make(SETTING, tmp_path)  # embedded
    with pytest.raises(UserError, match="`held_out` must be False for the embedded data set 'digits'"):
        data.make(SETTING, tmp_path, data.HELD_OUT)


def test_sides_are_named_once_beside_plain_and_twin(monkeypatch):
    monkeypatch.setattr(command, "FLAGS", types.SimpleNamespace(sides=["n4", "plain", "n4"]))
    setting = dataclasses.replace(SETTING, sides={"plain": "", "n2": "", "twin": "", "n4": ""})
    assert command._sides(setting) == ["plain", "twin", "n4"]


def test_finished_runs_of_earlier_commands_stay_in_the_files(runs, tmp_path):
    others = command._others(SETTING, tmp_path, ["--data_dir=a"], {runs[0].name})
    assert others == []  # their commands are other ones
    for run in runs:
        path = tmp_path / run.name / "results.json"
        line = f"python -m train {' '.join(run.arguments)} --data_dir=elsewhere --model_dir=x"
        path.write_text(json.dumps({**json.loads(path.read_text()), "command": line}))
    (tmp_path / "plain-seed_7").mkdir()
    (tmp_path / "other-seed_1").mkdir()
    others = command._others(SETTING, tmp_path, ["--data_dir=a"], {runs[0].name})
    assert sorted(run.name for run in others) == sorted(run.name for run in runs[1:])


def test_the_twin_of_the_answer_is_the_twin(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "FLAGS", types.SimpleNamespace(setting="s", seeds=2))
    rows = results.gain_rows(runs, tmp_path)
    rows += [{**row, "side": "n4", "metric": 0.875} for row in rows if row["side"] == "twin"]
    answer = command._result(SETTING, tmp_path, rows, results.summary_rows(rows, ["plain", "n4", "twin"]))
    assert (answer["plain"], answer["twin"], answer["difference"]) == ([0.5, 0.5], [0.75, 0.5], 0.125)
    assert answer["split"] == "test"


def test_a_script_that_fails_is_named(tmp_path):
    setting = Setting(dataset="glyphs", maker=("-m", "scripts.no_such"), sides={})
    with pytest.raises(UserError, match=r"'glyphs' was not written: .* -m scripts.no_such --output_dir=.* failed"):
        data.make(setting, tmp_path)
