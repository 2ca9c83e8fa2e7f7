"""The authors' TensorFlow checkpoints: every variable set to its moving average, or one line that says why not."""

import random
import shutil
import tarfile
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from condconv_keras.models import build_model
from condconv_keras.utils.errors import UserError
from condconv_keras.weights.assign import assign_weights
from condconv_keras.weights.readers.tf_checkpoint import open_weights
from tests.weights.authors_checkpoints import (
    ROOT,
    SHADOW,
    authors_names,
    in_authors_layout,
    save,
    save_training_run,
    with_shadows,
)

MODEL = "condconv_efficientnet_b0"
SMALL = {
    f"{ROOT}/stem/conv2d/kernel": np.arange(27, dtype=np.float32).reshape(3, 3, 3, 1),
    f"{ROOT}/blocks_9/dense/bias": np.arange(2, dtype=np.float32),
    f"{ROOT}/head/dense/bias": np.arange(7, dtype=np.float32),
}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).normal(size=(8, 32, 32, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    return build_model(
        "condconv_efficientnet_b0",
        num_experts=2,
        classes=10,
        input_shape=(32, 32, 3),
        bn_momentum=0.0,
        dropout_rate=0.0,
        stochastic_depth_rate=0.0,
    )


@pytest.fixture(scope="module")
def values(model, images):
    """A random value for every variable by its path, with statistics that keep the network's activations near one."""
    rng = np.random.default_rng(0)
    for variable in model.trainable_weights:
        if variable.path.endswith("gamma"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.path.endswith(("beta", "bias")):
            variable.assign(rng.normal(0, 0.5, variable.shape))
    model(images, training=True)
    return {variable.path: keras.ops.convert_to_numpy(variable).copy() for variable in model.weights}


@pytest.fixture(scope="module")
def shadows(values):
    return {authors: in_authors_layout(path, values[path]) for path, authors in authors_names().items()}


@pytest.fixture(scope="module")
def checkpoint(shadows, tmp_path_factory):
    prefix = tmp_path_factory.mktemp("checkpoint") / "model.ckpt"
    save_training_run(prefix, shadows)
    return prefix


def reset(model):
    for variable in model.weights:
        variable.assign(keras.ops.zeros(variable.shape))


def test_sets_every_variable_to_its_moving_average(checkpoint, model, values, images):
    for variable in model.weights:
        variable.assign(values[variable.path])
    expected = keras.ops.convert_to_numpy(model(images))
    assert np.abs(expected[0] - expected[1]).max() > 0.1
    reset(model)
    assign_weights(model, open_weights(checkpoint, MODEL))
    for variable in model.weights:
        np.testing.assert_array_equal(variable, values[variable.path], err_msg=variable.path)
    np.testing.assert_allclose(model(images), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("optimizer", ["RMSPropOptimizer", "AdamOptimizer"])
def test_leaves_out_what_a_graph_of_tensorflow_1_adds(tmp_path, optimizer):
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        variables = [v1.get_variable(name, initializer=value) for name, value in SMALL.items()]
        averages = tf.train.ExponentialMovingAverage(0.9999)
        averages.apply(variables)
        gradients = [(tf.ones_like(variable), variable) for variable in variables]
        getattr(v1.train, optimizer)(0.1).apply_gradients(gradients, v1.train.get_or_create_global_step())
        given = {averages.average(variable).initial_value: SMALL[variable.op.name] + 1 for variable in variables}
        session.run(v1.global_variables_initializer(), given)
        v1.train.Saver().save(session, str(tmp_path / "model.ckpt"))
    source = open_weights(tmp_path, MODEL)
    assert source.tensors.keys() == SMALL.keys()
    for name, value in SMALL.items():
        np.testing.assert_array_equal(source.tensors[name], value + 1)


def test_knows_what_the_network_needs(checkpoint):
    source = open_weights(checkpoint, MODEL)
    assert source.model_arguments == {"padding": "same", "bn_epsilon": 1e-3, "classes": 10}
    assert source.preprocessing == {
        "mean": 127.0,
        "std": 128.0,
        "interpolation": "bicubic",
        "crop_fraction": 0.875,
        "input_size": (224, 224),
    }
    assert len(source.tensors) == len(authors_names())


def test_a_variable_that_the_network_does_not_have_is_refused(shadows, model, tmp_path):
    extra = f"{ROOT}/blocks_3/conv2d_2/kernel"
    prefix = save(tmp_path / "model.ckpt", with_shadows({**shadows, extra: np.ones((1, 1, 2, 2), np.float32)}))
    reset(model)
    with pytest.raises(UserError, match=extra):
        assign_weights(model, open_weights(prefix, MODEL))
    assert all(not np.any(variable) for variable in model.weights)


def test_a_variable_of_another_code_base_is_refused(shadows, model, tmp_path):
    extra = "resnet/conv1/kernel"
    prefix = save(tmp_path / "model.ckpt", with_shadows({**shadows, extra: np.ones(3, np.float32)}))
    with pytest.raises(UserError, match=f"left over {extra!r}"):
        assign_weights(model, open_weights(prefix, MODEL))


def test_a_missing_variable_is_refused(shadows, model, tmp_path):
    missing = authors_names()["block_13_expand/condconv_kernel"]
    prefix = save(tmp_path / "model.ckpt", {name: value for name, value in shadows.items() if name != missing})
    with pytest.raises(UserError, match="block_13"):
        assign_weights(model, open_weights(prefix, MODEL))


def test_a_variable_without_a_moving_average_is_refused(tmp_path):
    tensors = with_shadows(SMALL)
    bare = f"{ROOT}/blocks_9/dense/bias"
    del tensors[f"{bare}{SHADOW}"]
    with pytest.raises(UserError, match=f"none of {bare}$"):
        open_weights(save(tmp_path / "model.ckpt", tensors), MODEL)


def test_without_any_moving_average_the_raw_values_are_read(tmp_path):
    bookkeeping = {
        "global_step": np.int64(7),
        "beta1_power": np.float32(0.9),
        **{f"{name}/Momentum": value * 0 for name, value in SMALL.items()},
    }
    source = open_weights(save(tmp_path / "model.ckpt", {**SMALL, **bookkeeping}), MODEL)
    assert source.tensors.keys() == SMALL.keys()
    for name, value in SMALL.items():
        np.testing.assert_array_equal(source.tensors[name], value)


def test_moving_averages_are_read_without_their_raw_values(tmp_path):
    averages = {f"{name}{SHADOW}": value for name, value in SMALL.items()}
    assert open_weights(save(tmp_path / "model.ckpt", averages), MODEL).tensors.keys() == SMALL.keys()


@pytest.mark.parametrize("normalization", ["tpu_batch_normalization", "batch_normalization"])
@pytest.mark.parametrize("root", ["efficientnet-lite0/", "a/b/", ""])
def test_finds_layers_whatever_stands_in_front(tmp_path, root, normalization):
    """A plain network without squeeze-and-excitation; the eleventh layer of a scope comes after the second."""
    expected = {
        "stem/kernel": "stem/conv2d/kernel",
        "block_1_depthwise/kernel": "blocks_0/depthwise_conv2d/depthwise_kernel",
        "block_1_depthwise_bn/gamma": f"blocks_0/{normalization}/gamma",
        "block_1_project/kernel": "blocks_0/conv2d/kernel",
        "block_1_project_bn/gamma": f"blocks_0/{normalization}_1/gamma",
        "block_11_expand/kernel": "blocks_10/conv2d_2/kernel",
        "block_11_expand_bn/gamma": f"blocks_10/{normalization}_8/gamma",
        "block_11_depthwise_bn/gamma": f"blocks_10/{normalization}_9/gamma",
        "block_11_project/kernel": "blocks_10/conv2d_10/kernel",
        "block_11_project_bn/gamma": f"blocks_10/{normalization}_10/gamma",
        "head_bn/gamma": f"head/{normalization}/gamma",
    }
    tensors = {f"{root}{name}": np.full(2, i, np.float32) for i, name in enumerate(expected.values())}
    source = open_weights(save(tmp_path / "model.ckpt", tensors), "efficientnet_lite0")
    for target, name in expected.items():
        layer, variable = target.split("/")
        assert source.find(types.SimpleNamespace(name=layer), variable)[0] == root + name
    with pytest.raises(KeyError):
        source.find(types.SimpleNamespace(name="block_1_expand"), "kernel")
    assert source.preprocessing["mean"] == 127.0 and "input_size" not in source.preprocessing


def test_plain_efficientnet_has_the_scaling_of_imagenet(tmp_path):
    tensors = {"efficientnet-b0/blocks_0/se/conv2d/bias": np.zeros(8, np.float32)}
    source = open_weights(save(tmp_path / "model.ckpt", tensors), "efficientnet_b0")
    np.testing.assert_allclose(source.preprocessing["mean"], [123.675, 116.28, 103.53])
    np.testing.assert_allclose(source.preprocessing["std"], [58.395, 57.12, 57.375])


def test_takes_the_folder_the_index_the_prefix_or_an_archive(tmp_path):
    folder = tmp_path / "released" / ROOT
    prefix = save(folder / "model.ckpt", with_shadows(SMALL))
    (folder / "._model.ckpt.index").write_bytes(b"attributes of macOS")
    archive = tmp_path / "download"
    with tarfile.open(archive, "w:gz") as file:
        file.add(folder.parent, arcname="released")
    for path in (folder, folder.parent, folder / "model.ckpt.index", prefix, archive):
        source = open_weights(path, MODEL)
        assert repr(str(path)) in source.description
        np.testing.assert_array_equal(source.tensors[f"{ROOT}/blocks_9/dense/bias"], [1, 2])


def test_of_several_checkpoints_the_state_file_names_one(tmp_path):
    for step in (1, 2):
        save(tmp_path / f"model.ckpt-{step}", {name: value * step for name, value in SMALL.items()})
    with pytest.raises(UserError, match=r"found 'model.ckpt-1', 'model.ckpt-2'"):
        open_weights(tmp_path, MODEL)
    (tmp_path / "checkpoint").write_text(
        'model_checkpoint_path: "/cns/elsewhere/model.ckpt-2"\nall_model_checkpoint_paths: "model.ckpt-1"\n'
    )
    np.testing.assert_array_equal(open_weights(tmp_path, MODEL).tensors[f"{ROOT}/blocks_9/dense/bias"], [0, 2])


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match="found none"):
        open_weights(tmp_path, MODEL)


def test_a_network_that_the_authors_do_not_have_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"tensorflow/tpu weights are for efficientnet_b0, .* not for 'resnet50'$"):
        open_weights(save(tmp_path / "model.ckpt", SMALL), "resnet50")


def test_a_checkpoint_of_another_code_base_is_refused(tmp_path):
    with pytest.raises(UserError, match="no variables of the authors' EfficientNet"):
        open_weights(save(tmp_path / "model.ckpt", {"resnet/conv1/kernel": np.zeros(3, np.float32)}), MODEL)


@pytest.mark.parametrize("damage", ["no data", "short data", "changed data", "short index", "empty index", "noise"])
def test_a_damaged_checkpoint_is_refused_in_one_line(tmp_path, damage):
    prefix = save(tmp_path / "model.ckpt", SMALL)
    index, data = tmp_path / "model.ckpt.index", tmp_path / "model.ckpt.data-00000-of-00001"
    if damage == "no data":
        data.unlink()
    elif damage == "short data":
        data.write_bytes(data.read_bytes()[:50])
    elif damage == "changed data":
        data.write_bytes(bytes(data.stat().st_size))
    elif damage == "short index":
        index.write_bytes(index.read_bytes()[:-20])
    else:
        index.write_bytes(b"" if damage == "empty index" else random.Random(0).randbytes(500))
    with pytest.raises(UserError, match="damaged or incomplete") as caught:
        open_weights(prefix, MODEL)
    assert "\n" not in str(caught.value)


def test_nothing_of_an_archive_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    save(tmp_path / ROOT / "model.ckpt", SMALL)
    path = shutil.make_archive(str(tmp_path / ROOT), "gztar", tmp_path, ROOT)
    open_weights(path, MODEL)
    assert list((tmp_path / "temporary").iterdir()) == []
