"""What a run folder tells, for the tests that train by `train.py`."""

import csv


def history(run):
    """The rows of `history.csv` as dicts of column name to number."""
    with open(run / "history.csv") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def newest_step(run):
    """The step of the newest checkpoint, -1 while there is none."""
    return max((int(path.stem.removeprefix("step_")) for path in run.glob("checkpoints/step_*")), default=-1)
