"""Imports of keras.applications networks against the networks themselves."""

import h5py
import keras
import numpy as np
import pytest

from condconv_keras.models import build_model
from condconv_keras.models.saving import load_keras_file
from condconv_keras.utils.errors import UserError
from condconv_keras.weights import open_source
from condconv_keras.weights.readers.keras_applications import open_keras_model
from tests.models.randomize import randomize
from tests.weights.importing import QUARTER_WIDTH, import_into

APPLICATIONS = {
    "mobilenet_v1": keras.applications.MobileNet,
    "mobilenet_v2": keras.applications.MobileNetV2,
    "efficientnet_b0": keras.applications.EfficientNetB0,
}
IMAGENET_MEAN, IMAGENET_STDDEV = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def _application(name, **kwargs):
    model = APPLICATIONS[name](weights=None, classifier_activation=None, **kwargs)
    randomize(model)
    rng = np.random.default_rng(2)
    for layer in model.layers:
        # Keras's initial kernels would make the logits forget the image.
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            layer.kernel.assign(rng.normal(size=layer.kernel.shape) / np.sqrt(np.prod(layer.kernel_size) / 2))
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            kernel = rng.normal(size=(np.prod(layer.kernel.shape[:-1]), layer.kernel.shape[-1]))
            kernel = (kernel - kernel.mean(axis=0)) / np.sqrt(len(kernel) / 2)
            layer.kernel.assign(kernel.reshape(layer.kernel.shape))
    return model


def _pixels(size):
    """A bright and a dark image."""
    return np.random.default_rng(1).uniform(0, [[[[255]]], [[[100]]]], (2, size, size, 3)).astype("float32")


