import keras
import numpy as np
import pytest

from condconv_keras.data import Preprocessing, open_dataset
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.layers import CondConv2D
from condconv_keras.routing_statistics.by_epoch import read_by_epoch
from condconv_keras.tasks.classification.metrics import evaluate
from condconv_keras.training.callbacks import read_history
from condconv_keras.training.checkpoints import state_of
from condconv_keras.training.config import Execution, TrainConfig
from condconv_keras.training.loop import Segment, TrainingLoop, segments
from condconv_keras.training.plan import TrainingPlan
from condconv_keras.training.run_folder import RunFolder
from condconv_keras.training.termination import Termination
from tests.seeds import set_seed
from tests.training import networks


@pytest.mark.parametrize(
    ("step", "freeze_epochs", "expected"),
    [
        (0, 0, [Segment(0, 0, 5, False)]),
        (20, 0, [Segment(2, 0, 5, False)]),
        (23, 0, [Segment(2, 3, 3, False), Segment(3, 0, 5, False)]),
        (0, 2, [Segment(0, 0, 2, True), Segment(2, 0, 5, False)]),
        (13, 2, [Segment(1, 3, 2, True), Segment(2, 0, 5, False)]),
        (7, 2, [Segment(0, 7, 1, True), Segment(1, 0, 2, True), Segment(2, 0, 5, False)]),
        (49, 0, [Segment(4, 9, 5, False)]),
        (50, 2, []),
    ],
)
def test_segments_of_five_epochs_of_ten_steps(step, freeze_epochs, expected):
    assert list(segments(step, 10, 5, freeze_epochs)) == expected


def test_a_frozen_network_trains_its_classifier_alone():
    net = networks.network(dropout_rate=0.5)
    # AdamW moves what has no gradient, too, by its decay.
    model = networks.training_model(net, networks.recipe(optimizer="adamw", weight_decay=0.1))
    inference = keras.Model(net.input, net.get_layer("dropout").input)
    (images, _), *_ = networks.batches(1)
    assert not np.array_equal(inference(images, training=True), inference(images))
    values = {v.path: v.numpy() for v in net.variables}
    model.freeze(True)
    assert net.get_layer("block_1_drop").rate == 0
    np.testing.assert_array_equal(inference(images, training=True), inference(images))
    batches = networks.batches(3)
    for batch in batches:
        model.train_step(batch)
    for variable in net.variables:
        if "seed" not in variable.path:
            moved = not np.array_equal(variable.numpy(), values[variable.path])
            assert moved == variable.path.startswith("classifier"), variable.path
    model.freeze(False)
    assert net.get_layer("block_1_drop").rate == 0.5
    model.train_step(batches[0])
    for variable in net.variables:
        if "seed" not in variable.path:
            assert not np.array_equal(variable.numpy(), values[variable.path]), variable.path


class Killed(Exception):
    pass


# More than a run takes.
_TEMPERATURE_STEPS = 10


def digits_loop(folder, steps_per_execution=1, net=None):
    """A run of two epochs of four steps, the first with a frozen backbone, that saves every second step."""
    recipe = networks.recipe(
        epochs=2,
        batch_size=320,
        freeze_epochs=1,
        ema_decay=0.9,
        momentum=0.9,
        mixup_alpha=0.2,
        augmentation="inception",
    )
    execution = Execution(checkpoint_every=2, steps_per_execution=steps_per_execution)
    config = TrainConfig("tiny", {}, "digits", None, 0.2, False, "digits", recipe, "float32", 0, None, None, execution)
    options = {"temperature": 10.0, "normalize_inputs": True, "expert_dropout": 0.2, "balance_penalty": 0.1}
    net = net or networks.network(dropout_rate=0.2, shape=(8, 8, 1), classes=10, routing_options=options)
    model = networks.training_model(
        net, recipe, steps_per_execution=steps_per_execution, temperature_steps=_TEMPERATURE_STEPS
    )

    def validate():
        return evaluate(lambda images: np.eye(10)[:4], [(None, np.arange(4))])

    plan = TrainingPlan(config, open_dataset("digits"))
    plan.card = ModelCard("tiny", plan.dataset.class_names, Preprocessing((8, 8), 1, 0.0, 255.0))
    assert plan.steps_per_epoch == 4
    return TrainingLoop(plan, RunFolder(folder), model, validate, Termination()), model


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of a run that was not killed, and its model."""
    folder = tmp_path_factory.mktemp("undisturbed")
    set_seed(0)
    loop, model = digits_loop(folder)
    loop.run_from(loop.restore())
    assert int(model.optimizer.iterations) == 8
    router = model.network.get_layer("routed").router
    assert float(router.inverse_temperature) == pytest.approx(0.1 + 0.9 * 7 / _TEMPERATURE_STEPS)
    return folder, model


@pytest.mark.parametrize("stop", [4, *(pytest.param(stop, marks=pytest.mark.slow) for stop in (2, 6))])
def test_a_run_goes_on_with_longer_executions_where_it_was_killed(undisturbed, tmp_path, monkeypatch, stop):
    whole, expected = undisturbed
    first, _ = digits_loop(tmp_path / "killed")
    save = first._save

    def save_and_die(step):
        save(step)
        if step == stop:
            raise Killed

    monkeypatch.setattr(first, "_save", save_and_die)
    with pytest.raises(Killed):
        first.run_from(first.restore())
    second, model = digits_loop(tmp_path / "killed", steps_per_execution=4)
    assert second.restore() == stop
    second.run_from(stop)
    assert int(model.optimizer.iterations) == 8
    for name, variable in state_of(model).items():
        np.testing.assert_allclose(variable.numpy(), state_of(expected)[name].numpy(), atol=1e-6, err_msg=name)
    rows = [read_history(folder / "history.csv", 2) for folder in (whole, tmp_path / "killed")]
    assert [row["epoch"] for row in rows[1]] == ["0", "1"]
    for name in ("loss", "accuracy", "val_accuracy", "learning_rate"):
        assert [float(r[name]) for r in rows[1]] == pytest.approx([float(r[name]) for r in rows[0]], rel=1e-5)


def test_an_epoch_that_was_trained_and_not_recorded_gets_its_routing_before_its_history(tmp_path, monkeypatch):
    inputs = keras.Input((8, 8, 1))
    x = CondConv2D(4, 3, num_experts=2, name="conv")(inputs)
    net = keras.Model(inputs, keras.layers.Dense(10, name="classifier")(keras.layers.GlobalAveragePooling2D()(x)))
    loop, model = digits_loop(tmp_path, net=net)
    model.optimizer.iterations.assign(8)
    monkeypatch.setattr(loop, "_validate", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        loop.run_from(8)
    assert not (tmp_path / "history.csv").exists()
    assert [row.epoch for row in read_by_epoch(tmp_path / "routing.csv")] == [1]
    loop, model = digits_loop(tmp_path, net=net)
    loop.run_from(8)
    ((row,), (history,)) = read_by_epoch(tmp_path / "routing.csv"), read_history(tmp_path / "history.csv", 2)
    assert (row.epoch, row.layer, row.in_use, history["epoch"]) == (1, "conv", 2, "1")
