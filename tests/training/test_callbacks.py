import csv
import types

import keras
import numpy as np
import pytest

from condconv_keras.tasks.classification.metrics import evaluate
from condconv_keras.tasks.classification.task import TASK
from condconv_keras.training.callbacks import Diverged, Epochs, Printed, Steps, read_history
from condconv_keras.training.run_folder import RunFolder
from condconv_keras.training.termination import Termination
from condconv_keras.utils.errors import UserError


class Model(keras.Model):
    """Knows whether it was asked to stop."""

    stopping = False

    def request_stop(self):
        self.stopping = True


def steps(first_step=0, every=None, termination=None):
    saved, termination = [], termination or Termination()

    def save(step):
        saved.append(step)
        return termination.requested

    callback = Steps(first_step, 10, every, save, termination)
    callback.set_model(Model())
    return callback, saved


def run_epoch(callback, ends, stop=0.0, loss=1.0):
    callback.on_epoch_begin(0)
    for end in ends:
        callback.on_train_batch_begin(end)
        logs = {"loss": loss, "stop": stop}
        callback.on_train_batch_end(end, logs)
        assert logs == {"loss": loss}


def test_a_checkpoint_at_the_end_of_every_epoch():
    callback, saved = steps()
    run_epoch(callback, range(10))
    run_epoch(callback, range(10))
    assert saved == [10, 20]


def test_checkpoints_within_an_epoch():
    callback, saved = steps(every=4)
    run_epoch(callback, range(10))
    run_epoch(callback, range(10))
    assert saved == [4, 8, 10, 12, 16, 20]


def test_an_epoch_that_goes_on_and_several_steps_at_a_time():
    callback, saved = steps(first_step=13, every=4)
    run_epoch(callback, [2, 4, 6])  # ends of executions: steps 16, 18, 20
    assert saved == [16, 20]
    assert callback.step == 20


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_anything_is_saved(loss):
    callback, saved = steps(every=1)
    with pytest.raises(Diverged, match=f"the loss is {loss} after step 1"):
        run_epoch(callback, range(10), loss=loss)
    assert saved == []


def test_a_signal_within_a_step_asks_all_to_stop_and_one_outside_ends_at_once(capsys):
    termination = Termination()
    callback, saved = steps(termination=termination)
    run_epoch(callback, range(3))
    assert not callback.model.stopping
    callback.on_train_batch_begin(3)
    termination._receive(15, None)
    callback.on_train_batch_end(3, {"loss": 1.0, "stop": 0.0})
    callback.on_train_batch_begin(4)
    assert callback.model.stopping
    assert saved == []
    with pytest.raises(SystemExit) as end:
        callback.on_train_batch_end(4, {"loss": 1.0, "stop": 0.5})  # the mean over two workers
    assert end.value.code == 143
    assert saved == [5]
    assert "the same command goes on" in capsys.readouterr().err


def test_a_signal_ends_at_once_only_where_nothing_would_be_lost():
    termination = Termination()
    callback, saved = steps(termination=termination, every=4)
    run_epoch(callback, range(3))
    termination._receive(15, None)  # after the third step, which is not saved
    assert saved == []
    termination.requested = False
    run_epoch(callback, range(1))
    assert saved == [4]
    with pytest.raises(SystemExit):
        termination._receive(15, None)


def test_a_signal_within_the_last_step_of_an_epoch_ends_before_the_validation():
    termination = Termination()
    callback, saved = steps(termination=termination)
    run_epoch(callback, range(9))
    callback.on_train_batch_begin(9)
    termination._receive(15, None)
    with pytest.raises(SystemExit):
        callback.on_train_batch_end(9, {"loss": 1.0, "stop": 0.0})
    assert saved == [10]


def test_history(tmp_path):
    run = RunFolder(tmp_path)
    labels = np.array([0, 1, 2, 2])
    validate = lambda: evaluate(lambda p: p, [(np.eye(6)[[0, 1, 2, 3]], labels)])  # noqa: E731
    callback = Epochs(run, TASK, validate, lambda step: step / 8, writes=True)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD())
    model.optimizer.iterations.assign(3)
    callback.set_model(model)
    for epoch in (0, 1, 2, 1):  # the run went back to the end of its first epoch
        logs = {"loss": 3.0 - epoch, "accuracy": 0.5}
        callback.on_epoch_end(epoch, logs)
        assert logs["val_accuracy"] == 0.75
    with open(run.history) as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert [float(row["loss"]) for row in rows] == [3.0, 2.0]
    assert {row["learning_rate"] for row in rows} == {"0.25"}
    assert run.curves.is_file()
    assert len(read_history(run.history, 1)) == 1


def test_the_line_of_an_epoch_has_the_experts_in_use_as_a_count(capsys):
    printed = Printed(3, types.SimpleNamespace(experts=32))
    printed.set_params({"epochs": 2, "steps": 4, "verbose": 0})
    printed.on_epoch_begin(1)
    logs = {"loss": 2.0, "experts_in_use": 30.0, "saturation": 0.125, "spread": 0.08, "val_loss": 3.0}
    printed.on_epoch_end(1, logs)
    heading, line = capsys.readouterr().out.splitlines()
    assert heading == "Epoch 2/3"
    expected = "loss: 2.0000 - experts_in_use: 30/32 - saturation: 0.1250 - spread: 0.0800 - val_loss: 3.0000"
    assert line.endswith(f" - {expected}")
    assert logs["experts_in_use"] == 30


def test_a_history_that_a_spreadsheet_has_saved(tmp_path):
    path = tmp_path / "history.csv"
    path.write_bytes("epoch;loss\r\n0;3.5\r\n1;2.5\r\n;\r\n".encode("utf-8-sig"))
    assert read_history(path, 2) == [{"epoch": "0", "loss": "3.5"}, {"epoch": "1", "loss": "2.5"}]
    assert read_history(path, 1) == [{"epoch": "0", "loss": "3.5"}]
    path.write_text("loss\n3.5\n")
    with pytest.raises(UserError, match=r"number of an epoch as `epoch` in every row of '.*history\.csv'"):
        read_history(path, 1)