@pytest.mark.parametrize("size", [160, pytest.param(224, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", APPLICATIONS)
def test_computes_what_the_application_does(name, size, tmp_path):
    application = _application(name)
    import_into(name, open_keras_model(application, name), tmp_path / "x.keras")
    model, card = load_keras_file(tmp_path / "x.keras")
    at_size = APPLICATIONS[name](weights=None, classifier_activation=None, input_shape=(size, size, 3))
    at_size.set_weights(application.get_weights())
    # EfficientNet takes pixels, the MobileNets pixels in [-1, 1].
    inputs = _pixels(size) if name == "efficientnet_b0" else _pixels(size) / 127.5 - 1
    expected = np.asarray(at_size(inputs))
    logits = np.asarray(model(card.preprocessing.scale_images(_pixels(size))))
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert np.abs(logits[0] - logits[1]).max() > 0.1 * np.abs(expected).max()


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    """A narrow MobileNet for ten classes and the folder of its files, one of every format."""
    folder = tmp_path_factory.mktemp("mobilenet")
    model = _application("mobilenet_v1", alpha=0.25, classes=10)
    model.save(folder / "whole.keras")
    model.save(folder / "whole.h5")
    model.save_weights(folder / "x.weights.h5")
    with h5py.File(folder / "published.h5", "w") as file:
        # As Keras 1 and 2 wrote the published files.
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [f"{variable.path}:0".encode() for variable in layer.weights]
            for variable in layer.weights:
                group[f"{variable.path}:0"] = np.asarray(variable)
    return model, folder


@pytest.mark.parametrize("file", ["whole.keras", "whole.h5", "x.weights.h5", "published.h5"])
def test_reads_every_format(mobilenet, file):
    model, folder = mobilenet
    source = open_source(folder / file, "mobilenet_v1", QUARTER_WIDTH)
    expected = open_keras_model(model, "mobilenet_v1")
    assert source.tensors.keys() == expected.tensors.keys()
    for key, tensor in expected.tensors.items():
        np.testing.assert_array_equal(source.tensors[key], tensor)
    assert source.model_arguments == {"padding": "same", "bn_epsilon": 1e-3, "classes": 10}
    assert source.preprocessing == {"mean": 127.5, "std": 127.5, "input_size": (224, 224)}


def test_layers_before_the_network_become_the_scaling():
    inputs = keras.Input((64, 64, 3))
    x = keras.layers.Rescaling([2.0, 4.0, 5.0], offset=[1.0, 0.0, -1.0])(inputs)
    model = keras.applications.EfficientNetB0(weights=None, input_tensor=x, classes=3)
    [normalization] = [layer for layer in model.layers if isinstance(layer, keras.layers.Normalization)]
    normalization.set_weights([IMAGENET_MEAN, IMAGENET_STDDEV**2, np.array(0)])
    normalization.finalize_state()
    scaling = open_keras_model(model, "efficientnet_b0").preprocessing
    pixels = _pixels(4)
    expected = ((pixels * [2, 4, 5] + [1, 0, -1]) / 255 - IMAGENET_MEAN) / IMAGENET_STDDEV
    np.testing.assert_allclose((pixels - scaling["mean"]) / scaling["std"], expected, rtol=1e-4, atol=1e-4)
    assert scaling["input_size"] == (64, 64)


def test_files_of_the_published_efficientnet_stand_for_both_of_its_rescalings(tmp_path):
    model = APPLICATIONS["efficientnet_b0"](weights=None, classes=3)
    # As published: the standard deviation in place of the variance, and a `Rescaling` by the root of its inverse.
    model.get_layer(index=2).set_weights([IMAGENET_MEAN, IMAGENET_STDDEV, np.array(0)])
    model.save_weights(tmp_path / "b0.weights.h5")
    scaling = open_source(tmp_path / "b0.weights.h5", "efficientnet_b0").preprocessing
    np.testing.assert_allclose(scaling["mean"], 255 * IMAGENET_MEAN, rtol=1e-6)
    np.testing.assert_allclose(scaling["std"], 255 * IMAGENET_STDDEV, rtol=1e-6)


def test_normalization_counts_as_the_model_computes_it():
    """Its variables take effect when they are loaded or adapted, not when they are set."""
    model = APPLICATIONS["efficientnet_b0"](weights=None, classes=3)
    model.get_layer(index=2).set_weights([IMAGENET_MEAN, IMAGENET_STDDEV, np.array(0)])
    scaling = open_keras_model(model, "efficientnet_b0").preprocessing
    np.testing.assert_allclose([scaling["mean"], scaling["std"]], [[0] * 3, [255] * 3], atol=1e-6)
    model.get_layer(index=2).finalize_state()
    scaling = open_keras_model(model, "efficientnet_b0").preprocessing
    np.testing.assert_allclose(scaling["mean"], 255 * IMAGENET_MEAN, rtol=1e-6)


def _refusal(path, name="mobilenet_v1"):
    with pytest.raises(UserError) as error:
        open_source(path, name, QUARTER_WIDTH)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
def test_refuses_a_network_without_classifier(tmp_path, suffix):
    model = keras.applications.MobileNet(weights=None, alpha=0.25, include_top=False)
    with pytest.raises(UserError, match=r"has no classifier \(include_top=False\)"):
        open_keras_model(model, "mobilenet_v1")
    path = tmp_path / f"x{suffix}"
    (model.save_weights if suffix == ".weights.h5" else model.save)(path)
    assert "has no classifier (include_top=False)" in _refusal(path)


@pytest.mark.parametrize("file", ["whole.keras", "whole.h5", "x.weights.h5"])
def test_refuses_damaged_files(mobilenet, tmp_path, file):
    data = (mobilenet[1] / file).read_bytes()
    (tmp_path / file).write_bytes(data[: len(data) // 2])
    assert "damaged" in _refusal(tmp_path / file)


@pytest.mark.parametrize("file", ["whole.keras", "whole.h5", "x.weights.h5"])
def test_refuses_another_network(mobilenet, file):
    folder = mobilenet[1]
    assert "does not fit the 'mobilenetv2_0.25_224' of keras.applications" in _refusal(folder / file, "mobilenet_v2")
    with pytest.raises(UserError, match=r"does not fit the 'mobilenet_0\.50_224'"):
        open_source(folder / file, "mobilenet_v1", {"width_multiplier": 0.5})


def test_refuses_arrays_that_the_network_does_not_have(mobilenet, tmp_path):
    path = tmp_path / "x.weights.h5"
    path.write_bytes((mobilenet[1] / "x.weights.h5").read_bytes())
    with h5py.File(path, "a") as file:
        file["layers/another/vars/0"] = np.zeros(3)
    assert "the file has 138 arrays, the network 137" in _refusal(path)


def test_refuses_a_network_of_the_same_arrays(tmp_path):
    # The zoo's own MobileNetV1 has them, but may pad otherwise.
    build_model("mobilenet_v1", **QUARTER_WIDTH, padding="symmetric").save(tmp_path / "x.keras")
    assert "the file's network has no layer 'conv1'" in _refusal(tmp_path / "x.keras")


def test_resnet50_is_refused_for_a_reason(mobilenet):
    for name in ("resnet50", "condconv_resnet50"):
        assert "stride is on the first 1x1" in _refusal(mobilenet[1] / "whole.h5", name)
    assert "warm start the twin" in _refusal(mobilenet[1] / "whole.h5", "condconv_mobilenet_v1")
