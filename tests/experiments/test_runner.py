"""The runner with real processes of a `train.py` that trains nothing."""

import json
import os
import time

import pytest

from condconv_keras.experiments import runner
from condconv_keras.experiments.table import Run, Setting
from condconv_keras.utils.errors import UserError

TRAIN = """
import json, os, pathlib, shlex, sys, time
options = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:])
folder = pathlib.Path(options["model_dir"])
folder.mkdir()
(folder / "started").write_text(str(os.getpid()))
time.sleep(float(options["wait"]))
print("epoch", options["seed"], file=sys.stderr)
if options["seed"] == "1":
    sys.exit("error: no luck")
cores = sorted(os.sched_getaffinity(0))
command = shlex.join(["python", *sys.argv])
(folder / "results.json").write_text(json.dumps({"cores": cores, "command": command}))
"""


@pytest.fixture
def runs(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    return [Run(Setting("mobilenet_v1", "", "", ""), str(seed)) for seed in range(4)]


def _train_missing(runs, root, *arguments):
    return runner.train_missing([str(root / "train.py")], runs, root, *arguments)


def _names(runs):
    return [run.name for run in runs]


@pytest.mark.parametrize("jobs", [1, 2, 9])
def test_all_run_and_failures_are_returned(jobs, runs, tmp_path, capfd):
    calls = []
    before = os.sched_getaffinity(0)
    failed = _train_missing(runs, tmp_path, ["--wait=0"], jobs, lambda: calls.append(1))
    assert failed == ["mobilenet_v1-seed_1"]
    assert len(calls) == 4
    assert all((tmp_path / run.name / "results.json").exists() == (run.seed != "1") for run in runs)
    assert os.sched_getaffinity(0) == before
    shown = capfd.readouterr().err
    logs = {run.name: tmp_path / f"{run.name}.log" for run in runs}
    if jobs == 1:
        assert "epoch 3" in shown and "no luck" in shown and not any(log.exists() for log in logs.values())
    else:
        assert "epoch" not in shown
        assert "epoch 3" in logs["mobilenet_v1-seed_3"].read_text()
        assert "no luck" in logs["mobilenet_v1-seed_1"].read_text()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_jobs_share_the_cores(runs, tmp_path):
    _train_missing([runs[0], runs[2]], tmp_path, ["--wait=0.5"], 2, lambda: None)
    one, other = (set(json.loads((tmp_path / runs[i].name / "results.json").read_text())["cores"]) for i in (0, 2))
    assert not one & other
    assert one | other == os.sched_getaffinity(0)


def test_finished_runs_stay(runs, tmp_path):
    kept = tmp_path / runs[2].name
    kept.mkdir()
    (kept / "results.json").write_text('{"command": "python train.py --wait=0 --model=mobilenet_v1 --seed=2"}')
    _train_missing([runs[0], runs[2]], tmp_path, ["--wait=0"], 1, lambda: None)
    assert not (kept / "started").exists() and (tmp_path / runs[0].name / "results.json").exists()


def test_runs_that_were_trained_with_other_flags_are_not_compared(runs, tmp_path):
    _train_missing(runs[2:], tmp_path, ["--wait=0"], 1, lambda: None)
    message = r"mobilenet_v1-seed_2 .* was trained with other flags \(--wait=0, --wait=1 of only one of both\)"
    with pytest.raises(UserError, match=message):
        _train_missing(runs, tmp_path, ["--wait=1"], 1, lambda: None)
    assert not (tmp_path / runs[0].name).exists()


def test_runs_whose_data_were_moved_stay(runs, tmp_path):
    _train_missing(runs[2:], tmp_path, ["--wait=0", "--data_dir=old"], 1, lambda: None)
    written = (tmp_path / runs[2].name / "results.json").stat().st_mtime_ns
    _train_missing(runs[2:], tmp_path, ["--wait=0", "--data_dir=new"], 1, lambda: None)
    assert (tmp_path / runs[2].name / "results.json").stat().st_mtime_ns == written


def test_what_ends_the_runner_ends_the_runs(runs, tmp_path):
    (tmp_path / "train.py").write_text(TRAIN.replace('float(options["wait"])', '60 * (options["seed"] == "2")'))

    def interrupt():
        while not (tmp_path / runs[2].name / "started").exists():
            time.sleep(0.05)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _train_missing([runs[0], runs[2], runs[3]], tmp_path, ["--wait=0"], 2, interrupt)
    process = int((tmp_path / runs[2].name / "started").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert not (tmp_path / runs[2].name / "results.json").exists()


def test_a_flag_in_two_words_is_the_flag_with_its_value(runs, tmp_path):
    kept = tmp_path / runs[2].name
    kept.mkdir()
    (kept / "results.json").write_text('{"command": "python train.py --wait=0 --model=mobilenet_v1 --seed 2"}')
    _train_missing([runs[2]], tmp_path, ["--wait", "0"], 1, lambda: None)
    # The same words, of other flags.
    (kept / "results.json").write_text('{"command": "python train.py --wait 2 --model=mobilenet_v1 --seed 0"}')
    with pytest.raises(UserError, match=r"other flags \(--seed=0, --seed=2, --wait=0, --wait=2 of only one"):
        _train_missing([runs[2]], tmp_path, ["--wait", "0"], 1, lambda: None)
