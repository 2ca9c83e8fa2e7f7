"""Which networks compute batch normalization in one operation: counted in the graphs that TensorFlow traces."""

import collections
import copy
import dataclasses
import json
import types
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from condconv_keras import create_model, use_fused_batch_norm
from condconv_keras.models.cards import registered_card
from condconv_keras.models.saving import load_keras_file, save_model
from condconv_keras.stored import StoredModel
from condconv_keras.stored.untrained import untrained_model
from condconv_keras.training.plan import TrainingPlan
from tests import processes
from tests.training.configs import CONFIG

SMALL = {"width_multiplier": 0.25, "input_shape": (32, 32, 3), "classes": 3}
OF_0_1 = processes.ROOT / "tests/fixtures/v0_1/run/model.keras"


def build(name, **arguments):
    experts = {"num_experts": 2} if name.startswith("condconv_") else {}
    return create_model(name, **SMALL, **experts, **arguments)


def up_to_stride_4(model):
    """The stem and the first blocks of a network."""
    return keras.Model(model.input, model.get_layer("stride_4").output)


def fused(model):
    """How many operations FusedBatchNormV3 a model's graph has in inference."""
    return _operations(model, lambda images: model(images, training=False))["FusedBatchNormV3"]


def fused_in_training(model):
    """How many a step's graph has, and how many of its gradient."""

    def step(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(images, training=True))
        return tape.gradient(loss, model.trainable_variables)

    operations = _operations(model, step)
    return operations["FusedBatchNormV3"], operations["FusedBatchNormGradV3"]


def _operations(model, function):
    images = tf.TensorSpec((2, *model.input_shape[1:]))
    graph = tf.function(function, autograph=False).get_concrete_function(images).graph
    return collections.Counter(operation.type for operation in graph.get_operations())


def classes_in(path):
    """The registered names of the batch normalizations in a `.keras` file; None is one of Keras's own."""
    with zipfile.ZipFile(path) as archive:
        layers = json.loads(archive.read("config.json"))["config"]["layers"]
    return {layer["registered_name"] for layer in layers if layer["class_name"] == "BatchNormalization"}


def copies(model, path):
    """Whatever Keras and the library make of a model, one by one; the model is saved at `path`."""
    return {
        "clone": keras.models.clone_model(model),
        "of its configuration": keras.Model.from_config(model.get_config()),
        "copy": copy.deepcopy(model),
        "loaded by Keras": keras.saving.load_model(path),
        "loaded": load_keras_file(path)[0],
    }


def test_a_twin_its_copies_and_its_reload_are_fused_alike(tmp_path):
    twin = up_to_stride_4(build("condconv_mobilenet_v2", start_block=2))
    twin.save(tmp_path / "twin.keras")
    assert classes_in(tmp_path / "twin.keras") == {"condconv_keras>BatchNormalization"}
    models = {"built": twin, **copies(twin, tmp_path / "twin.keras"), "told": use_fused_batch_norm(copy.deepcopy(twin))}
    # The stem's, two of the first block, three of either of the next.
    assert {name: fused(model) for name, model in models.items()} == dict.fromkeys(models, 9)
    assert {name: fused_in_training(model) for name, model in models.items()} == dict.fromkeys(models, (9, 9))
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    for model in models.values():
        model.set_weights(twin.get_weights())
        np.testing.assert_array_equal(model(images), twin(images))


def test_a_plain_network_is_keras_own_until_it_is_told(tmp_path):
    network, path = up_to_stride_4(build("mobilenet_v1")), tmp_path / "network.keras"
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    expected = network(images)
    assert (fused(network), fused_in_training(network)) == (0, (0, 0))
    for _ in range(2):
        assert use_fused_batch_norm(network) is network
        assert (fused(network), fused_in_training(network)) == (7, (7, 7))
    np.testing.assert_allclose(network(images), expected, atol=1e-5)
    network.save(path)
    assert classes_in(path) == {None}
    others = copies(network, path)
    assert {name: fused(other) for name, other in others.items()} == dict.fromkeys(others, 0)
    assert fused(use_fused_batch_norm(others["loaded"])) == 7
    # Nothing of this package is needed.
    script = f"import keras; print(len(keras.saving.load_model({str(path)!r}).layers))"
    assert int(processes.run("-c", script).stdout) == len(network.layers)


@pytest.mark.parametrize("name", ["mobilenet_v1", pytest.param("condconv_mobilenet_v1", marks=pytest.mark.slow)])
def test_the_commands_compute_with_fused_ones(name, tmp_path):
    network = build(name)
    save_model(network, registered_card(network), tmp_path / "network.keras")
    config = dataclasses.replace(CONFIG, model=name, model_arguments={"width_multiplier": 0.25})
    plan = TrainingPlan(config, types.SimpleNamespace(class_names=("a", "b", "c")))
    plan.card = registered_card(network)
    models = {
        "train": plan.build_network(),
        "eval, predict, analyze, export": StoredModel.open(tmp_path / "network.keras").load_to_answer()[0],
        "export of an untrained one": untrained_model(name, **SMALL)[0],
    }
    assert {name: fused(model) for name, model in models.items()} == dict.fromkeys(models, 27)


def test_a_file_of_0_1_is_fused_by_the_commands_and_saved_as_it_was(tmp_path):
    assert classes_in(OF_0_1) == {None}
    assert fused(load_keras_file(OF_0_1)[0]) == 0
    model, card = StoredModel.open(OF_0_1).load_to_answer()
    assert fused(model) == 27
    save_model(model, card, tmp_path / "again.keras")
    assert classes_in(tmp_path / "again.keras") == {None}
