import dataclasses
import json
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from condconv_keras import CondConv2D
from condconv_keras.data import Preprocessing, open_dataset
from condconv_keras.data.sources.digits import digit_splits
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.training import dry_run
from condconv_keras.training.config import Execution, TrainConfig
from condconv_keras.training.dry_run import describe_run, device_count, summary_rows, training_memory
from condconv_keras.training.recipes import get_recipe
from condconv_keras.utils.errors import UserError

CONFIG = TrainConfig(
    model="tiny",
    model_arguments={},
    dataset="digits",
    data_dir=None,
    validation_fraction=0.2,
    skip_bad_images=False,
    recipe_name="digits",
    recipe=dataclasses.replace(get_recipe("digits"), batch_size=30, input_size=32),
    precision="float32",
    seed=0,
    weights=None,
)


def _tiny(input_shape=(8, 8, 1), classes=10, layer=None):
    inputs = keras.Input(input_shape)
    x = (layer or keras.layers.Conv2D(4, 3))(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(classes)(x))


@pytest.mark.parametrize(("optimizer", "slots"), [("sgd", 1), ("rmsprop", 2), ("adamw", 2)])
def test_the_memory_of_a_small_model_against_a_count_by_hand(optimizer, slots):
    recipe = dataclasses.replace(CONFIG.recipe, optimizer=optimizer, ema_decay=0.999)
    memory = training_memory(_tiny(), recipe, batch_size=5)
    trainable = (9 * 4 + 4) + (4 + 4) + (4 * 10 + 10)
    statistics = 4 + 4
    assert memory.weights == 4 * (trainable + statistics)
    assert memory.gradients == 4 * trainable
    # Besides its slots an optimizer counts its steps (8 bytes) and may keep a few numbers of its own.
    assert 4 * slots * trainable <= memory.optimizer <= 4 * slots * trainable + 64
    assert memory.moving_average == memory.weights
    assert memory.activations == 5 * 4 * (8 * 8 + 6 * 6 * 4 + 6 * 6 * 4 + 4 + 10)
    assert memory.total == sum(dataclasses.astuple(memory))


def test_without_a_moving_average_there_is_none():
    assert training_memory(_tiny(), CONFIG.recipe, batch_size=1).moving_average == 0


def test_mixed_kernels_count_for_every_image():
    plain = training_memory(_tiny(), CONFIG.recipe, batch_size=3)
    conditional = training_memory(_tiny(layer=CondConv2D(4, 3, num_experts=2)), CONFIG.recipe, batch_size=3)
    assert conditional.activations - plain.activations == 3 * 4 * (9 * 4)


def test_half_precision_halves_the_activations_only():
    full = training_memory(_tiny(), CONFIG.recipe, batch_size=1)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = training_memory(_tiny(), CONFIG.recipe, batch_size=1)
    finally:
        keras.config.set_dtype_policy("float32")
    image = 4 * 8 * 8
    assert half.activations - image == (full.activations - image) / 2
    assert half.weights == full.weights


def test_the_devices_that_share_a_batch(monkeypatch):
    assert device_count(Execution()) == 1
    assert device_count(Execution(strategy="mirrored", logical_cpus=3)) == 3
    cluster = {"cluster": {"worker": ["a:1", "b:1"], "chief": ["c:1"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    assert device_count(Execution(strategy="multi_worker_mirrored")) == 3


@pytest.fixture(autouse=True)
def _tiny_network(monkeypatch):
    card = ModelCard("tiny", tuple("0123456789"), Preprocessing((8, 8), 1, 0.0, 255.0))
    monkeypatch.setattr(dry_run.TrainingPlan, "card", card)
    monkeypatch.setattr(dry_run.TrainingPlan, "build_network", lambda plan: _tiny(card.preprocessing.input_shape, 10))


def _describe(**changes):
    return describe_run(dataclasses.replace(CONFIG, **changes), open_dataset("digits"))


def test_a_description():
    description = _describe(execution=Execution(strategy="mirrored", logical_cpus=3))
    assert json.loads(json.dumps(description)) == description
    assert description["config"]["recipe"]["batch_size"] == 30
    assert description["data"] == {
        "classes": 10,
        "splits": {"train": 1437, "test": 360},
        "skipped_images": 0,
        "class_counts": [[str(i), count] for i, count in enumerate(np.bincount(digit_splits()["train"][1]).tolist())],
        "repeated_images": 0,
        "image_shape": [8, 8, 1],
        "input_shape": [8, 8, 1],
        "steps_per_epoch": 1437 // 30,
    }
    assert description["model"] == {
        "parameters": 40 + 16 + 50,
        "trainable_parameters": 40 + 8 + 50,
        "multiply_adds": 6 * 6 * 4 * 9 + 4 * 10,
    }
    assert (description["devices"], description["batch_per_device"]) == (3, 10)
    assert description["memory_bytes"]["activations"] == 10 * 4 * (64 + 144 + 144 + 4 + 10)
    speed = description["speed"]
    assert speed["step_images"] == 10
    slower = speed["input_images_per_second"] < speed["step_images_per_second"]
    assert speed["bottleneck"] == ("input" if slower else "training")
    lines = dict(summary_rows(description))
    assert lines["examples by class"].startswith("0 142, 1 146, 2 142, ")
    many = [[f"class {i}", 100 + i] for i in range(13)]
    many = {**description, "data": {**description["data"], "class_counts": many}}
    assert dict(summary_rows(many))["examples by class"] == "from 100 (class 0) to 112 (class 12)"
    assert lines["speed"].startswith(f"input {speed['input_images_per_second']:,.0f} images/s, training ")
    assert lines["repeated images"] == "0"
    unchecked = {**description, "data": {**description["data"], "repeated_images": None}}
    assert dict(summary_rows(unchecked))["repeated images"] == "not counted"
    assert lines["image shape"] == "8 x 8 x 1"
    assert lines["execution.logical_cpus"] == 3
    assert lines["devices"] == "3, 10 images of a batch each"


@pytest.mark.parametrize("slow", ["input", "training"])
@pytest.mark.slow
def test_the_bottleneck_is_what_is_slow(monkeypatch, slow):
    """Either is made to take 50 ms more for 10 images: 200 images a second at most."""
    from condconv_keras.tasks.classification import task
    from condconv_keras.training.model import TrainingModel

    def late(value):
        time.sleep(0.05)
        return value

    def slow_batches(*arguments):
        return batches(*arguments).map(lambda x, y: (tf.numpy_function(late, [x], x.dtype), y))

    def slow_step(model, data):
        logs = step(model, data)
        return {**logs, "loss": tf.numpy_function(late, [logs["loss"]], logs["loss"].dtype)}

    batches, step = task.training_batches, TrainingModel.train_step
    if slow == "input":
        # Prefetched batches would be there at once; these are made one after the other when asked for.
        monkeypatch.setattr(task, "training_batches", slow_batches)
    else:
        monkeypatch.setattr(TrainingModel, "train_step", slow_step)
    speed = _describe(recipe=dataclasses.replace(CONFIG.recipe, batch_size=10))["speed"]
    assert speed["bottleneck"] == slow
    assert speed["input_images_per_second" if slow == "input" else "step_images_per_second"] <= 200


def test_the_speed_of_a_tpu_is_not_measured():
    description = _describe(
        execution=Execution(strategy="tpu"), recipe=dataclasses.replace(CONFIG.recipe, batch_size=32)
    )
    assert description["speed"] == {"not_measured": "it is the TPU's"}
    assert dict(summary_rows(description))["speed"] == "not measured: it is the TPU's"


def test_a_step_that_fails_leaves_the_rest_of_the_description(monkeypatch):
    from condconv_keras.training.model import TrainingModel

    def train_step(model, data):
        return {"loss": tf.debugging.check_numerics(tf.math.log(-tf.ones(())), "it failed")}

    monkeypatch.setattr(TrainingModel, "train_step", train_step)
    lines = dict(summary_rows(_describe()))
    assert lines["speed"].startswith("not measured: it failed")
    assert lines["memory"].startswith("about ")


def test_a_batch_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match="1437"):
        _describe(recipe=dataclasses.replace(CONFIG.recipe, batch_size=1438))
    with pytest.raises(UserError, match="4 devices can share equally, received: 30"):
        _describe(execution=Execution(strategy="mirrored", logical_cpus=4))
